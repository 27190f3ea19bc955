"""Decides who may open which page, and keeps the audit log of the payments that staff open."""

import datetime
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth import decorators
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone

from people.requests import sent_by_itself
from people.sign_in import current

from .. import metrics
from ..models import Payment, RecordView
from ..models.record_view import AGAIN_AFTER

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponseBase]
READS_A_MINUTE = 120  # different payments that one member of staff may open; no person reads so fast


class TooManyReads(SuspiciousOperation):
    """A member of staff opened more payments in a minute than a person can read.

    The response is a 429, and Django logs the exception as django.security.TooManyReads.
    """


class Request(HttpRequest):
    """An HttpRequest whose `user` is signed in; only type annotations use this class."""

    user: AbstractUser  # type: ignore[assignment]


def staff_required(view: View) -> View:
    """Decorate a view for staff: redirect anonymous visitors to the sign-in page, and answer 403 to patients."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not getattr(request.user, "is_staff", False):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return login_required(checked)


def permission_required(permission: str) -> Callable[[View], View]:
    """Return a decorator for a view for staff: it answers 403 to staff without this permission of the app."""

    check = decorators.permission_required(f"clinic_payments.{permission}", raise_exception=True)
    return lambda view: staff_required(check(view))


def posted_from(page: Callable[..., str]) -> Callable[[View], View]:
    """Return a decorator for a view that answers POSTs of a form on another page: it redirects a GET to that page.

    `page` gets the view's arguments and returns the page's path. A GET comes from a person who has just signed in to
    send the form, or who reloads a page that the POST has rendered.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return (
                view(request, *args, **kwargs) if request.method == "POST" else redirect(page(request, *args, **kwargs))
            )

        return checked

    return decorate


def desk_page(request: HttpRequest, reference: str) -> str:
    """Return the path of the front desk's page about an appointment, as `posted_from(desk_page)` needs it."""
    return reverse("clinic:desk_appointment", args=[reference])


def payment_or_404(request: HttpRequest, **lookup: Any) -> Payment:
    """Return the payment that matches the field lookups `lookup`.

    Raises Http404 if there is none or the user may not see it.
    """
    return get_object_or_404(Payment.objects.visible_to(request.user).with_appointment(), **lookup)


def open_payment_or_404(request: HttpRequest, **lookup: Any) -> Payment:
    """Return the payment that matches the field lookups `lookup`; if the user is staff, add an entry to the audit log.

    Raises Http404 if there is no such payment or the user may not see it. Raises TooManyReads if a member of staff
    has opened too many payments in the last minute.
    """
    payment = payment_or_404(request, **lookup)
    if isinstance(request.user, AbstractUser) and request.user.is_staff:
        note_look(request, payment, request.user)
        refuse_copying(request.user)
    return payment


def note_look(request: HttpRequest, payment: Payment, user: AbstractUser) -> None:
    """Add an entry to the audit log: `user`, a member of staff, opened the payment.

    Add none if the last entry for this user and payment is younger than AGAIN_AFTER. For a GET request that an open
    page sends by itself, add none if the last entry is younger than the longest login session.
    """
    by_itself = request.method == "GET" and sent_by_itself(request)
    within = datetime.timedelta(seconds=current().longest_session) if by_itself else AGAIN_AFTER
    try:
        RecordView.objects.note(payment, user, within)
    except DatabaseError:  # staff can still read payments while the database is full or read-only
        logger.exception("record_view_not_noted", extra={"payment_id": str(payment.public_id)})


def refuse_copying(user: AbstractUser) -> None:
    """Raise TooManyReads if `user` has opened more than READS_A_MINUTE payments during the last minute."""
    newest = RecordView.objects.filter(user=user.pk).order_by("-pk").values_list("at", flat=True)
    before = newest[READS_A_MINUTE : READS_A_MINUTE + 1].first()
    if before and before > timezone.now() - datetime.timedelta(minutes=1):
        metrics.READS_REFUSED.inc()
        raise TooManyReads(f"user {user.pk} opened more than {READS_A_MINUTE} payments in a minute")
