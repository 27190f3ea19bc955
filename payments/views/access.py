"""Decides who may open which page, and keeps the audit log of the payments that staff open."""

import datetime
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils import timezone

from .. import metrics
from ..models import Payment, RecordView
from ..models.record_view import AGAIN_AFTER

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponseBase]
READS_A_MINUTE = 120  # payments that one member of staff may open; nobody reads so fast


class TooManyReads(SuspiciousOperation):
    """A member of staff copies records page by page. Answered 429, and logged as django.security.TooManyReads."""


class Request(HttpRequest):
    """The request of a signed-in user."""

    user: AbstractUser  # type: ignore[assignment]


def staff_required(view: View) -> View:
    """Send visitors to sign in, and answer 403 to patients."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not getattr(request.user, "is_staff", False):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return login_required(checked)


def payment_or_404(request: HttpRequest, **lookup: Any) -> Payment:
    """Return the payment that this lookup names if the signed-in user may see it, else raise Http404."""
    return get_object_or_404(Payment.objects.visible_to(request.user).with_appointment(), **lookup)


def open_payment_or_404(request: HttpRequest, **lookup: Any) -> Payment:
    """Return the payment as `payment_or_404` does, and note in the audit log that a member of staff opened it.

    Raises Http404, and TooManyReads for a user who opens more payments than anybody reads.
    """
    payment = payment_or_404(request, **lookup)
    if isinstance(request.user, AbstractUser) and request.user.is_staff:
        note_look(request, payment, request.user)
        refuse_copying(request.user)
    return payment


def note_look(request: HttpRequest, payment: Payment, user: AbstractUser) -> None:
    """Note in the audit log that this member of staff opened the payment.

    What an open page fetches by itself, with htmx's header, belongs to the look that was noted when the page was
    opened. That look is required to exist, because anybody can send the header.
    """
    by_itself = request.method == "GET" and "HX-Request" in request.headers
    within = datetime.timedelta(seconds=settings.SESSION_LONGEST) if by_itself else AGAIN_AFTER
    try:
        RecordView.objects.note(payment, user, within)
    except DatabaseError:  # a full or read-only database can still be read
        logger.exception("record_view_not_noted", extra={"payment_id": str(payment.public_id)})


def refuse_copying(user: AbstractUser) -> None:
    """Raise TooManyReads if this user has opened more than READS_A_MINUTE payments within a minute."""
    newest = RecordView.objects.filter(user=user.pk).order_by("-pk").values_list("at", flat=True)
    before = newest[READS_A_MINUTE : READS_A_MINUTE + 1].first()
    if before and before > timezone.now() - datetime.timedelta(minutes=1):
        metrics.READS_REFUSED.inc()
        raise TooManyReads(f"user {user.pk} opened more than {READS_A_MINUTE} payments in a minute")
