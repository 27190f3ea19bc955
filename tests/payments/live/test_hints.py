"""Tests that a process can always stop listening for hints.

A hint is the message by which a process tells the others that a feed has a new entry.
"""

import asyncio
from typing import Any

from channels.layers import InMemoryChannelLayer

from payments.live.hints import Subscriber
from tests.waits import until


class LosingLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """A channel layer that ignores a task's cancellation while it sends.

    The Redis client does the same on Python 3.11, because of `asyncio.wait_for`.
    """

    sending = False

    async def send(self, channel: str, message: Any) -> None:
        self.sending = True
        try:
            await asyncio.sleep(0.9)
        except asyncio.CancelledError:
            return


async def test_a_subscription_ends_though_its_cancellation_is_lost() -> None:
    layer = LosingLayer()
    subscriber = Subscriber(layer, lambda audience, at: None)
    task = asyncio.create_task(subscriber.run())
    await until(lambda: layer.sending, "the test message is sent")
    subscriber.stop()
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.done()
