"""Shows when a payment's changes passed each step from Stripe to the patient's page, or why they didn't."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext as _

from ..domain.status import PaymentStatus
from ..gateway import djstripe
from ..live import hub
from ..live.traces import Trace, traces
from ..models import EventReceipt, Payment, StatusChange, patient_audience
from .database import matches_facts
from .finding import Finding, Level, age

Outcome = EventReceipt.Outcome
Source = StatusChange.Source
DONE = (Outcome.APPLIED, Outcome.NO_CHANGE)
QUIET_LIMIT = datetime.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way from Stripe to the patient's page, such as "Received".

    `at` is when it happened, and `took` how many seconds after the previous step. If `at` is None, `reason` says why.
    """

    name: str
    at: datetime.datetime | None
    took: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Journey:
    """A status change of a payment, with the steps by which it gets from Stripe to the patient's page."""

    change: StatusChange
    steps: list[Step]


def journeys(payment: Payment) -> list[Journey]:
    """Return a journey for each of the payment's status changes, newest first.

    Each has the steps by which the change got from Stripe to the patient's page.
    """
    changes = list(payment.changes.select_related("payment", "actor").order_by("-version"))
    found = traces(changes)
    return [Journey(change, list(_steps(change, found[change.pk]))) for change in changes]


def _steps(change: StatusChange, trace: Trace) -> Iterator[Step]:
    unseen = _("None of the patient’s pages has reported showing it yet.")
    stations = (
        (_("Created at Stripe"), trace.created, ""),
        (_("Received"), trace.received, _origin(change)),
        (_("Applied"), trace.applied, ""),
        (
            _("Sent to pages"),
            trace.pushed,
            _("The patient had no page open. A page opened since then shows it from the start."),
        ),
        (_("Seen"), trace.seen, unseen),
    )
    before: datetime.datetime | None = None
    for name, at, reason in stations if trace.created else stations[1:]:
        yield Step(name, at, (at - before).total_seconds() if at and before else None, "" if at else reason)
        before = at or before


def _origin(change: StatusChange) -> str:
    """Return a sentence on what caused a status change that no Stripe event caused."""
    if change.source == Source.DESK:
        return _("Recorded at the front desk, without Stripe.")
    if change.source == Source.APPOINTMENT:
        return _("The appointment itself changed.")
    if change.source in (Source.CHECKOUT, Source.REFUND):
        return _("Stripe answered a request from this site.")
    return _("No event reported it: this site asked Stripe.")


def reasons(payment: Payment) -> list[Finding]:
    """Return findings that may explain why the payment shows an old status, worst first."""
    found = [*_mismatch(payment), *_unapplied_events(payment), *_no_news(payment), _open_pages(payment)]
    return sorted(found, key=lambda finding: -finding.level)


def _mismatch(payment: Payment) -> Iterator[Finding]:
    if not matches_facts(payment):
        what = _("The status on this page does not match what is known about the payment.")
        yield Finding(
            "standings", Level.ERROR, what, _("Press “Check with Stripe”, or run `manage.py reconcile --fix`.")
        )


def _unapplied_events(payment: Payment) -> Iterator[Finding]:
    for receipt in EventReceipt.objects.about(payment).exclude(outcome__in=DONE):
        said = {"event": receipt.stripe_event_id, "type": receipt.type, "outcome": receipt.get_outcome_display()}
        said["force"] = "" if receipt.outcome in djstripe.UNSETTLED else " --force"
        yield Finding(
            "events-failed",
            Level.ERROR if receipt.outcome in (Outcome.FAILED, Outcome.DEAD) else Level.WARNING,
            _("The event %(event)s (%(type)s) was not applied: %(outcome)s.") % said,
            _("Run `manage.py replay_events --id %(event)s%(force)s`.") % said,
        )


def _no_news(payment: Payment) -> Iterator[Finding]:
    waiting = payment.status in (PaymentStatus.CHECKOUT_OPEN, PaymentStatus.PROCESSING, PaymentStatus.REFUND_PENDING)
    last = payment.changes.order_by("version").last()
    if not waiting or last is None or last.created_at > timezone.now() - QUIET_LIMIT:
        return
    yield Finding(
        "events-missed",
        Level.WARNING,
        _("Stripe has reported nothing new for %(age)s. That is normal while the patient or the bank takes time.")
        % {"age": age(last.created_at)},
        _("Press “Check with Stripe” to be sure."),
    )


def _open_pages(payment: Payment) -> Finding:
    """Return a Finding (a check's result) that tells how many of the patient's pages are connected to this process.

    Pages connected to other processes are not known here.
    """
    audience = patient_audience(payment.appointment.patient_id)
    sockets = [socket for each in hub.running() for socket in each.sockets() if socket.session.audience == audience]
    if not sockets:
        return Finding("live", Level.OK, _("The patient has no page connected to this process now."))
    return Finding("live", Level.OK, _("Pages of the patient connected now: %(count)s.") % {"count": len(sockets)})
