"""The front desk's search for payments: by day, tab, practitioner and text."""

import datetime
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Self, TypeVar

from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import Count, F, Q, Sum, Value
from django.db.models.functions import Greatest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from appointments.money import CURRENCIES
from people.phones import as_one_word, is_phone_number

from ..domain.status import PaymentStatus
from .days import ONE_DAY, begin_of

Row = TypeVar("Row", bound=models.Model)
ZERO_DECIMAL, THREE_DECIMAL = (
    [code for code, currency in CURRENCIES.items() if currency.decimals == decimals] for decimals in (0, 3)
)
DECIMALS = {
    0: Q(currency__in=ZERO_DECIMAL),
    2: ~Q(currency__in=ZERO_DECIMAL + THREE_DECIMAL),
    3: Q(currency__in=THREE_DECIMAL),
}
STRIPE_ID_PREFIXES = ("pi_", "ch_", "py_", "cs_", "re_", "pyr_", "dp_", "du_")


class Tab(models.TextChoices):
    """The tabs of the front desk's day list. Most show payments whose status calls for one particular action."""

    ALL = "all", pgettext_lazy("tab", "All")
    TO_PAY = "to_pay", _("To pay")
    PROCESSING = "processing", _("Processing")
    PAID = "paid", _("Paid")
    PARTLY_REFUNDED = "partly_refunded", _("Partly refunded")
    REFUNDED = "refunded", _("Refunded")
    FAILED = "failed", _("Failed")
    DISPUTED = "disputed", _("Disputed")
    TO_REVIEW = "to_review", _("To review")

    @property
    def condition(self) -> Q:
        """Return the condition that selects the payments of this tab."""
        if self is Tab.ALL:
            return Q()
        if self is Tab.TO_REVIEW:
            return ~Q(reviews=[])
        return Q(status__in=TAB_STATUSES[self])


TAB_STATUSES = {
    Tab.TO_PAY: (
        PaymentStatus.UNPAID,
        PaymentStatus.CHECKOUT_OPEN,
        PaymentStatus.EXPIRED,
        PaymentStatus.UNDERPAID,
    ),
    Tab.PROCESSING: (PaymentStatus.PROCESSING,),
    Tab.PAID: (PaymentStatus.PAID,),
    Tab.PARTLY_REFUNDED: (PaymentStatus.PARTIALLY_REFUNDED,),
    Tab.REFUNDED: (PaymentStatus.REFUNDED, PaymentStatus.REFUND_PENDING),
    Tab.FAILED: (PaymentStatus.FAILED,),
    Tab.DISPUTED: (PaymentStatus.DISPUTED, PaymentStatus.CHARGED_BACK),
}


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over payments of one currency, in its minor units.

    `received` is what the clinic has of it, after refunds and what banks took back. `missing` is what it still lacks,
    of which patients owe `owed`; the rest is on its way. `overpaid` is what the clinic has to give back.
    """

    currency: str
    received: int
    missing: int
    owed: int
    overpaid: int

    @property
    def on_its_way(self) -> int:
        return self.missing - self.owed

    @property
    def expected(self) -> int:
        """Return what the clinic will have once all that is owed is paid and all that is too much is given back."""
        return self.received - self.overpaid + self.missing


class SearchQuerySet(models.QuerySet[Row]):
    def starting_between(self, first: datetime.date, last: datetime.date) -> Self:
        """Return payments of appointments that start from `first` to `last` inclusive, in the clinic's time zone."""
        return self.filter(appointment__start__gte=begin_of(first), appointment__start__lt=begin_of(last + ONE_DAY))

    def upcoming(self) -> Self:
        """Return payments of appointments that aren't over, ordered by start, the earliest first."""
        return self.filter(appointment__end__gte=timezone.now()).order_by("appointment__start")

    def past(self) -> Self:
        """Return payments of appointments that are over, ordered by start, the latest first."""
        return self.filter(appointment__end__lt=timezone.now()).order_by("-appointment__start")

    def due_between(self, least: Decimal | None, most: Decimal | None) -> Self:
        """Return payments whose amount due is from `least` to `most` inclusive; None sets no limit.

        Both limits are in major units (such as euros) of each payment's own currency.
        """
        found = Q()
        for places, condition in DECIMALS.items():
            if least is not None:
                condition = condition & Q(amount_due__gte=math.ceil(least.scaleb(places)))
            if most is not None:
                condition = condition & Q(amount_due__lte=math.floor(most.scaleb(places)))
            found |= condition
        return self if least is None and most is None else self.filter(found)

    def matching(self, text: str) -> Self:
        """Return payments that match every word of the text.

        A word is a Stripe id, the start of an appointment's reference, a part of the patient's name, or six digits or
        more of the patient's phone number, whose spaces don't matter.
        """
        found = self
        for word in as_one_word(text).split():
            if word.startswith(STRIPE_ID_PREFIXES):
                same = Q(facts__stripe_id=word) | Q(facts__payment_intent_id=word) | Q(facts__charge_id=word)
                found = found.filter(pk__in=self.model._default_manager.filter(same).values("pk"))
            else:
                meant = Q(folded_name__contains=word)
                if is_phone_number(word):
                    meant |= Q(phone__number=word)
                patients = get_user_model().objects.filter(meant).values("pk")  # far fewer than appointments
                found = found.filter(Q(appointment__patient__in=patients) | Q(appointment__reference__istartswith=word))
        return found

    def in_tab(self, tab: Tab) -> Self:
        """Return the payments that this tab shows."""
        return self.filter(tab.condition)

    def summary(self) -> tuple[dict[Tab, int], list[Sums]]:
        """Return how many payments each tab shows, and the payments' sums by currency, with one query."""
        net = F("amount_received") - F("amount_refunded") - F("amount_lost")
        counts = {tab.value: Count("pk", filter=tab.condition or None) for tab in Tab}
        sums = {
            "received": Sum(net),
            "missing": Sum(Greatest(F("amount_due") - F("amount_waived") - net, Value(0))),
            "owed": Sum("amount_owed"),
            "overpaid": Sum("amount_overpaid"),
        }
        rows = list(self.order_by("currency").values("currency").annotate(**counts, **sums))
        found = [Sums(row["currency"], **{name: int(row[name]) for name in sums}) for row in rows]
        return {tab: sum(row[tab.value] for row in rows) for tab in Tab}, found
