"""Checks that find late or failed work: Stripe's events, refunds, and dj-stripe's copies."""

import datetime

from django.db.models import Max, Min, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from ..gateway import sweep
from ..gateway.background import writer
from ..models import EventReceipt, QuarantinedObject
from .finding import MAX_NAMED, Verdict, age, error, ok, warning

Outcome = EventReceipt.Outcome
GRACE = datetime.timedelta(minutes=15)  # a running worker is never further behind than this
RECENT = datetime.timedelta(days=1)


def failed() -> Verdict:
    """Report events that this site failed to process, and events that it gave up because their payment is unknown.

    An event also counts as failed if a crash interrupted its processing.
    """
    what, fix = [], []
    if seen := _count_and_age(EventReceipt.objects.filter(outcome__in=(Outcome.FAILED, Outcome.RECEIVED))):
        what.append(
            _("Events not applied: %(count)s, the oldest received %(age)s ago. Their payments may show an old status.")
            % seen
        )
        fix.append(_("Run `manage.py replay_events --failed`. Its output and the log name the events that fail again."))
    if seen := _count_and_age(EventReceipt.objects.filter(outcome=Outcome.DEAD)):
        what.append(
            _("Events given up because their payment is unknown: %(count)s, the oldest received %(age)s ago.") % seen
        )
        fix.append(_("Once the payment exists, run `manage.py replay_events --id evt_... --force`."))
    if what:
        return error(" ".join(what), " ".join(fix))
    last = EventReceipt.objects.aggregate(last=Max("received_at"))["last"]
    if last is None:
        return ok(_("No event has arrived yet."))
    return ok(_("Every event was applied; the last one arrived %(age)s ago.") % {"age": age(last)})


def quarantined() -> Verdict:
    """Report events that were set aside because the site could not read the Stripe object in them."""
    if not (seen := _count_and_age(EventReceipt.objects.filter(outcome=Outcome.QUARANTINED))):
        return ok(_("Every event was understood."))
    return warning(
        _("Events not understood and set aside: %(count)s, the oldest received %(age)s ago.") % seen,
        _(
            "Run `manage.py reconcile` to compare with Stripe. In the admin, the event receipt’s detail"
            " names the field."
        ),
    )


def quarantined_objects() -> Verdict:
    """Warn about quarantined Stripe objects: the site fetched them for a payment, but doesn't understand their form."""
    found = QuarantinedObject.objects.all()
    if not (count := len(found)):
        return ok(_("Every object that Stripe answered was understood."))
    named = "; ".join(str(each) for each in found[:MAX_NAMED])
    return warning(
        _("Objects at Stripe that this site does not understand: %(count)s (%(named)s). Their payments may be wrong.")
        % {"count": count, "named": named},
        _("Install a version of this site that understands them, then run `manage.py reconcile --fix`."),
    )


def waiting() -> Verdict:
    """Report events that arrived more than GRACE ago and still wait for a payment that isn't known."""
    deferred = EventReceipt.objects.filter(outcome=Outcome.DEFERRED, received_at__lt=timezone.now() - GRACE)
    if not (seen := _count_and_age(deferred)):
        return ok(_("No event is waiting for its payment."))
    return warning(
        _("Events waiting for a payment that is not known yet: %(count)s, the oldest received %(age)s ago.") % seen,
        _("Run `manage.py sweep`: it asks Stripe which payments they belong to."),
    )


def other_mode() -> Verdict:
    recent = EventReceipt.objects.filter(outcome=Outcome.REJECTED_LIVEMODE, received_at__gt=timezone.now() - RECENT)
    if not (seen := _count_and_age(recent)):
        return ok(_("No event arrived from the other mode (live or test)."))
    return warning(
        _("Events from the other mode (live or test), refused in the last 24 hours: %(count)s.") % seen,
        _("In Stripe’s Dashboard, remove this site’s endpoint from the other mode, or correct STRIPE_LIVE_MODE."),
    )


def unanswered_refunds() -> Verdict:
    requests = sweep.unanswered_refunds() + sweep.unanswered_fees()
    if not requests:
        return ok(_("Stripe has answered every request for a refund or a charge."))
    oldest = min(request.recorded_at for request in requests)
    said = {"count": len(requests), "age": age(oldest)}
    return (error if oldest < timezone.now() - GRACE else warning)(
        _(
            "Refunds and charges of kept cards that Stripe has not answered: %(count)s, the oldest requested %(age)s"
            " ago. Pages show them as on their way."
        )
        % said,
        _("Run `manage.py sweep`: it looks for each of them at Stripe and asks again only if it is not there."),
    )


def unstored() -> Verdict:
    """Report handled events that dj-stripe's table of events lacks, because of a receiver or a stopped process."""
    if not (seen := _late(EventReceipt.objects.unstored(), "stripe_event_id")):
        return ok(_("dj-stripe has every event."))
    return warning(
        _("Events that dj-stripe has not stored: %(count)s, the oldest received %(age)s ago (%(named)s).") % seen,
        _("Keep `manage.py work` running. The log names receivers that failed at `djstripe_event_not_stored`."),
    )


def writer_at_work() -> Verdict:
    """Report whether this web process's thread that stores events in dj-stripe's tables is stuck."""
    if writer.behind < GRACE.total_seconds():
        return ok(_("This process stores its events in dj-stripe’s tables."))
    return warning(
        _("This process has not stored its events in dj-stripe’s tables for %(age)s.")
        % {"age": age(timezone.now() - datetime.timedelta(seconds=writer.behind))},
        _("Restart it, and look in the log for `djstripe_events_not_stored`. `manage.py work` stores them now."),
    )


def mirror_lag() -> Verdict:
    if not (seen := _late(EventReceipt.objects.unmirrored(), "object_id")):
        return ok(_("dj-stripe’s copies are up to date."))
    return warning(
        _(
            "Events that dj-stripe has not copied: %(count)s, the oldest received %(age)s ago (%(named)s). Pages do"
            " not depend on these copies."
        )
        % seen,
        _("Run `manage.py mirror`, whose output names what Stripe refuses."),
    )


def _late(receipts: QuerySet[EventReceipt], name: str) -> dict[str, object]:
    """Return {"count": ..., "age": ..., "named": ...} about the rows of `receipts` that are older than GRACE.

    "named" lists the field `name` of the oldest ones. Return {} if there are no such rows.
    """
    late = receipts.filter(received_at__lt=timezone.now() - GRACE)
    if not (seen := _count_and_age(late)):
        return {}
    return seen | {"named": ", ".join(late.order_by("received_at").values_list(name, flat=True)[:MAX_NAMED])}


def _count_and_age(receipts: QuerySet[EventReceipt]) -> dict[str, object]:
    """Return {"count": ..., "age": ...}: how many rows `receipts` has, and the age of the oldest one as text.

    An EventReceipt row is about one Stripe event. Return {} if there are no rows.
    """
    oldest = receipts.aggregate(oldest=Min("received_at"))["oldest"]
    return {"count": receipts.count(), "age": age(oldest)} if oldest else {}
