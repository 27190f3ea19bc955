"""Views for monitoring: whether this process is alive (/livez), whether it is ready (/readyz), and its /metrics.

https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

import asyncio
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from people.loopback import is_loopback_address

from ..conf import app_settings
from ..doctor.delivery import TAIL_LIMIT
from ..live import hub
from ..models import Feed

BOUND = 2  # seconds to wait for the database before answering

# Probes have one thread of their own, so that a frozen database blocks at most one probe and never a page.
_probes = ThreadPoolExecutor(max_workers=1, thread_name_prefix="readyz")


@require_safe
@never_cache
async def livez(request: HttpRequest) -> HttpResponse:
    """Answer 200 while the event loop runs.

    Query no database: a failed liveness probe restarts this process, which would not repair a database.
    """
    return HttpResponse("ok", content_type="text/plain")


@require_safe
@never_cache
async def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 when the process is ready; 503 when it can't write to the database or can't keep open pages current.

    The JSON body names the state of each part. If the channel layer (Redis) fails, its state is "degraded" and the
    answer is still 200, because the process also queries the database for changes every 2 s.
    """
    state = {"database": await _database(), **_live()}
    ready = state["database"] == "ok" and state["tail"] != "late"
    return JsonResponse(state, status=200 if ready else 503)


async def _database() -> str:
    """Return "ok" if a row can be written within BOUND seconds, else the exception's name or "no answer in 2 s"."""
    write = sync_to_async(_write_and_roll_back, thread_sensitive=False, executor=_probes)
    try:
        async with asyncio.timeout(BOUND):
            await write()
    except TimeoutError:
        return f"no answer in {BOUND} s"
    except Exception as error:  # noqa: BLE001 - the driver, the pool and the disk each raise their own
        return type(error).__name__
    return "ok"


def _write_and_roll_back() -> None:
    """Insert a row and roll the transaction back. Raises whatever the database raises."""
    try:
        with transaction.atomic():
            Feed.objects.create(audience=f"readyz.{time.monotonic_ns()}")
            transaction.set_rollback(True)
    finally:
        connection.close()


def _live() -> dict[str, str]:
    """Return the states of the two ways in which this process learns of changes that open pages have to show.

    `tail` is the regular database query: "ok" or "late". `layer` is the channel layer: "ok" or "degraded". Both are
    "idle" while no page is connected.
    """
    hubs = hub.running()
    if not hubs:
        return {"tail": "idle", "layer": "idle"}
    late = any(time.monotonic() - each.tailed_at > TAIL_LIMIT for each in hubs)
    return {"tail": "late" if late else "ok", "layer": "degraded" if any(each.deaf for each in hubs) else "ok"}


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with metrics in Prometheus' text format; 403 to other machines unless they send METRICS_TOKEN."""
    if not _may_read(request):
        said = "Set METRICS_TOKEN and send it as `Authorization: Bearer ...`, or ask from this machine itself."
        return HttpResponse(said, status=403, content_type="text/plain")
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    """Return whether the request carries METRICS_TOKEN or comes from this machine.

    A request with a forwarding header counts as remote, because its address is only that of a proxy on this machine.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if app_settings.CLINIC_METRICS_TOKEN and scheme == "Bearer":
        return secrets.compare_digest(token.encode(), app_settings.CLINIC_METRICS_TOKEN.encode())
    forwarded = {"X-Forwarded-For", "Forwarded"} & set(request.headers)
    return not forwarded and is_loopback_address(request.META.get("REMOTE_ADDR", ""))
