"""Live delivery's work with the database, in threads of its own: it and the requests don't wait for each other."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, ParamSpec, TypeVar, cast

from channels.db import database_sync_to_async

P = ParamSpec("P")
R = TypeVar("R")
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="live")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    run = database_sync_to_async(function, thread_sensitive=False, executor=_threads)
    return cast(R, await run(*args, **kwargs))


class BatchLoader(Generic[R]):
    """Answers by key. All keys that are asked for while an answer is awaited are asked for together, in the next."""

    def __init__(self, answers: Callable[[set[str]], Mapping[str, R]]) -> None:
        self._answers, self._keys = answers, set[str]()
        self._one_by_one = asyncio.Lock()
        self._next: asyncio.Task[Mapping[str, R]] | None = None

    async def load(self, key: str) -> R | None:
        """The key's answer, None if it has none; raises what the question raised."""
        self._keys.add(key)
        if self._next is None:
            self._next = asyncio.create_task(self._ask())
        return (await asyncio.shield(self._next)).get(key)

    async def _ask(self) -> Mapping[str, R]:
        async with self._one_by_one:
            keys, self._keys, self._next = self._keys, set(), None
            return await in_thread(self._answers, keys)
