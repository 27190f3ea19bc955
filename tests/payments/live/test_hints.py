"""Tests that the subscription to other processes' hints can always be ended."""

import asyncio

from channels.layers import InMemoryChannelLayer

from payments.live.hints import Subscriber
from tests.waits import until


class LosingLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """A channel layer that swallows a task's cancellation, as `asyncio.wait_for` does in Python 3.11's Redis client."""

    leaving = False

    async def group_discard(self, group: str, channel: str) -> None:
        self.leaving = True
        try:
            await asyncio.sleep(0.9)
        except asyncio.CancelledError:
            return


async def test_a_subscription_ends_though_its_cancellation_is_lost() -> None:
    layer, audiences = LosingLayer(), {"staff"}
    subscriber = Subscriber(layer, lambda audience, seq: None, lambda: audiences)
    task = asyncio.create_task(subscriber.run())
    await until(lambda: layer.groups, "the feed is subscribed to")
    audiences.clear()
    subscriber.changed.set()
    await until(lambda: layer.leaving, "the subscription is given up")
    subscriber.stop()
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.done()
