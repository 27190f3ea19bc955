"""The lines of a receipt: one for each amount received or refunded, with its date and payment method."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

from ..domain.attempts import attempts_of
from ..domain.methods import method_label
from ..models import Payment


@dataclass(frozen=True, slots=True)
class Line:
    """One amount on a receipt, in minor units of the payment's currency; a refund is negative."""

    when: datetime.datetime
    amount: int
    method: str  # a desk `Method` or Stripe's payment method type

    @property
    def method_label(self) -> str:
        return method_label(self.method)


def lines_of(payment: Payment) -> list[Line]:
    """Return the payment's receipt lines, oldest first. Pending payments and pending refunds have no line."""
    return sorted(_lines(payment), key=lambda line: line.when)


def _lines(payment: Payment) -> Iterator[Line]:
    """Yield a line for each sum that the patient paid, and one for each refund that succeeded.

    If no refund is stored but Stripe's charge says that money was refunded, one line shows that sum, dated with the
    time of the charge's newest known state.
    """
    for attempt in attempts_of([row.value for row in payment.facts.all()]):
        if attempt.received and attempt.currency == payment.currency:
            paid = attempt.payments()
            yield Line(_moment(min(fact.created for fact in paid)), attempt.received, attempt.method)
            given_back = [fact for fact in attempt.refunds if fact.status == "succeeded"]
            yield from (Line(_moment(fact.created), -fact.amount, attempt.method) for fact in given_back)
            if attempt.refunded and not given_back:
                yield Line(_moment(max(fact.as_of for fact in paid)), -attempt.refunded, attempt.method)


def _moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
