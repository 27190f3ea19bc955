"""Keep what a person typed into a form when a step of signing in comes before the form is sent.

A POST can be stopped because the session has ended, the second factor is missing, the person has to prove who they are,
or they have signed in again in another tab, which makes the CSRF token of this page outdated. `lead_back` and
`csrf_failure` then lead to the page with the form. What was typed waits in the session, for its author alone, and the
view fills it in with `typed`. No form is sent by itself: the person presses the button again.
"""

import time
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views import csrf
from django_htmx.http import HttpResponseClientRedirect

from . import sign_in
from .conf import app_settings
from .requests import sent_by_itself

KEPT = "unsent_forms"  # session key; its value maps a form's action to what was typed, its author and the time
AUTHOR = "typed_by"  # the form's field with the author's signed id
KEEP_SECONDS = 30 * 60
MOST = 5  # forms kept in a session; further ones replace the oldest
IN_DIALOG = ("dialog", "booking")  # htmx targets of forms that lie over a page, and are pages of their own as well
LONGEST = 20_000  # characters of one form; a longer one isn't kept


def author_mark(user: AbstractBaseUser | AnonymousUser) -> str:
    """Return the signed id of the user to whom a form is shown, or "" if nobody is signed in.

    The form sends it along, so that its author is known even after the session has ended. It is signed so that people
    who have never signed in can't fill the session table with kept text.
    """
    return _signer().sign(user.pk) if user.pk else ""


def typed(request: HttpRequest, action: str = "") -> QueryDict | None:
    """Return what this user typed into the form that posts to `action` (by default the page's own path), or None.

    The text is returned only once. A request that a page sends by itself gets None, so that it can't use the text up.
    """
    action = action or request.path
    if request.method != "GET" or sent_by_itself(request) or action not in request.session.get(KEPT, {}):
        return None
    form = request.session[KEPT].pop(action)
    request.session.modified = True
    if form["author"] != request.user.pk or form["at"] < time.time() - KEEP_SECONDS:
        return None
    messages.info(request, _("This is what you entered before. It has not been sent yet."))
    return QueryDict(form["typed"])


def was_stopped(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Return whether a POST was redirected to a step of signing in, such as the second factor, and not carried out.

    The answer is False for the forms of signing in, which lead on by themselves, and for a change of language.
    """
    path, _, query = response.headers.get("Location", "").partition("?")
    if request.method != "POST" or sent_by_itself(request) or not query.startswith("next="):
        return False
    match = request.resolver_match
    own = match and (match.view_name or "").startswith((*sign_in.current().views, "set_language"))
    return not own and path in sign_in.step_paths()


def lead_back(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Keep what the stopped form sent, and let the step of signing in lead back to the page that shows the form.

    Without this, that step would lead to the URL to which the form posts.
    """
    _keep(request)
    messages.info(
        request, _("Nothing has been sent or changed yet. After this step you are back on the page where you were.")
    )
    return redirect_to_login(_page_of(request), response.headers["Location"].partition("?")[0])


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Handle a form without a valid CSRF token (Django's CSRF_FAILURE_VIEW).

    If it comes from a page of this site, its person has probably signed in again in another tab. Then lead back to that
    page, which shows the form with a valid token. Everything else gets Django's error page.
    """
    if sent_by_itself(request) or not (_is_from_this_site(request) and _has_csrf_cookie(request)):
        return csrf.csrf_failure(request, reason=reason)
    _keep(request)
    messages.warning(
        request, _("This page was open for too long, so nothing was sent or changed. Check it and try again.")
    )
    page = _page_of(request)
    return HttpResponseClientRedirect(page) if "HX-Request" in request.headers else redirect(page)


def forget_others(sender: object, request: HttpRequest, user: AbstractBaseUser, **kwargs: object) -> None:
    """Receive Django's user_logged_in signal, and delete what other people typed in this browser."""
    if kept := request.session.get(KEPT):
        request.session[KEPT] = {action: form for action, form in kept.items() if form["author"] == user.pk}


def _keep(request: HttpRequest) -> None:
    """Store in the session what was typed into the form.

    Nothing is stored if the text is too long or has no author, or if another person is signed in.
    """
    author = _author_of(request)
    trusted = getattr(request, "csrf_processing_done", False) or _is_from_this_site(request)
    if author is None or request.user.pk not in (None, author) or not trusted:
        return
    posted = request.POST.copy()
    for name in ("csrfmiddlewaretoken", AUTHOR):
        posted.pop(name, None)
    if len(text := posted.urlencode()) > LONGEST:
        return
    others = {action: form for action, form in request.session.get(KEPT, {}).items() if action != request.path}
    newest = sorted(others.items(), key=lambda item: item[1]["at"])[1 - MOST :]
    form = {"typed": text, "author": author, "at": int(time.time())}
    request.session[KEPT] = {**dict(newest), request.path: form}


def _author_of(request: HttpRequest) -> int | None:
    try:
        return int(_signer().unsign(request.POST.get(AUTHOR, "")))
    except BadSignature:
        return None


def _signer() -> Signer:
    return Signer(salt="people.unsent")


def _page_of(request: HttpRequest) -> str:
    """Return the path and query of the page that shows the form: by itself, if it lay over another page.

    If the browser doesn't tell which page sent the form, return those of its action.
    """
    referer = request.headers.get("Referer", "")
    ours = url_has_allowed_host_and_scheme(referer, {request.get_host()}, require_https=request.is_secure())
    if not ours or request.headers.get("HX-Target") in IN_DIALOG:
        return request.get_full_path()
    page = urlsplit(referer)
    return f"{page.path or '/'}?{page.query}".rstrip("?")


def _is_from_this_site(request: HttpRequest) -> bool:
    """Return whether the browser says that a page of this site sent the form. Other sites can't forge this header."""
    ours = (f"{request.scheme}://{request.get_host()}", app_settings.CLINIC_SITE_URL)
    return request.headers.get("Origin") in ours


def _has_csrf_cookie(request: HttpRequest) -> bool:
    """Return whether the browser keeps cookies; without them, a new page wouldn't help."""
    return settings.CSRF_COOKIE_NAME in request.COOKIES
