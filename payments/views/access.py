"""Who may open which page."""

import datetime
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils import timezone

from .. import metrics
from ..models import Payment, RecordView

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponseBase]
READS_A_MINUTE = 120  # payments that one member of the staff may open; nobody reads so fast


class TooManyReads(SuspiciousOperation):
    """Somebody copies the clinic's records page by page. Django logs it as django.security.TooManyReads."""


class Request(HttpRequest):
    """A request of somebody who has signed in."""

    user: AbstractUser  # type: ignore[assignment]


def staff_required(view: View) -> View:
    """Sign-in for visitors, 403 for patients."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not getattr(request.user, "is_staff", False):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return login_required(checked)


def payment_or_404(request: HttpRequest, **lookup: Any) -> Payment:
    """The one payment that this lookup names and the signed-in person may see; that staff looked at it is noted.

    Raises Http404, and TooManyReads, which is answered 429.
    """
    payment = get_object_or_404(Payment.objects.visible_to(request.user).with_appointment(), **lookup)
    if isinstance(request.user, AbstractUser) and request.user.is_staff:
        try:
            RecordView.objects.note(payment, request.user)
        except DatabaseError:  # one that is full or read-only can still be read
            logger.exception("record_view_not_noted", extra={"payment_id": str(payment.public_id)})
        refuse_copying(request.user)
    return payment


def refuse_copying(user: AbstractUser) -> None:
    newest = RecordView.objects.filter(user=user.pk).order_by("-pk").values_list("at", flat=True)
    before = newest[READS_A_MINUTE : READS_A_MINUTE + 1].first()
    if before and before > timezone.now() - datetime.timedelta(minutes=1):
        metrics.READS_REFUSED.inc()
        raise TooManyReads(f"user {user.pk} opened more than {READS_A_MINUTE} payments in a minute")
