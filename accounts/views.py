"""The page of an invitation."""

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

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
