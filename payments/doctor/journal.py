"""A check of the journal, which stores the movements of money that follow from facts."""

from django.db import transaction
from django.utils.translation import gettext as _
from tqdm import tqdm

from ..models import Payment
from ..models.journal_line import moved_by
from .database import BATCH_SIZE
from .finding import MAX_NAMED, Verdict, error, ok


def lines() -> Verdict:
    """Check that the journal holds exactly the movements of money that follow from each payment's facts.

    A fact is the state of one Stripe object, or an entry at the desk.
    """
    payments = Payment.objects.prefetch_related("facts", "journal_lines").order_by("pk")
    shown = tqdm(payments.iterator(BATCH_SIZE), "journal", payments.count(), leave=False, disable=None)
    wrong = [payment.public_id for payment in shown if not in_journal(payment) and not in_journal_when_locked(payment)]
    if wrong:
        named = ", ".join(str(public_id) for public_id in wrong[:MAX_NAMED])
        return error(
            _("Payments whose movements are not in the journal as they should be: %(count)s (%(named)s).")
            % {"count": len(wrong), "named": named},
            _("Run `manage.py reconcile --fix`, then find out what wrote to the tables without the ledger."),
        )
    return ok(_("Every movement of money is in the journal."))


def in_journal(payment: Payment) -> bool:
    """Return whether the payment's lines in the journal are the movements that follow from its facts."""
    moved = moved_by({fact.stripe_id: fact for fact in payment.facts.all()})
    lines = sorted(payment.journal_lines.all(), key=lambda line: line.number)
    return moved == [(line.value, line.actor_id) for line in lines]


def in_journal_when_locked(payment: Payment) -> bool:
    """Do what `in_journal` does while the payment is locked, so that nobody changes its facts and lines meanwhile."""
    with transaction.atomic():
        return in_journal(Payment.objects.locked().prefetch_related("facts", "journal_lines").get(pk=payment.pk))
