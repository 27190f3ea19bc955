"""One payment's changes on their way from Stripe to the patient's eyes, and why one has not arrived."""

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
from .database import agrees
from .finding import Finding, Level, age

Outcome = EventReceipt.Outcome
Source = StatusChange.Source
ARRIVED = (Outcome.APPLIED, Outcome.NO_CHANGE)
SILENCE = datetime.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Step:
    """One station: when, how long after the one before (seconds), or why there is no time."""

    name: str
    at: datetime.datetime | None
    took: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Way:
    change: StatusChange
    steps: list[Step]


def ways(payment: Payment) -> list[Way]:
    """Newest first."""
    changes = list(payment.changes.select_related("payment", "actor").order_by("-version"))
    found = traces(changes)
    return [Way(change, list(_steps(change, found[change.pk]))) for change in changes]


def _steps(change: StatusChange, trace: Trace) -> Iterator[Step]:
    unseen = _("No page of the patient has reported it in sight yet.")
    stations = (
        (_("Created at Stripe"), trace.created, ""),
        (_("Received"), trace.received, _beginning(change)),
        (_("Applied"), trace.applied, ""),
        (_("Pushed"), trace.pushed, _("No page of the patient was open; one opened since shows it from the start.")),
        (_("Seen"), trace.seen, unseen),
    )
    before: datetime.datetime | None = None
    for name, at, reason in stations if trace.created else stations[1:]:
        yield Step(name, at, (at - before).total_seconds() if at and before else None, "" if at else reason)
        before = at or before


def _beginning(change: StatusChange) -> str:
    """How a change comes about that no event of Stripe's brought."""
    if change.source == Source.DESK:
        return _("Recorded at the front desk, without Stripe.")
    if change.source == Source.APPOINTMENT:
        return _("The appointment itself changed.")
    if change.source in (Source.CHECKOUT, Source.REFUND):
        return _("Stripe answered our own request.")
    return _("No event brought it: we asked Stripe ourselves.")


def reasons(payment: Payment) -> list[Finding]:
    """What stands between this payment and the truth, worst first."""
    found = [*_differing(payment), *_stranded(payment), *_silent(payment), _open_pages(payment)]
    return sorted(found, key=lambda finding: -finding.level)


def _differing(payment: Payment) -> Iterator[Finding]:
    if not agrees(payment):
        what = _("This page shows something else than what is known of the payment.")
        yield Finding("standings", Level.ERROR, what, _("Press “Ask Stripe”, or run `manage.py reconcile --fix`."))


def _stranded(payment: Payment) -> Iterator[Finding]:
    for receipt in EventReceipt.objects.about(payment).exclude(outcome__in=ARRIVED):
        said = {"event": receipt.stripe_event_id, "type": receipt.type, "outcome": receipt.get_outcome_display()}
        said["force"] = "" if receipt.outcome in djstripe.UNSETTLED else " --force"
        yield Finding(
            "events-failed",
            Level.ERROR if receipt.outcome in (Outcome.FAILED, Outcome.DEAD) else Level.WARNING,
            _("The event %(event)s (%(type)s) did not arrive: %(outcome)s.") % said,
            _("Run `manage.py replay_events --id %(event)s%(force)s`.") % said,
        )


def _silent(payment: Payment) -> Iterator[Finding]:
    waiting = payment.status in (PaymentStatus.CHECKOUT_OPEN, PaymentStatus.PROCESSING, PaymentStatus.REFUND_PENDING)
    last = payment.changes.order_by("version").last()
    if not waiting or last is None or last.created_at > timezone.now() - SILENCE:
        return
    yield Finding(
        "events-missed",
        Level.WARNING,
        _("Stripe has told nothing new for %(age)s. That is right while the patient or the bank takes time.")
        % {"age": age(last.created_at)},
        _("Press “Ask Stripe” to be sure."),
    )


def _open_pages(payment: Payment) -> Finding:
    """Of this process alone: others know of theirs."""
    audience = patient_audience(payment.appointment.patient_id)
    sockets = [socket for each in hub.running() for socket in each.sockets() if socket.holder.audience == audience]
    if not sockets:
        return Finding("live", Level.OK, _("No page of the patient is connected to this process now."))
    return Finding(
        "live", Level.OK, _("Pages of the patient that are connected now: %(count)s.") % {"count": len(sockets)}
    )
