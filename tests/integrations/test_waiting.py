"""Tests of requests that wait for the next change: they are answered at once, cost nothing, and lose nothing."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.db.backends.utils import CursorWrapper

from accounts.models import User
from integrations.api import waiting
from integrations.models import ApiKey
from payments.live import hub
from payments.models import Feed, Payment
from payments.models.feed import STAFF, Position
from payments_site.asgi import application
from tests.integrations.client import make_key
from tests.payments.stripe_story import Story, deliver
from tests.waits import PATIENCE, until

pytestmark = pytest.mark.django_db(transaction=True)


class Poll:
    """A request for changes that waits, made to the ASGI application as a server makes it."""

    def __init__(self, key: str, at: Position, wait: int = 25) -> None:
        query = f"after={at.seq}&epoch={at.epoch}&wait={wait}"
        headers = [(b"host", b"testserver"), (b"authorization", f"Bearer {key}".encode())]
        scope = {
            "type": "http", "http_version": "1.1", "method": "GET", "path": "/api/changes", "raw_path": b"/api/changes",
            "query_string": query.encode(), "headers": headers, "client": ("127.0.0.1", 1), "root_path": "",
            "scheme": "http", "server": ("testserver", 80),
        }  # fmt: skip
        self.connection: Any = ApplicationCommunicator(application, scope)  # type: ignore[no-untyped-call]

    async def begin(self) -> None:
        await self.connection.send_input({"type": "http.request", "body": b"", "more_body": False})

    async def answer(self) -> tuple[int, Any]:
        start = await self.connection.receive_output(PATIENCE)
        body = await self.connection.receive_output(PATIENCE)
        return start["status"], json.loads(body["body"])


def position() -> Position:
    return Feed.objects.of(STAFF).position


def made(book: Callable[..., Payment]) -> tuple[str, Payment, Position]:
    """Return the text of a key, a payment, and the position of the staff's feed."""
    software = User.objects.create_user("agenda", is_staff=True)
    payment = book()
    return make_key(software)[1], payment, position()


def waiting_requests() -> int:
    return sum(waiting._waiting.values())


async def test_a_request_that_waits_is_answered_by_the_next_change(book: Callable[..., Payment]) -> None:
    key, payment, at = await sync_to_async(made)(book)
    poll = Poll(key, at)
    await poll.begin()
    await until(waiting_requests, "the request waits")
    await sync_to_async(deliver)(Story(payment).completed())
    status, told = await poll.answer()
    assert (status, told["reset"], told["last"]) == (200, False, at.seq + 1)
    assert told["changes"][0]["status"] == "paid"
    assert not hub.running()


async def test_a_change_that_came_before_is_told_at_once(book: Callable[..., Payment]) -> None:
    key, payment, at = await sync_to_async(made)(book)
    await sync_to_async(deliver)(Story(payment).completed())
    poll = Poll(key, at)
    await poll.begin()
    assert [change["number"] for change in (await poll.answer())[1]["changes"]] == [at.seq + 1]


async def test_a_lost_hint_delays_the_answer_by_a_moment(
    book: Callable[..., Payment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The regular query finds the change that no message has announced."""
    key, payment, at = await sync_to_async(made)(book)
    monkeypatch.setattr(hub, "TAIL", 0.05)
    poll = Poll(key, at)
    await poll.begin()
    await until(waiting_requests, "the request waits")
    monkeypatch.setattr("payments.live.hints.publish", lambda entries: None)
    await sync_to_async(deliver)(Story(payment).completed())
    assert [change["number"] for change in (await poll.answer())[1]["changes"]] == [at.seq + 1]


async def test_without_a_change_the_wait_ends(book: Callable[..., Payment]) -> None:
    key, _payment, at = await sync_to_async(made)(book)
    poll = Poll(key, at, wait=1)
    started = time.monotonic()
    await poll.begin()
    status, told = await poll.answer()
    assert time.monotonic() - started >= 1
    assert (status, told["changes"], told["reset"], told["last"]) == (200, [], False, at.seq)


@pytest.mark.parametrize("known", ["another epoch", "too new", "too old"])
async def test_a_number_that_leads_nowhere_is_reset_at_once(book: Callable[..., Payment], known: str) -> None:
    key, _payment, at = await sync_to_async(made)(book)
    if known == "too old":
        await Feed.objects.filter(audience=STAFF).aupdate(pruned=at.seq)
    asked = {"another epoch": Position("0123456789abcdef", at.seq), "too new": Position(at.epoch, at.seq + 1)}
    poll = Poll(key, asked.get(known, Position(at.epoch, at.seq - 1)))
    await poll.begin()
    told = (await poll.answer())[1]
    assert (told["reset"], told["last"], told["epoch"]) == (True, at.seq, at.epoch)


async def test_a_new_epoch_ends_the_wait_with_a_reset(book: Callable[..., Payment]) -> None:
    key, _payment, at = await sync_to_async(made)(book)
    poll = Poll(key, at)
    await poll.begin()
    await until(waiting_requests, "the request waits")
    await sync_to_async(Feed.objects.begin_epoch)()
    told = (await poll.answer())[1]
    assert told["reset"]
    assert told["epoch"] != at.epoch


async def test_a_key_that_ends_during_the_wait_reads_nothing(book: Callable[..., Payment]) -> None:
    key, payment, at = await sync_to_async(made)(book)
    poll = Poll(key, at)
    await poll.begin()
    await until(waiting_requests, "the request waits")
    await sync_to_async(lambda: ApiKey.objects.get().revoke())()
    await sync_to_async(deliver)(Story(payment).completed())
    assert (await poll.answer())[0] == 401


async def test_a_wrong_key_does_not_wait(book: Callable[..., Payment]) -> None:
    _key, _payment, at = await sync_to_async(made)(book)
    poll = Poll("clinic_00000000_" + "A" * 43, at)
    await poll.begin()
    assert (await poll.answer())[0] == 401


async def test_waiting_costs_neither_threads_nor_queries(
    book: Callable[..., Payment], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, payment, at = await sync_to_async(made)(book)
    monkeypatch.setattr(hub, "TAIL", 3600)
    polls = [Poll(key, at) for _ in range(waiting.MOST_WAITING)]
    before = threading.active_count()
    for poll in polls:
        await poll.begin()
    await until(lambda: waiting_requests() == len(polls), "all requests wait")
    await asyncio.sleep(0.2)  # so that what is begun for the last one ends
    assert threading.active_count() - before <= 4  # live delivery's own threads
    queries: list[str] = []
    execute = CursorWrapper.execute

    def counted(self: CursorWrapper, sql: str, params: Any = None) -> Any:
        queries.append(sql)
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", counted)
    await asyncio.sleep(1)
    assert queries == []
    monkeypatch.setattr(CursorWrapper, "execute", execute)
    one_more = Poll(key, at)
    await one_more.begin()
    assert (await one_more.answer())[1]["changes"] == []  # at once, because the key has enough waiting
    await sync_to_async(deliver)(Story(payment).completed())
    assert [len((await poll.answer())[1]["changes"]) for poll in polls] == [1] * len(polls)


async def test_a_client_that_leaves_is_forgotten(book: Callable[..., Payment]) -> None:
    key, _payment, at = await sync_to_async(made)(book)
    poll = Poll(key, at)
    await poll.begin()
    await until(waiting_requests, "the request waits")
    await poll.connection.send_input({"type": "http.disconnect"})
    await until(lambda: not waiting_requests(), "the request waits no longer")
    await poll.connection.wait(PATIENCE)
    assert not hub.running()
