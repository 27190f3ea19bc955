"""The ASGI application: webhooks and pages over HTTP, live delivery over WebSocket."""

import functools
import gc
import os
import sys
from typing import Any

from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured

from payments.asgi import routes

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "payments_site.settings")
django_application = get_asgi_application()  # must run before models are imported

from payments.checks import debug_in_public  # noqa: E402
from payments_site.limits import bounded  # noqa: E402

for problem in debug_in_public():  # because a server starts without running `manage.py check`
    raise ImproperlyConfigured(f"{problem.msg} {problem.hint}")

router = bounded(routes(django_application))


@functools.cache
def keep_the_event_loop_running() -> None:
    """Exclude the objects loaded so far from garbage collection, run full collections less often, and share time.

    With 2,000 sockets, a full collection stops the process for 0.2 s and frees only a few hundred objects. While a
    thread computes, the event loop would wait 5 ms for its turn, each time; this is longer than it takes to write a
    change to an open page.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5000, 10, 100)
    sys.setswitchinterval(0.0005)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Serve one HTTP request or WebSocket; this is the callable that the ASGI server runs."""
    keep_the_event_loop_running()  # done once, at the first call, because daphne sends no lifespan event
    await router(scope, receive, send)
