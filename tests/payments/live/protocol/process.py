"""Runs the site's real hub and fan-out step by step, as the explorer's model of them runs (server.mjs)."""

import asyncio
import importlib
import inspect
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from operator import itemgetter
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from payments.live import batch_loader, fanout, feeds, hub, rendering
from payments.live.socket_sessions import SocketSession
from payments.live.sockets import Socket
from payments.live.wires import Messages
from payments.models import Feed, FeedEntry, StatusChange
from payments.models.feed import STAFF, Position

REPLACED = ("in_thread", "BATCH", "time")  # what `prepare` replaces in modules
ENDLESS = 2  # seconds of the processor's time, after which a step has become a loop without end
TURNS = 20  # of the event loop, after which every task waits for the next step
Told = tuple[str, str, int, str, str]  # socket, type, number, epoch, change


class SteppedHub(hub.Hub):
    """A hub whose regular tasks don't run by themselves."""

    def _start(self) -> None:
        self.tailed_at = time.monotonic()


@dataclass
class Query:
    """A query that a task of the event loop waits for. `owner` says which: "socket", "pump" or "tail"."""

    owner: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    returned: asyncio.Future[Any]
    result: Any = None

    def read(self) -> None:
        self.result = self.function(*self.args)


@dataclass
class Wire:
    """A socket's connection, which notes what is written to it."""

    name: str
    told: list[tuple[str, bytes]]

    def write(self, messages: Messages) -> None:
        self.told += [(self.name, text) for text in messages.texts]

    def unsent(self) -> int:
        return 0


