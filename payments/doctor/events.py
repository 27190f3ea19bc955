"""Checks of events, refunds and copies that Stripe sent or owes us and that no payment shows yet."""

import datetime

from django.db.models import Max, Min, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from ..domain.status import PaymentStatus
from ..gateway import sweep
from ..models import EventReceipt, Payment
from .finding import Verdict, age, error, ok, warning

Outcome = EventReceipt.Outcome
GRACE = datetime.timedelta(minutes=15)  # a worker that runs is never further behind
DEBIT_OVERDUE = sweep.STUCK_AFTER + datetime.timedelta(days=1)
RECENT = datetime.timedelta(days=1)


def failed() -> Verdict:
    """Report events that failed, that a crash left without an outcome, or that were given up."""
    what, fix = [], []
    if seen := _count_and_age(EventReceipt.objects.filter(outcome__in=(Outcome.FAILED, Outcome.RECEIVED))):
        what.append(
            _("Events not applied: %(count)s, the oldest for %(age)s. Their payments may show an old status.") % seen
        )
        fix.append(_("Run `manage.py replay_events --failed`; what fails again is named in its output and in the log."))
    if seen := _count_and_age(EventReceipt.objects.filter(outcome=Outcome.DEAD)):
        what.append(_("Events given up, their payment being unknown: %(count)s, the oldest for %(age)s.") % seen)
        fix.append(_("Once the payment is there, run `manage.py replay_events --id evt_... --force`."))
    if what:
        return error(" ".join(what), " ".join(fix))
    last = EventReceipt.objects.aggregate(last=Max("received_at"))["last"]
    if last is None:
        return ok(_("No event came yet."))
    return ok(_("Every event was applied; the last came %(age)s ago.") % {"age": age(last)})


def quarantined() -> Verdict:
    """Report events whose object lacks a field that Stripe always sends."""
    if not (seen := _count_and_age(EventReceipt.objects.filter(outcome=Outcome.QUARANTINED))):
        return ok(_("Every event was understood."))
    return warning(
        _("Events not understood and set aside: %(count)s, the oldest for %(age)s.") % seen,
        _("Compare with Stripe: `manage.py reconcile`. In the admin, the receipt’s detail names the field."),
    )


def waiting() -> Verdict:
    """Report refunds and disputes whose payment is still unknown after GRACE."""
    deferred = EventReceipt.objects.filter(outcome=Outcome.DEFERRED, received_at__lt=timezone.now() - GRACE)
    if not (seen := _count_and_age(deferred)):
        return ok(_("No event waits for its payment."))
    return warning(
        _("Events that wait for a payment which is not known yet: %(count)s, the oldest for %(age)s.") % seen,
        _("Run `manage.py sweep`: it asks Stripe whose they are. Keep it running with `--every 60`."),
    )


def other_mode() -> Verdict:
    recent = EventReceipt.objects.filter(outcome=Outcome.REJECTED_LIVEMODE, received_at__gt=timezone.now() - RECENT)
    if not (seen := _count_and_age(recent)):
        return ok(_("No event came from the other mode (live or test)."))
    return warning(
        _("Events of the other mode (live or test), refused within a day: %(count)s.") % seen,
        _("In Stripe’s Dashboard, remove this site’s endpoint from the other mode, or set STRIPE_LIVE_MODE."),
    )


def unanswered_refunds() -> Verdict:
    requests = sweep.unanswered_refunds()
    if not requests:
        return ok(_("Stripe answered every refund."))
    oldest = min(request.recorded_at for request in requests)
    said = {"count": len(requests), "age": age(oldest)}
    return (error if oldest < timezone.now() - GRACE else warning)(
        _("Refunds without Stripe’s answer: %(count)s, the oldest for %(age)s. They show as on their way.") % said,
        _("Run `manage.py sweep`: it asks again with the same key, so that there is one refund."),
    )


def sweep_work() -> Verdict:
    """Report work that `sweep` left undone; it keeps no heartbeat that would show whether it runs."""
    now = timezone.now()
    pages = sweep.superfluous().filter(updated_at__lt=now - GRACE).count()
    processing = Payment.objects.filter(status=PaymentStatus.PROCESSING, reviews=[])
    debits = processing.filter(updated_at__lt=now - DEBIT_OVERDUE).count()
    if not pages and not debits:
        return ok(_("Nothing is overdue that a sweep would have done."))
    return warning(
        _("Pages open at Stripe that must not be paid any more: %(pages)s. Overdue bank debits: %(debits)s.")
        % {"pages": pages, "debits": debits},
        _("Run `manage.py sweep`, and keep it running with `--every 60`."),
    )


def mirror_lag() -> Verdict:
    waiting = EventReceipt.objects.unmirrored().filter(received_at__lt=timezone.now() - GRACE)
    if not (seen := _count_and_age(waiting)):
        return ok(_("dj-stripe’s copies are up to date."))
    return warning(
        _("Events that dj-stripe has not copied: %(count)s, the oldest for %(age)s. Pages do not depend on it.") % seen,
        _("Keep `manage.py mirror` running; its output names what Stripe refuses."),
    )


def _count_and_age(receipts: QuerySet[EventReceipt]) -> dict[str, object]:
    """Return the number of receipts as `count` and the age of the oldest as `age`, or an empty dict if none match."""
    oldest = receipts.aggregate(oldest=Min("received_at"))["oldest"]
    return {"count": receipts.count(), "age": age(oldest)} if oldest else {}
