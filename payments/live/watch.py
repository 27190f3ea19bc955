"""Requests that wait for the next change of a feed (a numbered list of changes), without a socket and without HTML."""

import asyncio

from ..models.feed import Position


class Watch:
    """The requests of one event loop that wait until a feed has entries after the position that each of them knows.

    `at` is the feed's newest known position, or None before the first query.
    """

    def __init__(self) -> None:
        self.at: Position | None = None
        self._waiting: dict[asyncio.Future[None], Position] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, known: Position) -> asyncio.Future[None]:
        """Return a future that is done once the feed has another position than `known`."""
        moved = asyncio.get_running_loop().create_future()
        self._waiting[moved] = known
        return moved

    def discard(self, moved: asyncio.Future[None]) -> None:
        """Forget a future that `add` returned, because its request waits no longer."""
        self._waiting.pop(moved, None)
        moved.cancel()

    def note(self, at: Position) -> None:
        """Note that the feed has reached the position `at`, and end the waiting of the requests that know another one.

        A position that came late, after a newer one of its epoch, is ignored.
        """
        if self.at and at.epoch == self.at.epoch and at.seq < self.at.seq:
            return
        self.at = at
        for moved, known in self._waiting.items():
            if known != at and not moved.done():
                moved.set_result(None)
