"""What an operator does to a Redis that the site uses. One that is down or frozen takes no orders: nothing happens."""

from contextlib import suppress
from typing import Any

import redis

from payments_site.demo.process import HOST

PASSWORD = "another one"


def refuse(port: int) -> None:
    """Ask for a password that nobody was told, and cut everybody off."""
    order(port, ["CONFIG SET requirepass", PASSWORD])
    for kind in ("pubsub", "normal"):
        order(port, ["CLIENT KILL TYPE", kind], PASSWORD)


def admit(port: int) -> None:
    order(port, ["CONFIG SET requirepass", ""], PASSWORD)


def fill(port: int) -> None:
    """Its memory is used up, and it evicts nothing."""
    order(port, ["CONFIG SET maxmemory-policy", "noeviction"])
    order(port, ["CONFIG SET maxmemory", "1"])


def empty(port: int) -> None:
    order(port, ["CONFIG SET maxmemory", "0"])


def order(port: int, words: list[Any], password: str | None = None) -> None:
    with suppress(redis.RedisError), redis.Redis(HOST, port, password=password, socket_timeout=2) as line:
        line.execute_command(*words)
