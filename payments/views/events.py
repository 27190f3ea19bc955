"""The list of a payment's Stripe events, and the page that applies one of these events again."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from ..gateway import djstripe, webhooks
from ..ledger import Source
from ..models import EventReceipt, Payment
from .access import Request, open_payment_or_404, staff_required

logger = logging.getLogger(__name__)
Outcome = EventReceipt.Outcome


def events_of(payment: Payment) -> list[EventReceipt]:
    """Return an EventReceipt for each of the payment's Stripe events, oldest first.

    Each receipt's attribute `replays` lists an admin log entry for each time that a user applied the event again.
    """
    receipts = list(EventReceipt.objects.about(payment).order_by("stripe_created", "pk"))
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(EventReceipt), object_id__in=[str(row.pk) for row in receipts]
    )
    replays: dict[str, list[LogEntry]] = defaultdict(list)
    for entry in entries.select_related("user").order_by("action_time"):
        replays[str(entry.object_id)].append(entry)
    for row in receipts:
        row.replays = replays[str(row.pk)]  # type: ignore[attr-defined]
    return receipts


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
def replay_event(request: Request, reference: str, event_id: str) -> HttpResponseBase:
    """Ask whether to apply the Stripe event again; on POST apply it, as `manage.py replay_events` does.

    Answer 409 to a POST if the event's body is no longer stored.
    """
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    if not request.user.has_perm("clinic_payments.replay_event"):
        raise PermissionDenied
    receipt = get_object_or_404(EventReceipt.objects.about(payment), stripe_event_id=event_id)
    event = next(iter(djstripe.stored_events(ids=[event_id], settled_too=True)), None)
    if request.method == "POST" and event:
        outcome = _apply_again(request, receipt, event)
        LogEntry.objects.log_actions(
            request.user.pk, [receipt], CHANGE, change_message=f"replay: {outcome.value}", single_object=True
        )
        return redirect("clinic:desk_appointment", payment.appointment.reference)
    context = {"payment": payment, "appointment": payment.appointment, "receipt": receipt, "kept": bool(event)}
    return render(request, "payments/replay.html", context, status=409 if request.method == "POST" else 200)


def _apply_again(request: Request, receipt: EventReceipt, event: Mapping[str, Any]) -> Outcome:
    """Apply the event again, add a message about the outcome for the next page, and return the outcome."""
    about = {"stripe_event_id": receipt.stripe_event_id, "actor_id": request.user.pk}
    try:
        with transaction.atomic():
            applied = webhooks.receive(event, Source.REPLAY, again=True, actor=request.user)
    except Exception as error:
        logger.exception("stripe_event_replay_failed", extra=about)
        said = _("The event failed again (%(error)s), and nothing was changed. The log shows the cause.")
        messages.error(request, said % {"error": type(error).__name__})
        return Outcome.FAILED
    logger.info("stripe_event_replayed", extra=about | {"outcome": applied.outcome})
    outcome = Outcome(applied.outcome)
    messages.success(request, _("Applied again: %(outcome)s.") % {"outcome": str(outcome.label).lower()})
    return outcome