@dataclass
class Process:
    """One process with sockets of the staff's feed, and the database. `changes` are what can be committed, in order."""

    changes: list[StatusChange]
    connection: BaseDatabaseWrapper  # the test's, which tasks of an event loop don't find by themselves
    hub: SteppedHub = field(init=False)
    sockets: dict[str, Socket] = field(default_factory=dict)
    joining: list[asyncio.Task[None]] = field(default_factory=list)  # of all sockets that there have been
    queries: list[Query] = field(default_factory=list)
    told: list[tuple[str, bytes]] = field(default_factory=list)
    committed: int = 0
    backup: int = 0
    direct: list[tuple[Position, FeedEntry | None]] = field(default_factory=list)
    layered: list[tuple[Position, FeedEntry | None]] = field(default_factory=list)
    epochs: list[str] = field(default_factory=list)
    tail: asyncio.Task[int] | None = None

    async def begin(self, committed: int) -> None:
        """Begin with an empty process, and with so many changes, which are also in the backup."""
        connections[DEFAULT_DB_ALIAS] = self.connection
        self.backup = self.committed = committed
        self.restore_backup()
        Feed.objects.begin_epoch()
        self.layered = []
        self.epochs = [self.position.epoch]
        self.stop()

    @property
    def position(self) -> Position:
        return Feed.objects.of(STAFF).position

    def restore_backup(self) -> None:
        """Let the staff's feed hold what the backup holds, and nothing else."""
        FeedEntry.objects.filter(feed__audience=STAFF).delete()
        Feed.objects.filter(audience=STAFF).update(head=0, pruned=0)
        for change in self.changes[: self.backup]:
            self.append(change)

    def append(self, change: StatusChange) -> FeedEntry:
        """Append a change to the staff's feed, and return its entry."""
        feed = Feed.objects.get(audience=STAFF)
        feed.head += 1
        feed.save()
        return FeedEntry.objects.create(feed=feed, seq=feed.head, payment=change.payment, change=change)

    async def in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Stand for the threads of live delivery: wait until the steps say that this query reads and returns."""
        task = asyncio.current_task()
        assert task
        owner = {feeds.load_positions: "socket", feeds.load_moved: "tail"}.get(function)
        owner = owner or ("socket" if task.get_name() in {each.get_name() for each in self.joining} else "pump")
        query = Query(owner, function, args, asyncio.get_running_loop().create_future())
        self.queries.append(query)
        return await query.returned

    def query_of(self, socket: str | None) -> Query:
        """Return the query that a socket waits for, or the pump without a socket. Only one socket queries at a time.

        Raises LookupError if there is no such query.
        """
        found = [query for query in self.queries if query.owner == ("socket" if socket else "pump")]
        if not found:
            raise LookupError(socket or "pump")
        return found[0]

    # The steps, named as in server.mjs

    def stop(self) -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        self.hub = SteppedHub(asyncio.get_running_loop())
        self.sockets, self.queries, self.direct = {}, [], []

    def join(self, name: str, after: int, epoch: int, _now: int) -> None:
        session = SocketSession(1, name, "", STAFF, 1, timezone.now() + timedelta(days=1))
        self.sockets[name] = socket = Socket(session, "en", Wire(name, self.told))  # type: ignore[arg-type]
        joining = self.hub.join(socket, after, self.epochs[epoch - 1])
        self.joining.append(asyncio.get_running_loop().create_task(joining, name=name))

    def leave(self, name: str) -> None:
        if name in self.sockets:
            self.hub.leave(self.sockets.pop(name))
            if not self.sockets:
                self.stop()

    def ping(self, name: str) -> None:
        if name in self.sockets:
            self.hub.answer_ping(self.sockets[name])

    def commit(self, _kind: object, here: bool) -> None:
        entry = self.append(self.changes[self.committed])
        self.committed += 1
        if not here:
            self.layered.append((entry.feed.position, None))
        elif self.hub.in_use:
            self.direct.append((entry.feed.position, entry))

    def hint(self, source: str, place: int = 0) -> None:
        at, entry = getattr(self, source).pop(place)
        self.hub._advance(STAFF, at, entry)

    def loseHint(self) -> None:  # noqa: N802 - as in server.mjs
        self.layered.pop(0)

    def repeatHint(self) -> None:  # noqa: N802
        self.layered.append(self.layered[0])

    def restoreBackup(self) -> None:  # noqa: N802
        self.restore_backup()
        self.rename()

    def forget(self) -> None:
        Feed.objects.forget(STAFF)

    def rename(self) -> None:
        self.epochs.append(Feed.objects.begin_epoch())

    def readTail(self) -> None:  # noqa: N802
        self.tail = asyncio.create_task(self.hub._tail())

    def returnTail(self) -> None:  # noqa: N802
        [query] = [query for query in self.queries if query.owner == "tail"]
        self.finish(query)

    async def beat(self, _now: int) -> None:
        await self.hub._beat()

    def read(self, socket: str | None = None) -> None:
        self.query_of(socket).read()

    def returned(self, socket: str | None = None) -> None:
        self.finish(self.query_of(socket))

    def finish(self, query: Query) -> None:
        self.queries.remove(query)
        query.returned.set_result(query.result)

    async def perform(self, step: list[Any]) -> list[Told]:
        """Do a step, wait until nothing more happens, and return the messages that were written meanwhile."""
        self.told.clear()
        signal.setitimer(signal.ITIMER_VIRTUAL, ENDLESS)
        try:
            done = getattr(self, step[0])(*step[1:])
            if done is not None:
                await done
            for _ in range(TURNS):
                await asyncio.sleep(0)
                for query in self.queries:
                    if query.owner == "tail" and query.result is None:
                        query.read()  # the model reads at once, too
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        return sorted((self.described(name, json.loads(text)) for name, text in self.told), key=itemgetter(0))

    def described(self, name: str, message: dict[str, Any]) -> Told:
        return described(name, message | {"epoch": f"e{self.epochs.index(message['epoch']) + 1}"})


def described(name: str, message: dict[str, Any]) -> Told:
    """Return what a message to the socket `name` says: its type, number and epoch, and the number of its change."""
    change = message.get("html", "").partition('data-status="')[2].partition('"')[0]
    return name, message.get("t", ""), message["seq"], message["epoch"], change


def stop_loop(*_: object) -> None:
    """Handle the signal of a timer: raise an error in a loop without end."""
    raise RuntimeError("this step never ends")


def prepare(monkeypatch: pytest.MonkeyPatch, process: Process, batch: int) -> None:
    """Let `process` decide when queries return, load `batch` entries at once, and render a change as its number."""
    signal.signal(signal.SIGVTALRM, stop_loop)
    for module in (fanout, batch_loader, hub):
        monkeypatch.setattr(module, "in_thread", process.in_thread)
    for module in (fanout, feeds):
        monkeypatch.setattr(module, "BATCH", batch)
    monkeypatch.setattr(fanout, "time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # queries run in the event loop's thread, one at a time
    numbers = {change.pk: number for number, change in enumerate(process.changes, 1)}
    for change in process.changes:
        key = rendering._cache_key(change.payment, change, STAFF, "en")
        monkeypatch.setitem(rendering._cache, key, f'<live-entry data-status="{numbers[change.pk]}">')


def mutate(module: str, old: str, new: str) -> dict[str, Any]:
    """Return the names of a module of live delivery after replacing a text in it, which must occur exactly once.

    The module's other names, also those that a test has replaced, are as they are in the module itself.
    """
    original = importlib.import_module(f"payments.live.{module}")
    source = inspect.getsource(original)
    assert source.count(old) == 1, f"this text is no longer there to be replaced: {old}"
    names = dict(vars(original))
    exec(compile(source.replace(old, new), f"{module}, mutated", "exec"), names)  # noqa: S102 - our own code
    names.update({name: getattr(original, name) for name in REPLACED if hasattr(original, name)})
    return names
