"""The card that Stripe keeps for a payment's patient, and what the patient agreed may be charged to it."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from .facts import CARDS, Kind, StripeFact


class CardState(TextChoices):
    NONE = "", _("No card kept")
    KEPT = "kept", _("Card kept")
    REMOVED = "removed", _("Card removed")
    FAILED = "failed", _("Card not kept")


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the patient agreed to before leaving a card, and what no later change of texts or fees alters.

    `amount` is the highest sum that may be charged, in minor units of `currency`. `at` is Unix seconds. `text` are the
    words in `language` that the patient saw; `version` is the version of that text.
    """

    amount: int
    currency: str
    text: str
    version: str
    language: str
    at: int


@dataclass(frozen=True, slots=True)
class Card:
    """The newest card that a patient left or tried to leave, as far as it is known.

    `agreement` is None if this site has no record of the patient's consent; then nothing may be charged.
    """

    state: CardState
    payment_method_id: str = ""
    customer_id: str = ""
    brand: str = ""
    last4: str = ""
    agreement: Agreement | None = None


def card_of(facts: Iterable[StripeFact]) -> Card:
    """Return the newest card that is kept or, if none is, how the newest attempt to leave one ended.

    `facts` are states of Stripe objects and entries of this site about one payment, in any order.
    """
    facts = [fact for fact in facts if fact.kind in CARDS]
    agreements = {fact.attempt: _agreement(fact) for fact in facts if fact.kind == Kind.CONSENT}
    cards = [fact for fact in facts if fact.kind == Kind.CARD]
    ended = cards + [fact for fact in facts if fact.kind == Kind.SETUP and fact.status == "failed"]
    newest = max(ended, key=lambda fact: (fact.status == "kept", fact.reached, fact.stripe_id), default=None)
    if newest is None:
        return Card(CardState.NONE)
    if newest.kind == Kind.SETUP:
        return Card(CardState.FAILED)
    details = {name: str(newest.details.get(name, "")) for name in ("brand", "last4")}
    return Card(
        CardState(newest.status),
        payment_method_id=newest.stripe_id,
        customer_id=str(newest.details.get("customer", "")),
        agreement=agreements.get(newest.attempt),
        **details,
    )


def _agreement(consent: StripeFact) -> Agreement:
    words = {name: str(consent.details.get(name, "")) for name in ("text", "version", "language")}
    return Agreement(amount=consent.amount, currency=consent.currency, at=consent.created, **words)
