"""Who may open which page."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404

from ..models import Payment, RecordView

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponseBase]


class Request(HttpRequest):
    """A request of somebody who has signed in."""

    user: User


def staff_required(view: View) -> View:
    """Sign-in for visitors, 403 for patients."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not getattr(request.user, "is_staff", False):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return login_required(checked)


def payment_or_404(request: HttpRequest, **lookup: Any) -> Payment:
    """The one payment that this lookup names and the signed-in person may see; that staff looked at it is noted."""
    payment = get_object_or_404(Payment.objects.visible_to(request.user).with_appointment(), **lookup)
    if isinstance(request.user, User) and request.user.is_staff:
        try:
            RecordView.objects.note(payment, request.user)
        except DatabaseError:  # one that is full or read-only can still be read
            logger.exception("record_view_not_noted", extra={"payment_id": str(payment.public_id)})
    return payment
