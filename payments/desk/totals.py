"""The sums at the foot of the day list: what the appointments shown bring in, by currency and by payment method."""

from collections import defaultdict
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Sum, Value
from django.db.models.functions import Concat
from django.utils.translation import gettext as _

from ..domain.facts import Kind
from ..domain.methods import Method
from ..models import Fact
from ..models.payment import PaymentQuerySet
from ..models.search import Sums


@dataclass(frozen=True, slots=True)
class Total:
    """The sums of one currency, in its minor units. `ways` are pairs of a label and what was received that way."""

    sums: Sums
    ways: list[tuple[str, int]]


def totals(payments: PaymentQuerySet, sums: list[Sums]) -> list[Total]:
    """Return the totals of `payments`, whose sums by currency are `sums`; this takes one query.

    What the desk didn't take itself came online.
    """
    desk = _taken_at_the_desk(payments) if sums else {}
    found = []
    for each in sums:
        taken = [(str(method.label), desk.get((each.currency, method), 0)) for method in Method]
        online = (_("Online"), each.received - sum(amount for _label, amount in taken))
        found.append(Total(each, [way for way in (online, *taken) if way[1]]))
    return found


def _taken_at_the_desk(payments: PaymentQuerySet) -> dict[tuple[str, str], int]:
    """Return what the desk received minus what it gave back, by currency and method, without entries by mistake."""
    reversal = Fact.objects.filter(kind=Kind.REVERSAL, stripe_id=Concat(Value("reversal_"), OuterRef("stripe_id")))
    entries = Fact.objects.filter(
        ~Exists(reversal), payment__in=payments.order_by().values("pk"), kind__in=(Kind.OFFLINE, Kind.DESK_REFUND)
    )
    found: dict[tuple[str, str], int] = defaultdict(int)
    rows = entries.order_by().values_list("currency", "status", "kind").annotate(Sum("amount"))
    for currency, method, kind, amount in rows:
        found[currency, method] += amount if kind == Kind.OFFLINE else -amount
    return found
