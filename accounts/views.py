"""The page of an invitation, and how long a login session still lasts."""

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from . import sessions
from .invitations import invited, password_path


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def welcome(request: HttpRequest, token: str) -> HttpResponseBase:
    """Greet an invited person; their POST leads to the page for choosing a password. Answer 410 if the link has ended.

    A GET changes nothing, so that programs that open the links in e-mails don't use this one up.
    """
    user = invited(token)
    if user is None:
        return render(request, "account/welcome.html", status=410)
    if request.method == "POST":
        return redirect(password_path(user))
    return render(request, "account/welcome.html", {"person": user})


@never_cache
@require_safe
def session(request: HttpRequest) -> HttpResponse:
    """Answer with the `seconds` that the session still lasts, and with `longest`: whether nothing can prolong it.

    The status is 401 for somebody who isn't signed in. This request prolongs the session as any other does.
    """
    if not request.user.is_authenticated:
        return HttpResponse(status=401)
    longest = not sessions.may_last_longer(request.session)
    return JsonResponse({"seconds": request.session.get_expiry_age(), "longest": longest})
