"""The way to this site's own doors and back: webhook, socket, channel layer. Nothing is written."""

import asyncio
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

from channels.layers import InMemoryChannelLayer, channel_layers
from django.conf import settings
from django.utils.translation import gettext as _
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Origin

from ..live import hub
from ..models import EventReceipt
from .finding import Verdict, error, ok, warning

SECONDS = 5  # that a door may take to answer
SLOW = 0.5  # seconds; Stripe waits much longer, people don't
SIGNED_OUT = 4401
PROBES = 3  # in a row that don't come back
LATE = 5 * hub.TAIL  # seconds without an answer of the database, after which no page of this process is current


def live() -> Verdict:
    """The pages connected to this very process."""
    hubs = hub.running()
    pages = sum(len(each.sockets()) for each in hubs)
    if any(time.monotonic() - each.tailed_at > LATE for each in hubs):
        return error(
            _("The database has not answered live delivery for %(seconds)s s: pages say that they are not live.")
            % {"seconds": round(LATE)},
            _("Look at the database and at the log, event live_tail_failed."),
        )
    if any(each.deaf for each in hubs):
        return warning(
            _("The channel layer brings no hints: pages learn of changes from the database, up to 2 s later."),
            _("Start Redis, or set REDIS_URL to where it is. Nothing is lost meanwhile."),
        )
    missing = max((time.monotonic() - each.probe.returned_at for each in hubs if each.probe), default=0)
    if missing > PROBES * settings.PROBE_SECONDS:
        return warning(
            _("What this process writes for itself has not come back for %(seconds)s s.") % {"seconds": round(missing)},
            _("Look in the log for live_probe_failed and live_task_failed; restart this process if there is nothing."),
        )
    return ok(_("Pages connected to this process: %(count)s.") % {"count": pages})


def channel_layer() -> Verdict:
    """A message to ourselves, through a connection of our own."""
    layer = channel_layers.make_backend("default")
    if isinstance(layer, InMemoryChannelLayer):
        return ok(_("The channel layer is this process’s memory: right for one process."))
    started = time.monotonic()
    try:
        asyncio.run(_round_trip(layer))
    except Exception as failure:  # noqa: BLE001 whatever a layer's library raises
        return warning(
            _("The channel layer does not answer (%(error)s): pages learn of changes up to 2 s later.")
            % {"error": type(failure).__name__},
            _("Start Redis, or set REDIS_URL to where it is. Nothing is lost meanwhile."),
        )
    milliseconds = round(1000 * (time.monotonic() - started))
    return ok(_("The channel layer answers in %(milliseconds)s ms.") % {"milliseconds": milliseconds})


async def _round_trip(layer: Any) -> None:
    """Raises TimeoutError, and whatever the layer's library raises."""
    async with asyncio.timeout(SECONDS):
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "doctor"})
        await layer.receive(channel)
        await layer.flush()


def webhook() -> Verdict:
    """An unsigned event must be refused and leave no trace; a signed one that means nothing must be taken."""
    event_id = f"evt_doctor{uuid.uuid4().hex}"
    unsigned = json.dumps({"id": event_id, "object": "event", "type": "ping", "created": 0, "livemode": False})
    ping = json.dumps({"id": event_id, "object": "v2.core.event"})  # of a kind that is never stored
    secret = next(iter(settings.STRIPE_WEBHOOK_SECRETS), "")
    url = f"{settings.SITE_URL}/stripe/webhook/"
    try:
        refused, _took = _post(url, unsigned, "")
        taken, seconds = _post(url, ping, secret)
    except OSError as failure:
        return error(
            _("%(url)s does not answer (%(error)s).") % {"url": url, "error": getattr(failure, "reason", failure)},
            _("Start the site, or set SITE_URL to the address at which Stripe and browsers reach it."),
        )
    if refused != 400 or EventReceipt.objects.filter(stripe_event_id=event_id).exists():
        return error(
            _("An unsigned event was answered %(status)s instead of 400.") % {"status": refused},
            _("What answers at %(url)s is not this site, or a proxy changes requests: look there.") % {"url": url},
        )
    if taken != 200:
        return error(
            _("An event signed with our secret was answered %(status)s.") % {"status": taken},
            _("Give the web server the same STRIPE_WEBHOOK_SECRET as this command, and let the proxy pass bodies as"
              " they are."),
        )  # fmt: skip
    what = _("The webhook refuses the unsigned, takes the signed, and answers in %(milliseconds)s ms.") % {
        "milliseconds": round(1000 * seconds)
    }
    return ok(what) if seconds < SLOW else warning(what, _("Look at the machine’s load, and at the database’s."))


def _post(url: str, body: str, secret: str) -> tuple[int, float]:
    """Status and seconds. Raises OSError when nobody answers."""
    stamp = int(time.time())
    signature = hmac.new(secret.encode(), f"{stamp}.{body}".encode(), hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json"} | (
        {"Stripe-Signature": f"t={stamp},v1={signature}"} if secret else {}
    )
    request = urllib.request.Request(url, body.encode(), headers)  # noqa: S310 SITE_URL is ours
    started = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            return answer.status, time.monotonic() - started
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code, time.monotonic() - started


def socket() -> Verdict:
    """Through the public address, as a browser: a proxy that doesn't pass upgrades leaves pages to polling."""
    url = f"{settings.SITE_URL.replace('http', 'ws', 1)}/ws/payments/"
    fix = _("Let the proxy pass WebSocket upgrades for /ws/ (deploy/ has a sample), with the Origin as it came.")
    try:
        with connect(url, origin=Origin(settings.SITE_URL), open_timeout=SECONDS, close_timeout=1) as page:
            page.recv(SECONDS)
    except WebSocketException as failure:
        if getattr(getattr(failure, "rcvd", None), "code", 0) == SIGNED_OUT:
            return ok(_("Sockets can be opened through the public address."))
        return error(_("A socket can’t be opened (%(error)s).") % {"error": failure}, fix)
    except (OSError, TimeoutError) as failure:
        return error(_("%(url)s does not answer (%(error)s).") % {"url": url, "error": type(failure).__name__}, fix)
    return error(_("A socket was opened by nobody who is signed in."), _("Look at what answers at this address."))
