"""Delivers events to webhook endpoints, concurrently and in no order, and retries until an endpoint answers 2xx.

The delivery mode can inject faults, such as delays or duplicates.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp

from stripe_sandbox import endpoints, versions
from stripe_sandbox.deliveries import Attempt, Delivery, encode, from_json, post
from stripe_sandbox.delivery_modes import Mode
from stripe_sandbox.sandbox import Sandbox, webhooks_lost
from stripe_sandbox.store import Json

_MAX_DELIVERIES = 5_000
_MAX_IN_FILE = 500
_CONCURRENCY = 40
_ATTEMPTS = 16  # over 18 hours, because the delay doubles from 2 s


class Webhooks:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.mode = Mode()
        self.deliveries: dict[str, Delivery] = {}
        self.on_delivery: Callable[[Json], None] = lambda event: None  # the Stripe CLI's listeners
        self._client: aiohttp.ClientSession | None = None
        self._batch: list[Delivery] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_CONCURRENCY)

    async def start(self) -> None:
        self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        for delivery in [found for found in self.deliveries.values() if found.waiting]:
            self.spawn(self._deliver(delivery))

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client:
            await self._client.close()

    def on_event(self, event: Json) -> None:
        """Queue the event for each webhook endpoint that subscribed to it, and pass it to the Stripe CLI.

        Nothing is sent if a fault loses the webhooks. Endpoints get the events of one API request together, in random
        order.
        """
        if not webhooks_lost.get():
            self.on_delivery(event)
        for endpoint in endpoints.listening_to(self.sandbox, event["type"]):
            self._queue(event, endpoint)

    def _queue(self, event: Json, endpoint: Json) -> None:
        event["pending_webhooks"] += 1
        versions.event_in(self.sandbox, event, endpoints.version_of(self.sandbox, endpoint))  # as it is at this moment
        subject = str(event["data"]["object"].get("id", ""))
        delivery = Delivery(event["id"], event["type"], subject, endpoint["id"], endpoint["url"])
        self.keep(delivery)
        if webhooks_lost.get():
            delivery.state = "dropped"
            return
        if not self._batch:
            asyncio.get_running_loop().call_soon(self._flush)
        self._batch.append(delivery)

    def keep(self, delivery: Delivery) -> None:
        self.deliveries[delivery.id] = delivery
        while len(self.deliveries) > _MAX_DELIVERIES:
            del self.deliveries[next(iter(self.deliveries))]

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        concerned = [delivery for delivery in batch if self.mode.concerns(delivery.type)]
        as_usual = [delivery for delivery in batch if not self.mode.concerns(delivery.type)]
        getattr(self, f"_send_{self.mode.mode}")(concerned)
        self._send_normal(as_usual)

    def _send_normal(self, batch: list[Delivery]) -> None:
        random.shuffle(batch)
        for delivery in batch:
            self.spawn(self._deliver(delivery))

    def _send_delay(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            self.spawn(self._deliver(delivery, wait=self.mode.seconds))

    def _send_hold(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            delivery.state = "held"

    def _send_drop(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            delivery.state = "dropped"

    def _send_duplicate(self, batch: list[Delivery]) -> None:
        self._send_normal(batch)
        for delivery in batch * (self.mode.times - 1):
            self.spawn(self._once(delivery))

    def _send_reverse(self, batch: list[Delivery]) -> None:
        newly = not any(delivery.state == "held" for delivery in self.deliveries.values())
        self._send_hold(batch)
        if newly and batch:
            self.spawn(self._release_reversed(self.mode.seconds))

    async def _release_reversed(self, seconds: float) -> None:
        """Wait `seconds`, then send the deliveries that were held back, one by one, newest first.

        Retry a failed delivery as usual.
        """
        await asyncio.sleep(seconds)
        for delivery in reversed(self._held()):
            await self._once(delivery)
            if delivery.state != "delivered":
                self.spawn(self._deliver(delivery, wait=self.sandbox.settings.retry_base))

    def _held(self) -> list[Delivery]:
        held = [delivery for delivery in self.deliveries.values() if delivery.state == "held"]
        for delivery in held:
            delivery.state = "pending"
        return held

    def set_mode(self, mode: Mode) -> None:
        """Set the delivery mode. Unless the new mode is `hold`, also send the deliveries that were held back."""
        self.mode = mode
        if mode.mode != "hold":
            self._send_normal(self._held())

    def resend(self, delivery: Delivery) -> None:
        self.spawn(self._deliver(delivery))

    def retry_event(self, sandbox: Sandbox, given: Json, event_id: str) -> Json:
        """Answer POST /v1/events/{id}/retry, which `stripe events resend` calls.

        Send the event again to the endpoint `webhook_endpoint` or, if that is missing, to every subscribed endpoint.
        """
        event = sandbox.store.get("event", event_id)
        chosen = given.get("webhook_endpoint")
        for endpoint in endpoints.listening_to(sandbox, event["type"]):
            if chosen in (None, endpoint["id"]):
                self._queue(event, endpoint)
        return event

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, delivery: Delivery, wait: float = 0) -> None:
        for tried in range(_ATTEMPTS):
            delivery.next_at = None
            if wait:
                delivery.next_at = time.time() + wait
                await asyncio.sleep(wait)
            if tried and delivery.state == "delivered":  # `resend` delivered it meanwhile
                return
            await self._once(delivery)
            if delivery.state == "delivered":
                return
            wait = self.sandbox.settings.retry_base * 2**tried
        delivery.state = "failed"

    async def _once(self, delivery: Delivery) -> None:
        """Send the delivery once and record the endpoint's answer."""
        event = self.sandbox.store.find(delivery.event)
        endpoint = self.sandbox.store.find(delivery.endpoint)
        if event is None or endpoint is None or self._client is None:
            delivery.state = "failed"
            delivery.attempts.append(Attempt(delivery.created, 0, error="the event or its endpoint is gone"))
            return
        body = encode(versions.event_in(self.sandbox, event, endpoints.version_of(self.sandbox, endpoint)))
        async with self._slots:
            attempt = await post(
                self._client, endpoint["url"], body, endpoints.secrets_of(self.sandbox, endpoint["id"])
            )
        delivery.attempts.append(attempt)
        self.sandbox.changed = True
        if attempt.accepted and delivery.state != "delivered":
            delivery.state = "delivered"
            event["pending_webhooks"] = max(0, event["pending_webhooks"] - 1)
        elif delivery.state != "delivered":
            delivery.state = "retrying"

    def forget(self) -> None:
        """Cancel and delete every delivery, and return to the normal delivery mode."""
        self.mode = Mode()
        self._batch.clear()
        self.deliveries.clear()
        for task in self._tasks:
            task.cancel()

    def dump(self) -> list[Json]:
        recent = list(self.deliveries.values())[-_MAX_IN_FILE:]
        return [delivery.as_json() for delivery in recent]

    def load(self, dumped: list[Json]) -> None:
        for found in dumped:
            self.keep(from_json(found))
