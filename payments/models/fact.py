"""Facts in the database, one row each: states of Stripe objects, payments at the desk, and this site's observations."""

import datetime
import uuid
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..db import statements
from ..domain.facts import Kind, StripeFact
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


# Written in SQL because every webhook runs this query, and the ORM would compile it each time.
BELONGING = """
SELECT {columns} FROM {fact}
WHERE payment_id = (SELECT id FROM {payment} WHERE public_id = %s) OR payment_id IS NULL AND (
    claimed_payment = %s OR stripe_id IN ({}) OR payment_intent_id IN ({}) OR charge_id IN ({})
) ORDER BY created, id
"""


def _ids(facts: Iterable[StripeFact]) -> tuple[set[str], set[str], set[str]]:
    """Return three sets: the ids of the facts' Stripe objects, of their PaymentIntents and of their charges.

    A fact is the state of one Stripe object.
    """
    facts = list(facts)
    intents, charges = {fact.payment_intent_id for fact in facts}, {fact.charge_id for fact in facts}
    return {fact.stripe_id for fact in facts}, intents - {""}, charges - {""}


class FactQuerySet(models.QuerySet["Fact"]):
    def about(self, facts: Iterable[StripeFact]) -> Self:
        """Return the stored facts that share a Stripe object, PaymentIntent or charge with `facts`.

        A fact is the state of one Stripe object. Two facts that share an object are about the same payment.
        """
        ids, intents, charges = _ids(facts)
        return self.filter(Q(stripe_id__in=ids) | Q(payment_intent_id__in=intents) | Q(charge_id__in=charges))

    def belonging_to(self, public_id: uuid.UUID, facts: Iterable[StripeFact]) -> "Callable[[], list[Fact]]":
        """Return a function that loads all facts of the payment with this public id, oldest first.

        A fact is the state of one Stripe object. Facts stored without a payment are included if their metadata names
        this payment, or if they share a Stripe object, PaymentIntent or charge with `facts`. The query may be batched
        with other statements until the function is called.
        """
        groups: list[list[str | None]] = [[*ids] or [None] for ids in _ids(facts)]  # IN (NULL) matches no row
        places = [", ".join(["%s"] * len(group)) for group in groups]
        tables = {"fact": Fact._meta.db_table, "payment": Payment._meta.db_table}
        sql = BELONGING.format(*places, columns="{columns}", **tables)
        return statements.ask(sql, [public_id, public_id, *chain(*groups)], Fact)

    def reaching(self, first: datetime.date, last: datetime.date) -> Self:
        """Return all facts that may show a movement of money from `first` to `last` inclusive, and some others.

        A fact is the state of one Stripe object or desk payment. Its movement is dated between the object's creation
        (`created`) and the time of the stored state (`as_of`).
        """
        one = datetime.timedelta(days=1)
        begin, end = (
            timezone.make_aware(datetime.datetime.combine(day, datetime.time.min)) for day in (first, last + one)
        )
        return self.filter(as_of__gte=begin.timestamp(), created__lt=end.timestamp())

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
    payment_intent_id = models.CharField(max_length=255, blank=True, db_index=True)
    charge_id = models.CharField(max_length=255, blank=True, db_index=True)
    attempt = models.CharField(max_length=40, blank=True)
    details = models.JSONField(default=dict, blank=True)
    recorded_at = models.DateTimeField(auto_now_add=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")

    objects = FactQuerySet.as_manager()

    class Meta:
        ordering = ("created", "pk")
        verbose_name = _("fact")
        verbose_name_plural = _("facts")
        indexes = (models.Index(fields=("claimed_payment",), condition=Q(payment=None), name="fact_waiting"),)

    def __str__(self) -> str:
        return f"{self.stripe_id} {self.status}"

    @property
    def value(self) -> StripeFact:
        columns = {name: getattr(self, name) for name in COLUMNS}
        return StripeFact(**columns | {"kind": Kind(self.kind)}, payment_id=str(self.claimed_payment or ""))

    @value.setter
    def value(self, fact: StripeFact) -> None:
        for name in COLUMNS:
            setattr(self, name, getattr(fact, name))
        self.claimed_payment = fact.payment_id or None
