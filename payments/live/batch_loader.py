"""Answers many concurrent look-ups with few queries."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from .threads import in_thread

R = TypeVar("R")


class BatchLoader(Generic[R]):
    """Batches concurrent look-ups: all keys that are requested while one query runs are fetched by the next query.

    `fetch` runs in a thread; it takes a set of keys and returns a mapping from each key that it finds to its value.
    """

    def __init__(self, fetch: Callable[[set[str]], Mapping[str, R]]) -> None:
        self._fetch, self._keys = fetch, set[str]()
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[Mapping[str, R]] | None = None

    async def load(self, key: str) -> R | None:
        """Return the value of `key`, or None if `fetch` doesn't find it. Raises what `fetch` raises."""
        self._keys.add(key)
        if self._next is None:
            self._next = asyncio.create_task(self._load_batch())
        return (await asyncio.shield(self._next)).get(key)

    async def _load_batch(self) -> Mapping[str, R]:
        async with self._lock:
            keys, self._keys, self._next = self._keys, set(), None
            return await in_thread(self._fetch, keys)
