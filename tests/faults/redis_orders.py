"""Commands that make a Redis refuse the site; they do nothing to a Redis that is down or frozen."""

from contextlib import suppress
from typing import Any

import redis

from payments_site.demo.process import HOST

PASSWORD = "another one"


def refuse(port: int) -> None:
    """Set a password that the site doesn't know, and close all connections."""
    order(port, ["CONFIG SET requirepass", PASSWORD])
    for kind in ("pubsub", "normal"):
        order(port, ["CLIENT KILL TYPE", kind], PASSWORD)


def admit(port: int) -> None:
    order(port, ["CONFIG SET requirepass", ""], PASSWORD)


def fill(port: int) -> None:
    """Lower the memory limit so that every write fails; nothing is evicted."""
    order(port, ["CONFIG SET maxmemory-policy", "noeviction"])
    order(port, ["CONFIG SET maxmemory", "1"])


def empty(port: int) -> None:
    order(port, ["CONFIG SET maxmemory", "0"])


def order(port: int, words: list[Any], password: str | None = None) -> None:
    with suppress(redis.RedisError), redis.Redis(HOST, port, password=password, socket_timeout=2) as line:
        line.execute_command(*words)
