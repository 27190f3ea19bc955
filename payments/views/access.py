"""Who may open which page."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404

from ..models import Payment

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
    """The one payment that this lookup names and the signed-in person may see."""
    return get_object_or_404(Payment.objects.visible_to(request.user).with_appointment(), **lookup)
