"""Checks that live delivery, the channel layer, the webhook and the WebSocket work. The checks store nothing."""

import asyncio
import hashlib
import hmac
import json
import ssl
import time
import urllib.error
import urllib.request
import uuid
from socket import gaierror
from typing import Any
from urllib.parse import urlsplit

from channels.layers import InMemoryChannelLayer, channel_layers
from django.conf import settings
from django.middleware.csrf import CSRF_SECRET_LENGTH
from django.urls import reverse
from django.utils.crypto import get_random_string
from django.utils.translation import gettext as _
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Origin

from ..addresses import absolute
from ..conf import app_settings
from ..live import hub
from ..models import EventReceipt
from .finding import Verdict, error, ok, warning

TIMEOUT = 5  # seconds
SLOW = 0.5  # seconds; Stripe waits much longer, but people watch the page for the result
REACHED = (404, 429)  # the answers to a form for a pay link that doesn't exist, also when it was sent too often
SIGNED_OUT = 4401  # the socket's close code for a visitor who is not signed in
MAX_LOST_PROBES = 3  # test messages of the hub that may be lost in a row
TAIL_LIMIT = 5 * hub.TAIL  # seconds since the database last answered the hub, after which open pages are stale


def live() -> Verdict:
    """Check this process's hub, which sends changes to open pages.

    The hub must get answers from the database, messages from other processes about their changes, and its own test
    messages.
    """
    hubs = hub.running()
    pages = sum(len(each.sockets()) for each in hubs)
    if any(time.monotonic() - each.tailed_at > TAIL_LIMIT for each in hubs):
        return error(
            _("The database has not answered live delivery for %(seconds)s s: pages say that they are not live.")
            % {"seconds": round(TAIL_LIMIT)},
            _("Check the database, and look for live_tail_failed in the log."),
        )
    if any(each.deaf for each in hubs):
        return warning(
            _("The channel layer delivers no hints: pages learn of changes from the database, up to 2 s later."),
            _("Start Redis, or set REDIS_URL to its address. No change is lost in the meantime."),
        )
    silence = max((time.monotonic() - each.probe.returned_at for each in hubs if each.probe), default=0)
    if silence > MAX_LOST_PROBES * app_settings.CLINIC_PROBE_SECONDS:
        return warning(
            _("This process has not received its own test messages for %(seconds)s s.") % {"seconds": round(silence)},
            _("Look for live_probe_failed and live_task_failed in the log. If neither is there, restart this process."),
        )
    return ok(_("Pages connected to this process: %(count)s.") % {"count": pages})


def channel_layer() -> Verdict:
    """Check that a message sent through the channel layer, on a new connection, comes back."""
    layer = channel_layers.make_backend("default")
    if isinstance(layer, InMemoryChannelLayer):
        return ok(_("The channel layer is in this process’s memory, which is right for a single process."))
    started = time.monotonic()
    try:
        asyncio.run(_round_trip(layer))
    except Exception as failure:  # noqa: BLE001 each layer's library raises errors of its own
        return warning(
            _("The channel layer does not answer (%(error)s): pages learn of changes up to 2 s later.")
            % {"error": type(failure).__name__},
            _("Start Redis, or set REDIS_URL to its address. No change is lost in the meantime."),
        )
    milliseconds = round(1000 * (time.monotonic() - started))
    return ok(_("The channel layer answers in %(milliseconds)s ms.") % {"milliseconds": milliseconds})


async def _round_trip(layer: Any) -> None:
    """Send a message through the channel layer and receive it.

    Raises TimeoutError if that takes longer than TIMEOUT, and any error of the layer's library.
    """
    async with asyncio.timeout(TIMEOUT):
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "doctor"})
        await layer.receive(channel)
        await layer.flush()


def webhook() -> Verdict:
    """Check that the webhook refuses an unsigned event without storing it, accepts a signed one, and answers fast."""
    event_id = f"evt_doctor{uuid.uuid4().hex}"
    unsigned = json.dumps({"id": event_id, "object": "event", "type": "ping", "created": 0, "livemode": False})
    ping = json.dumps({"id": event_id, "object": "v2.core.event"})  # the site never stores events of this kind
    secret = next(iter(app_settings.STRIPE_WEBHOOK_SECRETS), "")
    url = absolute("clinic:stripe_webhook")
    try:
        unsigned_status, _seconds = _post(url, unsigned, "")
        signed_status, seconds = _post(url, ping, secret) if secret else (200, 0)
    except OSError as failure:
        return _no_answer(url, failure)
    if unsigned_status != 400 or EventReceipt.objects.filter(stripe_event_id=event_id).exists():
        return error(
            _("An unsigned event got the answer %(status)s instead of 400.") % {"status": unsigned_status},
            _("Either another program answers at %(url)s, or a proxy changes the requests. Check both.") % {"url": url},
        )
    if signed_status != 200:
        return error(
            _("An event signed with this site’s secret got the answer %(status)s.") % {"status": signed_status},
            _("Give the web server the same STRIPE_WEBHOOK_SECRET as this command, and make the proxy pass"
              " request bodies unchanged."),
        )  # fmt: skip
    if not secret:
        return ok(_("The webhook refuses unsigned events. There is no secret yet for signed ones."))
    what = _("The webhook refuses unsigned events, accepts signed ones, and answers in %(milliseconds)s ms.") % {
        "milliseconds": round(1000 * seconds)
    }
    return ok(what) if seconds < SLOW else warning(what, _("Check the load of the machine and of the database."))


