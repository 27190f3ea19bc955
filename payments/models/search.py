"""The front desk's search for payments: by day, tab, practitioner and text."""

import datetime
import math
from decimal import Decimal
from typing import Self, TypeVar

from django.contrib.auth import get_user_model
from django.db import models
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from appointments.money import CURRENCIES

from ..domain.status import PaymentStatus

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

    ALL = "all", _("All")
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


class SearchQuerySet(models.QuerySet[Row]):
    def starting_between(self, first: datetime.date, last: datetime.date) -> Self:
        """Return payments of appointments that start from `first` to `last` inclusive, in the clinic's time zone."""
        begin = timezone.make_aware(datetime.datetime.combine(first, datetime.time.min))
        end = timezone.make_aware(datetime.datetime.combine(last + datetime.timedelta(days=1), datetime.time.min))
        return self.filter(appointment__start__gte=begin, appointment__start__lt=end)

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

        A word is a Stripe id, the start of an appointment's reference, or a part of the patient's name.
        """
        found = self
        for word in text.split():
            if word.startswith(STRIPE_ID_PREFIXES):
                same = Q(facts__stripe_id=word) | Q(facts__payment_intent_id=word) | Q(facts__charge_id=word)
                found = found.filter(pk__in=self.model._default_manager.filter(same).values("pk"))
            else:
                named = get_user_model().objects.filter(folded_name__contains=word)
                patients = named.values("pk")  # far fewer than appointments
                found = found.filter(Q(appointment__patient__in=patients) | Q(appointment__reference__istartswith=word))
        return found

    def in_tab(self, tab: Tab) -> Self:
        """Return the payments that this tab shows."""
        return self.filter(tab.condition)

    def tab_counts(self) -> dict[Tab, int]:
        """Return how many payments each tab shows, with one query."""
        counts = {tab.value: Count("pk", filter=tab.condition) for tab in Tab if tab is not Tab.ALL}
        found = self.order_by().aggregate(**counts, all=Count("pk"))
        return {tab: found[tab.value] for tab in Tab}
