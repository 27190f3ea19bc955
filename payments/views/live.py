"""The endpoint that pages poll while they have no healthy WebSocket, and a page that shows all live components."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_safe

from .. import metrics
from ..live.feeds import audience_of, entries_after, supported_language
from ..live.rendering import render_entry
from ..models import Payment


@require_GET
@never_cache
def payments_live(request: HttpRequest) -> HttpResponse:
    """Return the entries of the user's feed after number `after`, as HTML that is marked for htmx's out-of-band swaps.

    The query parameter `epoch` says to which epoch of the feed `after` belongs; without it, `after` says nothing, and
    the page has to reload. Answer 204 if there are no entries, 401 to signed-out users, 403 if the page was made for
    another user. The page sends the header X-Live-Seq as `after` in its next poll; X-Live-Epoch is its epoch.
    X-Live-More says that more entries wait. X-Live-Reset says that the feed can't be continued from `after`, so the
    page has to reload.
    """
    metrics.POLLS.inc()
    audience = audience_of(request.user)
    after = request.GET.get("after", "")
    if not audience:
        return HttpResponse("Signed out.", status=401, content_type="text/plain")
    if request.GET.get("feed", audience) != audience:
        return HttpResponse("This page was made for somebody else.", status=403, content_type="text/plain")
    if not (after.isdecimal() and after.isascii() and len(after) < 18):
        return HttpResponse("after: a number is needed.", status=400, content_type="text/plain")
    batch = entries_after(audience, int(after), request.GET.get("epoch"))
    language = supported_language(request.GET.get("lang"))
    html = "\n".join(render_entry(entry, language) for entry in batch.entries)
    if html:  # where htmx alone shows the entries, it also puts their number into the page
        html += render_to_string("payments/_live_cursor.html", {"cursor": batch.last, "oob": True})
    response = HttpResponse(html, status=200 if html or batch.reset else 204)
    response["X-Live-Seq"] = batch.last
    response["X-Live-Epoch"] = batch.epoch
    if batch.reset:
        response["X-Live-Reset"] = "1"
    if batch.last < batch.head:
        response["X-Live-More"] = "1"
    return response


@require_GET
@never_cache
def payments_socket(request: HttpRequest) -> HttpResponse:
    """Answer 426 to a plain request for the WebSocket's address, and say what asgi.py or a proxy may lack."""
    said = "This address is a WebSocket. asgi.py needs payments.asgi.routes(), and a proxy has to pass upgrades on."
    return HttpResponse(said, status=426, content_type="text/plain", headers={"Upgrade": "websocket"})


@require_safe
@login_required
def components(request: HttpRequest) -> HttpResponse:
    """Show the live components that docs/components.md describes, for up to 20 payments that the user may see."""
    payments = Payment.objects.visible_to(request.user).with_appointment()[:20]
    return render(request, "payments/components.html", {"payments": payments})
