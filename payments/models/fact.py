"""Facts in the database, one row each: states of Stripe objects, payments at the desk, and this site's observations."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ..domain.facts import DESK_KINDS, Kind, StripeFact
from .closing import Closing
from .event import EventReceipt
from .payment import Payment

COLUMNS = (
    "kind",
    "stripe_id",
    "status",
    "as_of",
    "created",
    "since",
    "amount",
    "amount_refunded",
    "currency",
    "livemode",
    "payment_intent_id",
    "charge_id",
    "attempt",
    "details",
)


class FactQuerySet(models.QuerySet["Fact"]):
    def open_entries(self) -> Self:
        """Return the entries at the desk that are in no closing yet."""
        return self.filter(closing=None, kind__in=DESK_KINDS)

    def waiting(self) -> Self:
        """Return facts (states of Stripe objects) whose payment isn't known yet."""
        return self.filter(payment=None)

    def claimed(self) -> Self:
        """Return facts (states of Stripe objects) that name a payment of this site in their metadata.

        Facts with the same PaymentIntent as a fact that names such a payment, but isn't linked to it yet, are returned
        too.
        """
        named = Fact.objects.waiting().exclude(claimed_payment=None)
        intents = named.exclude(payment_intent_id="").values("payment_intent_id")
        return self.exclude(claimed_payment=None) | self.filter(payment_intent_id__in=intents)

    def foreign(self) -> Self:
        """Return facts (states of Stripe objects) that belong to another site.

        Nothing names a payment of this site for them, and the sweep no longer looks for one.
        """
        looked_for = EventReceipt.objects.filter(outcome=EventReceipt.Outcome.DEFERRED).values("object_id")
        ours = Fact.objects.waiting().claimed().values("pk")
        return self.waiting().exclude(pk__in=ours).exclude(stripe_id__in=looked_for)


class Fact(models.Model):
    """A fact as a row: the state of one Stripe object or desk payment, or an observation (see domain/facts.py).

    `created`, `as_of` and `since` are Unix seconds, as in StripeFact.
    """

    payment = models.ForeignKey(Payment, models.PROTECT, null=True, blank=True, related_name="facts")
    claimed_payment = models.UUIDField(_("payment named in the metadata"), null=True, blank=True)
    kind = models.CharField(max_length=12, choices=[(kind, kind) for kind in Kind])
    stripe_id = models.CharField(max_length=255, unique=True)
    status = models.CharField(max_length=40)
    as_of = models.PositiveBigIntegerField()
    created = models.PositiveBigIntegerField()
    since = models.PositiveBigIntegerField(default=0)
    amount = models.PositiveBigIntegerField()
    amount_refunded = models.PositiveBigIntegerField(default=0)
    currency = models.CharField(max_length=3, blank=True)
    livemode = models.BooleanField()
    payment_intent_id = models.CharField(max_length=255, blank=True)
    charge_id = models.CharField(max_length=255, blank=True)
    attempt = models.CharField(max_length=40, blank=True)
    details = models.JSONField(default=dict, blank=True)
    recorded_at = models.DateTimeField(auto_now_add=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    # The closing that an entry at the desk is in. Open entries and all other facts are in none (see models/closing.py).
    closing = models.ForeignKey(Closing, models.PROTECT, null=True, blank=True, related_name="entries", db_index=False)

    objects = FactQuerySet.as_manager()

    class Meta:
        ordering = ("created", "pk")
        verbose_name = _("fact")
        verbose_name_plural = _("facts")
        # Most facts lack some id. Indexes without empty ids keep PostgreSQL from expecting that most rows match.
        indexes = (
            models.Index(fields=("claimed_payment",), condition=Q(payment=None), name="fact_waiting"),
            models.Index(fields=("payment_intent_id",), condition=Q(payment_intent_id__gt=""), name="fact_intent"),
            models.Index(fields=("charge_id",), condition=Q(charge_id__gt=""), name="fact_charge"),
            models.Index(fields=("closing",), condition=Q(closing__isnull=False), name="fact_closing"),
            models.Index(fields=("created",), condition=Q(closing=None, kind__in=DESK_KINDS), name="fact_open_entry"),
        )

    def __str__(self) -> str:
        return f"{self.stripe_id} {self.status}"

    @property
    def ids(self) -> list[str]:
        """Return the ids of the fact's Stripe object, PaymentIntent and charge, as `StripeFact.ids` does."""
        return [each for each in (self.stripe_id, self.payment_intent_id, self.charge_id) if each]

    @property
    def value(self) -> StripeFact:
        columns = {name: getattr(self, name) for name in COLUMNS}
        return StripeFact(**columns | {"kind": Kind(self.kind)}, payment_id=str(self.claimed_payment or ""))

    @value.setter
    def value(self, fact: StripeFact) -> None:
        for name in COLUMNS:
            setattr(self, name, getattr(fact, name))
        self.claimed_payment = fact.payment_id or None