def forms() -> Verdict:
    """Send a form as a browser on SITE_URL does, and check that the site accepts it.

    The form is that of a pay link that doesn't exist, so it changes nothing. The site refuses forms if a proxy passes
    on another Host, or if it doesn't trust SITE_URL's address.
    """
    url, token = absolute("clinic:pay_by_link", "doctor"), get_random_string(CSRF_SECRET_LENGTH)
    headers = {
        "Origin": app_settings.CLINIC_SITE_URL,
        "Referer": url,
        "Cookie": f"{settings.CSRF_COOKIE_NAME}={token}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    try:
        status, _seconds = _answer(url, f"csrfmiddlewaretoken={token}", headers)
    except OSError as failure:
        return _no_answer(url, failure)
    if status in REACHED:
        return ok(_("Forms that are sent at the public address arrive."))
    return error(
        _("A form that is sent at %(site)s gets the answer %(status)s and does not arrive.")
        % {"site": app_settings.CLINIC_SITE_URL, "status": status},
        _("Make the proxy pass the headers Host and X-Forwarded-Proto on as deploy/ does. In a project of your own,"
          " ALLOWED_HOSTS and CSRF_TRUSTED_ORIGINS need the address in SITE_URL."),
    )  # fmt: skip


def _no_answer(url: str, failure: OSError) -> Verdict:
    """Return what to do if nothing answers at this URL, or answers without a certificate that browsers trust."""
    cause = failure.reason if isinstance(failure, urllib.error.URLError) else failure
    what = _("%(host)s does not answer (%(error)s).") % {"host": urlsplit(url).netloc, "error": type(cause).__name__}
    if isinstance(cause, ssl.SSLError):
        what = _("%(host)s has no valid certificate (%(error)s).") % {
            "host": urlsplit(url).netloc,
            "error": cause.reason,
        }
        return error(
            what,
            _("Let the host’s DNS records lead to this machine, and open ports 80 and 443. The certificate then comes"
              " within minutes; `journalctl -u caddy` or, with nginx, `deploy/install.sh` says why not."),
        )  # fmt: skip
    if isinstance(cause, gaierror):
        return error(what, _("Add a DNS record for the host of SITE_URL that leads to this machine."))
    return error(what, _("Start the site, or set SITE_URL to the address at which Stripe and browsers reach it."))


def _post(url: str, body: str, secret: str) -> tuple[int, float]:
    """Post `body`, signed with `secret` unless that is ""; return the HTTP status and how many seconds it took.

    Raises OSError if nothing answers.
    """
    stamp = int(time.time())
    signature = hmac.new(secret.encode(), f"{stamp}.{body}".encode(), hashlib.sha256).hexdigest()
    signed = {"Stripe-Signature": f"t={stamp},v1={signature}"} if secret else {}
    return _answer(url, body, {"Content-Type": "application/json"} | signed)


def _answer(url: str, body: str, headers: dict[str, str]) -> tuple[int, float]:
    """Post `body`; return the HTTP status and how many seconds it took. Raises OSError if nothing answers."""
    request = urllib.request.Request(url, body.encode(), headers)  # noqa: S310 SITE_URL is ours
    started = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            return answer.status, time.monotonic() - started
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code, time.monotonic() - started


def socket() -> Verdict:
    """Check that a WebSocket opens at SITE_URL as from a browser. If a proxy blocks it, pages have to poll."""
    url = absolute("clinic:payments_socket").replace("http", "ws", 1)
    fix = _(
        "Make the proxy pass WebSocket upgrades for %(path)s with their Origin header unchanged; deploy/ has an"
        " example. asgi.py has to use payments.asgi.routes()."
    ) % {"path": reverse("clinic:payments_socket")}
    try:
        with connect(url, origin=Origin(app_settings.CLINIC_SITE_URL), open_timeout=TIMEOUT, close_timeout=1) as page:
            page.recv(TIMEOUT)
    except WebSocketException as failure:
        if getattr(getattr(failure, "rcvd", None), "code", 0) == SIGNED_OUT:
            return ok(_("WebSockets open at the public address."))
        return error(_("A WebSocket can’t be opened (%(error)s).") % {"error": failure}, fix)
    except OSError as failure:
        return _no_answer(url, failure)
    return error(_("A WebSocket opened without anybody signed in."), _("Check which program answers at this address."))
