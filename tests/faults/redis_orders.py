"""Makes a Redis server refuse the site's commands and accept them again; does nothing if it is down or frozen."""

from contextlib import suppress
from typing import Any

import redis

from payments_site.demo.process import HOST

PASSWORD = "another one"


def refuse(port: int) -> None:
    """Set a password that the site doesn't know on the Redis at this port, and close its connections."""
    order(port, ["CONFIG SET requirepass", PASSWORD])
    for kind in ("pubsub", "normal"):
        order(port, ["CLIENT KILL TYPE", kind], PASSWORD)


def admit(port: int) -> None:
    order(port, ["CONFIG SET requirepass", ""], PASSWORD)


def fill(port: int) -> None:
    """Make every write fail: set the memory limit to one byte and forbid Redis to evict keys."""
    order(port, ["CONFIG SET maxmemory-policy", "noeviction"])
    order(port, ["CONFIG SET maxmemory", "1"])


def empty(port: int) -> None:
    order(port, ["CONFIG SET maxmemory", "0"])


def order(port: int, words: list[Any], password: str | None = None) -> None:
    with suppress(redis.RedisError), redis.Redis(HOST, port, password=password, socket_timeout=2) as line:
        line.execute_command(*words)
