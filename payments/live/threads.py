"""Runs live delivery's queries in threads of their own, so that pages and live delivery never wait for each other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

from channels.db import database_sync_to_async

P = ParamSpec("P")
R = TypeVar("R")
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="live")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function that queries the database in one of four threads, and return its result."""
    run = database_sync_to_async(function, thread_sensitive=False, executor=_threads)
    return cast(R, await run(*args, **kwargs))
