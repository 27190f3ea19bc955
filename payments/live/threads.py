"""Runs live delivery's queries in four threads of its own, so that it and Django's views never wait for each other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

from channels.db import database_sync_to_async

P = ParamSpec("P")
R = TypeVar("R")
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="live")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function`, which may query the database, in one of live delivery's threads, and return its result."""
    run = database_sync_to_async(function, thread_sensitive=False, executor=_threads)
    return cast(R, await run(*args, **kwargs))
