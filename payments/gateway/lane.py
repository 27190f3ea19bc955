"""Handles webhook deliveries in batches: what arrives while a transaction runs is handled together in the next one."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from django.db import DatabaseError, connection
from django.http import HttpResponse

from .. import logs, metrics
from ..addresses import keep_server_prefix
from . import background
from .signatures import Delivery
from .webhooks import Incoming, acknowledgement, handle, handle_alone, open_delivery, report

logger = logging.getLogger(__name__)

LARGEST = 64  # events in one transaction
# The longest wait of a batch for one lock. A page may hold a payment for longer; then only that payment's events wait.
LOCK_TIMEOUT = "200ms"
BESIDE = 4  # threads for events that go alone


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A delivery that has waited for its response since the time `since` (`time.perf_counter()`)."""

    delivery: Delivery
    request_id: str
    response: "asyncio.Future[HttpResponse]"
    since: float


Opened = tuple[Waiting, Incoming]  # a delivery that was verified, with the event in it


class Lane:
    """The one thread of a process in which batches of events are handled, and some threads for events that go alone.

    A batch that fails is rolled back, and each of its events goes alone, so that one event can't make others fail. A
    payment that a page has locked delays a batch by at most LOCK_TIMEOUT; then its events wait beside the lane.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "webhooks", keep_server_prefix)
        self._beside = ThreadPoolExecutor(BESIDE, "webhook-alone", keep_server_prefix)
        self._waiting: deque[Waiting] = deque()
        self._lock = threading.Lock()
        self._busy = False

    async def answer(self, delivery: Delivery, as_request: str) -> HttpResponse:
        """Return the response to a webhook delivery: 2xx only if its event is committed, 5xx so that Stripe retries.

        `as_request` is the HTTP request's id, for the log lines.
        """
        future = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.append(Waiting(delivery, as_request, future, time.perf_counter()))
            start, self._busy = not self._busy, True
        if start:
            self._thread.submit(self._work)
        response: HttpResponse = await future
        return response

    def _work(self) -> None:
        """Handle batches until no delivery waits."""
        while waiting := self._next():
            try:
                self._handle([opened for each in waiting if (opened := self._open(each))])
            except Exception as error:
                logger.exception("stripe_webhook_failed")
                respond([(each, failure(error)) for each in waiting])

    def _handle(self, batch: Sequence[Opened]) -> None:
        """Handle the events together; if that fails, have each of them handled alone. Answer their deliveries."""
        if not batch:
            return
        events = [incoming for _, incoming in batch]
        try:
            handle(events, on_commit=partial(acknowledge, batch), lock_timeout=LOCK_TIMEOUT)
        except Exception as error:  # noqa: BLE001 an error that lasts is raised again where the event goes alone
            logger.warning("stripe_batch_failed", extra={"events": len(batch), "error": type(error).__name__})
            connection.close()
            for opened in batch:
                self._beside.submit(self._handle_alone, opened)
        else:
            self._report(batch)

    def _next(self) -> list[Waiting]:
        """Return the deliveries for the next batch, in order of arrival; none means that the lane stops."""
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(LARGEST, len(self._waiting)))]
            self._busy = bool(batch)
        return batch

    def _open(self, waiting: Waiting) -> Opened | None:
        """Return the delivery with the event in it; if it holds no event to handle, answer it and return None."""
        try:
            with logs.request(waiting.request_id):
                opened = open_delivery(waiting.delivery)
        except Exception as error:  # noqa: BLE001 `open_delivery` has logged it
            connection.close()
            opened = failure(error)
        if isinstance(opened, HttpResponse):
            respond([(waiting, opened)])
            return None
        return waiting, opened

    def _handle_alone(self, opened: Opened) -> None:
        """Handle one event of a batch that failed, and answer its delivery."""
        waiting, incoming = opened
        try:
            with logs.request(waiting.request_id):
                handle_alone(incoming)
        except Exception as error:  # noqa: BLE001 `handle_alone` has logged it
            respond([(waiting, failure(error))])
        else:
            acknowledge([opened])
            self._report([opened])
        finally:
            connection.close()

    def _report(self, batch: Sequence[Opened]) -> None:
        for waiting, incoming in batch:
            with logs.request(waiting.request_id):
                report(incoming)
        background.writer.wake()


def acknowledge(batch: Sequence[Opened]) -> None:
    """Answer deliveries whose events are committed."""
    respond([(waiting, acknowledgement(incoming)) for waiting, incoming in batch])


def failure(error: Exception) -> HttpResponse:
    """Return the response to a delivery that couldn't be handled because of `error`."""
    if isinstance(error, DatabaseError):
        return HttpResponse("The database is not available, send it again.", status=503, content_type="text/plain")
    return HttpResponse("Applying it failed, send it again.", status=500, content_type="text/plain")


def respond(responses: Sequence[tuple[Waiting, HttpResponse]]) -> None:
    """Give these deliveries their responses. Any thread may call this function."""
    for waiting, _response in responses:
        metrics.WEBHOOK_SECONDS.observe(time.perf_counter() - waiting.since)
    if responses:
        responses[0][0].response.get_loop().call_soon_threadsafe(_set_results, responses)


def _set_results(responses: Sequence[tuple[Waiting, HttpResponse]]) -> None:
    for waiting, response in responses:
        # A request is done already if its client is gone, or if an error came after it had got its response.
        if not waiting.response.done():
            waiting.response.set_result(response)


lane = Lane()
