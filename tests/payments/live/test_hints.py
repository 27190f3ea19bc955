"""Tests that a process can always stop listening for hints.

A hint is the message by which a process tells the others that a feed has a new entry.
"""

import asyncio

from channels.layers import InMemoryChannelLayer

from payments.live.hints import Subscriber
from tests.waits import until


class LosingLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """A channel layer that ignores a task's cancellation while it leaves a group.

    The Redis client does the same on Python 3.11, because of `asyncio.wait_for`.
    """

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
