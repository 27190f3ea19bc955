"""Tests of the WebSocket consumer: what it sends to a page, and in what order.

What a page must not send or request is tested in tests/inputs.
"""

import asyncio
import threading
from collections.abc import Callable, Collection
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from payments import consumers
from payments.desk import till
from payments.domain.methods import Method
from payments.live import fanout, feeds, hints, hub, rendering, socket_sessions
from payments.live.sockets import Socket
from payments.live.timing import BEAT
from payments.live.wires import AsgiWire
from payments.logs import fields_of
from payments.models import Feed, FeedEntry, Payment
from tests.payments.clients import client_of
from tests.payments.page import Page, feed_position
from tests.payments.stripe_story import Story, deliver
from tests.waits import PATIENCE, until

pytestmark = pytest.mark.django_db(transaction=True)
Book = Callable[..., Payment]


@pytest.fixture
def hurried_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the hub, which sends changes to all sockets of a process, look for them every 0.1 s instead of every 2 s.

    It also checks the sessions as often, if access may have ended.
    """
    monkeypatch.setattr(hub, "TAIL", 0.1)
    monkeypatch.setattr(hub, "CHECK_LEAST", 0.1)


def hello(seq: int, epoch: Any = ANY) -> dict[str, Any]:
    return {"t": "hello", "seq": seq, "epoch": epoch, "hb": 10}


def beat(seq: int) -> dict[str, Any]:
    return {"t": "hb", "seq": seq, "epoch": ANY}


@sync_to_async
def pay(payment: Payment, clerk: User) -> None:
    till.take_payment(payment, payment.amount_due, Method.CASH, clerk, key=uuid4().hex)


async def test_a_page_is_told_what_it_missed_then_hello_then_what_comes(book: Book, patient: User, clerk: User) -> None:
    first, second = await sync_to_async(book)(), await sync_to_async(book)()
    await pay(first, clerk)
    async with Page(patient, "after=2&lang=en") as page:
        missed, greeting = await page.told_until_hello()
        assert (missed["seq"], missed["prev"], missed["epoch"]) == (3, 2, (await position_of(patient)).epoch)
        assert f'id="payment-{first.public_id}"' in missed["html"]
        assert "Paid" in missed["html"]
        assert greeting == hello(3)
        await pay(second, clerk)
        coming = await page.told()
        assert coming["seq"] == 4
        assert f'id="payment-{second.public_id}"' in coming["html"]


async def test_who_comes_back_is_told_what_others_heard_lately_without_asking_for_it(
    payment: Payment, patient: User, clerk: User
) -> None:
    async with Page(patient, "after=1&lang=en") as page:
        await page.told_until_hello()
        await pay(payment, clerk)
        heard = await page.told()
        await sync_to_async(FeedEntry.objects.all().delete)()
        async with Page(patient, "after=1&lang=en") as back:
            assert await back.told_until_hello() == [heard, hello(2)]


async def test_those_who_come_back_at_once_are_told_what_one_of_them_asked_for(
    book: Book, patient: User, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []  # load_frames is wrapped only to count its calls

    def load_frames(*question: Any) -> Any:
        asked.append(question)
        return rendering.load_frames(*question)

    monkeypatch.setattr(fanout, "load_frames", load_frames)
    for _ in range(3):
        await pay(await sync_to_async(book)(), clerk)
    pages = [Page(patient, f"after={3 + number % 3}&lang=en") for number in range(9)]
    await asyncio.gather(*(page.open() for page in pages))
    for number, page in enumerate(pages):
        *missed, greeting = await page.told_until_hello()
        assert [message["seq"] for message in missed] == list(range(4 + number % 3, 7))
        assert greeting["seq"] == 6
        await page.socket.disconnect(timeout=5)
    assert len(asked) < len(pages), "those who ask at the same time share an answer"


@pytest.mark.parametrize(("feed_of_each", "expected"), [(True, 5), (False, 1)])
async def test_pages_that_come_back_together_are_looked_up_together(
    book: Book, patient: User, monkeypatch: pytest.MonkeyPatch, feed_of_each: bool, expected: int
) -> None:
    """Pages that lack no entry share one query for their feeds' positions, whether they follow one feed or several."""
    asked: list[int] = []  # load_positions is wrapped only to count what it is asked for
    gate = threading.Event()

    def load_positions(audiences: Collection[str]) -> Any:
        asked.append(len(audiences))
        assert gate.wait(60)
        return feeds.load_positions(audiences)

    monkeypatch.setattr(hub, "load_positions", load_positions)
    monkeypatch.setattr(fanout, "load_frames", None)  # so that it can't be called
    await sync_to_async(book)()
    others = [await sync_to_async(User.objects.create_user)(f"patient{number}") for number in range(4)]
    owners = [patient, *(others if feed_of_each else [patient] * 4)]
    pages = [Page(owner, f"after={int(owner == patient)}") for owner in owners]
    await asyncio.gather(*(page.open() for page in pages))
    await until(lambda: hub.running() and len(hub.running()[0].sockets()) == 5, "all wait for their feed's position")
    gate.set()
    for page in pages:
        assert await page.told_until_hello() == [hello(int(page.user == patient))]
        await page.socket.disconnect(timeout=5)
    assert sum(asked) == expected
    assert len(asked) <= 2, "those that come while the first query runs share the second one"


@pytest.mark.parametrize("query", ["after=1", "", "epoch=E"])
async def test_a_page_that_says_no_position_is_only_greeted(payment: Payment, patient: User, query: str) -> None:
    """A number without its epoch, or none, says nothing: "hello" makes the page load again."""
    page = Page(None, query)
    page.client = await sync_to_async(client_of)(patient)
    async with page:
        assert await page.told_until_hello() == [hello(1)]


async def test_a_page_that_knows_all_is_only_greeted(payment: Payment, patient: User, clerk: User) -> None:
    await pay(payment, clerk)
    async with Page(patient, "after=2") as page:
        assert await page.told_until_hello() == [hello(2)]


async def test_a_number_that_is_gone_or_never_was_gets_hello_with_the_true_one(
    payment: Payment, patient: User, clerk: User
) -> None:
    await pay(payment, clerk)
    await sync_to_async(Feed.objects.update)(pruned=2)
    await sync_to_async(FeedEntry.objects.all().delete)()
    for after in (0, 900):
        async with Page(patient, f"after={after}") as page:
            assert await page.told_until_hello() == [hello(2)]


position_of = sync_to_async(feed_position)


@sync_to_async
def restore(patient: User, seq: int, *, epoch: bool = True) -> None:
    """Set the patient's feed (list of changes) back to number `seq`, as a restored backup does.

    A new epoch begins unless `epoch` is false.
    """
    FeedEntry.objects.filter(feed__audience=f"patient.{patient.pk}", seq__gt=seq).delete()
    Feed.objects.filter(audience=f"patient.{patient.pk}").update(head=seq)
    if epoch:
        Feed.objects.begin_epoch()


async def test_a_page_of_another_epoch_is_told_where_the_feed_stands_and_no_entry_that_it_would_put_wrongly(
    book: Book, patient: User
) -> None:
    for _ in range(3):
        await sync_to_async(book)()
    old = await position_of(patient)
    await restore(patient, 1)
    for _ in range(4):
        await sync_to_async(book)()
    now = await position_of(patient)
    assert now.seq == 5
    async with Page(patient, f"after=3&epoch={old.epoch}") as page:
        assert await page.told_until_hello() == [hello(5, now.epoch)]
    async with Page(patient, f"after=3&epoch={now.epoch}") as page:
        assert [message["seq"] for message in await page.told_until_hello()] == [4, 5, 5]


@pytest.mark.parametrize("told_by", ["hint", "tail"])
async def test_an_open_page_is_told_of_a_new_epoch_and_then_of_its_entries(
    book: Book, patient: User, monkeypatch: pytest.MonkeyPatch, told_by: str
) -> None:
    monkeypatch.setattr(hub, "TAIL", 600 if told_by == "hint" else 0.1)
    for _ in range(3):
        await sync_to_async(book)()
    old = await position_of(patient)
    async with Page(patient, f"after=3&epoch={old.epoch}") as page, Page(patient, "after=0") as other:
        await page.told_until_hello()
        await other.told_until_hello()
        await restore(patient, 1)
        if told_by == "hint":
            await sync_to_async(book)()
        now = await position_of(patient)
        for each in (page, other):
            assert await each.told() == hello(now.seq, now.epoch)
        await sync_to_async(book)()
        for each in (page, other):
            assert (await each.told())["seq"] == now.seq + 1
        async with Page(patient, f"after=0&epoch={now.epoch}") as late:
            assert [message["seq"] for message in await late.told_until_hello()][-2:] == [now.seq + 1] * 2


async def test_a_feed_that_goes_back_without_a_new_epoch_is_noticed(
    book: Book, patient: User, hurried_hub: None
) -> None:
    for _ in range(3):
        await sync_to_async(book)()
    async with Page(patient, "after=3") as page:
        await page.told_until_hello()
        await restore(patient, 1, epoch=False)
        assert await page.told() == hello(1)
        await sync_to_async(book)()
        assert (await page.told())["seq"] == 2


async def test_a_page_that_joins_before_the_others_know_of_a_new_epoch_is_not_asked_about_for_ever(
    book: Book, patient: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "TAIL", 600)
    for _ in range(3):
        await sync_to_async(book)()
    async with Page(patient, "after=3") as page:
        await page.told_until_hello()
        await restore(patient, 1)
        now = await position_of(patient)
        async with Page(patient, f"after=1&epoch={now.epoch}") as fresh:
            assert await fresh.told_until_hello() == [hello(1, now.epoch)]
            assert await page.told() == hello(1, now.epoch)


async def test_an_entry_made_while_others_are_loaded_is_sent_at_once(
    book: Book, patient: User, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page gets at once an entry of its feed (list of changes) that is made while earlier entries are loaded.

    The test replaces load_frames, so that another process announces a new entry just after the page's query.
    """
    monkeypatch.setattr(hub, "TAIL", 600)
    first, second = await sync_to_async(book)(), await sync_to_async(book)()
    monkeypatch.setattr(hints, "publish", lambda entries: None)  # as if another process committed
    async with Page(patient, "after=2") as page:
        await page.told_until_hello()
        [running] = hub.running()
        audience = f"patient.{patient.pk}"
        await pay(first, clerk)

        def overtaken(*question: Any) -> Any:
            monkeypatch.setattr(fanout, "load_frames", rendering.load_frames)
            found = rendering.load_frames(*question)
            till.take_payment(second, second.amount_due, Method.CASH, clerk, key=uuid4().hex)
            running.on_hint(audience, Feed.objects.of(audience).position)
            return found

        monkeypatch.setattr(fanout, "load_frames", overtaken)
        running.on_hint(audience, (await position_of(patient)))
        assert [(await page.told())["seq"] for _ in range(2)] == [3, 4]


async def test_a_signed_webhook_reaches_patient_and_staff_in_their_own_words(
    payment: Payment, patient: User, clerk: User
) -> None:
    story = Story(payment)
    async with Page(patient, "after=0&lang=fr") as mine, Page(clerk, "after=0&lang=en") as theirs:
        await mine.told_until_hello()
        await theirs.told_until_hello()
        response = await sync_to_async(deliver)(story.completed())
        assert response.status_code == 200
        patients, staffs = await mine.told(), await theirs.told()
    assert f"/appointments/{payment.appointment.reference}/" in patients["html"]
    assert f'id="payment-{payment.public_id}-owed"' in staffs["html"]
    assert "data-confirmed" in patients["html"]
    assert "Paid" in staffs["html"]
    for frame in (patients, staffs):
        for secret in (patient.first_name, patient.last_name, patient.email, "csrf", payment.appointment.service):
            assert secret not in frame["html"]


async def test_a_page_hears_nothing_of_other_patients(
    book: Book, patient: User, clerk: User, hurried_hub: None
) -> None:
    mine = await sync_to_async(book)()
    other = await sync_to_async(User.objects.create_user)("lou")
    theirs = await sync_to_async(book)(patient=other)
    async with Page(patient, f"after=1&feed=patient.{patient.pk}") as page:
        await page.told_until_hello()
        await pay(theirs, clerk)
        await pay(mine, clerk)
        assert str(mine.public_id) in (await page.told())["html"]  # its first message is about its own payment


async def test_a_hint_that_was_lost_is_found_by_the_tail(
    payment: Payment, patient: User, clerk: User, hurried_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Page(patient) as page:
        await page.told_until_hello()
        monkeypatch.setattr(hints, "publish", lambda entries: None)
        await pay(payment, clerk)
        assert (await page.told())["seq"] == 2


async def test_what_a_broken_template_keeps_back_is_told_once_it_is_mended(
    payment: Payment, patient: User, clerk: User, hurried_hub: None, settings: Settings, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    (tmp_path / "payments").mkdir()
    (tmp_path / "payments" / "_live_entry.html").write_text("{% nonsense %}")
    whole = settings.TEMPLATES
    async with Page(patient) as page:
        await page.told_until_hello()
        settings.TEMPLATES = [whole[0] | {"DIRS": [tmp_path, *whole[0]["DIRS"]]}]
        await pay(payment, clerk)
        await until(lambda: "live_task_failed" in caplog.text, "the page's turn has come")
        await sync_to_async(lambda: hub.running()[0].prepare(payment.changes.all()))()  # raises nothing
        settings.TEMPLATES = whole
        assert (await page.told())["seq"] == 2
    assert "live_rendering_failed" in {record.message for record in caplog.records}
    assert "payment_status_changed" in {record.message for record in caplog.records}


async def test_a_beat_says_the_newest_number(
    payment: Payment, patient: User, clerk: User, hurried_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "BEAT", 0.3)
    await pay(payment, clerk)
    async with Page(patient, "after=2") as page:
        await page.told_until_hello()
        assert await page.told() == beat(2)


async def test_a_change_waits_for_no_heartbeat_and_later_heartbeats_count_it(
    book: Book, patient: User, clerk: User
) -> None:
    mine = await sync_to_async(book)(patient=patient)
    async with Page(patient, "after=1") as one, Page(patient, "after=1") as other:
        for page in (one, other):
            await page.told_until_hello()
        [running] = hub.running()
        [feed] = running._feeds.values()
        first, last = (one, other) if feed.live()[0] is next(iter(running._of_user[patient.pk])) else (other, one)
        beats = feed.beat()
        next(beats)
        await pay(mine, clerk)
        assert await first.told() == beat(1)
        assert "html" in await first.told()
        assert "html" in await last.told()
        assert len(list(beats)) == 1
        assert await last.told() == beat(2)


@pytest.mark.parametrize("broken", ["write", "unsent", "close"])
async def test_a_connection_that_raises_disturbs_no_other_page(
    patient: User, clerk: User, book: Book, hurried_hub: None, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, broken: str,
) -> None:  # fmt: skip
    """Other pages get their beats and changes, and are closed in time. The test makes one connection raise."""

    class BrokenWire(AsgiWire):
        def fail(self, *_args: object) -> Any:
            raise RuntimeError("the handler is closed")

    setattr(BrokenWire, broken, BrokenWire.fail)
    mine = await sync_to_async(book)(patient=patient)
    monkeypatch.setattr(hub, "BEAT", 0.3)
    async with Page(patient, "after=1") as broken_page, Page(patient, "after=1") as page:
        await broken_page.told_until_hello()
        await page.told_until_hello()
        [running] = hub.running()
        [broken_socket, _] = running._of_user[patient.pk]
        broken_socket._wire.__class__ = BrokenWire
        assert await page.told() == beat(1)
        assert await page.told() == beat(1)
        await pay(mine, clerk)
        while "html" not in (message := await page.told()):
            assert message["t"] == "hb"
        await User.objects.filter(pk=patient.pk).aupdate(is_active=False)
        while (output := await page.socket.receive_output(PATIENCE))["type"] != "websocket.close":
            pass
        assert output["code"] == 4401
    assert ("live_close_failed" if broken == "close" else "live_write_failed") in caplog.text


async def test_a_ping_is_answered(patient: User) -> None:
    async with Page(patient) as page:
        await page.told_until_hello()
        await page.socket.send_to("ping")
        assert await page.told() == beat(0)


async def test_a_ping_is_not_answered_while_the_database_is_silent(
    payment: Payment, patient: User, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "TAIL", 600)  # otherwise the hub's next query would show that the database answers
    pings: list[None] = []  # answer_ping is wrapped only to know when the ping was handled
    answer_ping = hub.Hub.answer_ping
    monkeypatch.setattr(hub.Hub, "answer_ping", lambda *asked: pings.append(answer_ping(*asked)))
    async with Page(patient, "after=1") as page:
        await page.told_until_hello()
        [running] = hub.running()
        running.tailed_at -= BEAT
        await page.socket.send_to("ping")
        await until(lambda: pings, "the ping is heard")
        await pay(payment, clerk)
        assert (await page.told())["seq"] == 2  # an answer to the ping would have come first


async def sign_out(page: Page) -> None:
    await sync_to_async(page.client.logout)()


async def deactivate(page: Page) -> None:
    await User.objects.filter(pk=page.user.pk).aupdate(is_active=False)  # type: ignore[union-attr]


async def change_password(page: Page) -> None:
    page.user.set_password("another")  # type: ignore[union-attr]
    await page.user.asave()  # type: ignore[union-attr]


async def take_staff_rights(page: Page) -> None:
    await User.objects.filter(pk=page.user.pk).aupdate(is_staff=False)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("ending", "code"),
    [(sign_out, 4401), (deactivate, 4401), (change_password, 4401), (take_staff_rights, 4403)],
)
async def test_a_socket_closes_at_the_end_of_its_right(
    clerk: User, ending: Callable[[Page], object], code: int, hurried_hub: None
) -> None:
    """The server closes a socket whose user has lost access, and the close code says why.

    tests/inputs/test_socket_inputs.py tests that this takes no longer than 5 s.
    """
    async with Page(clerk) as page:
        await page.told_until_hello()
        await ending(page)  # type: ignore[misc]
        assert await page.close_code() == code


@pytest.mark.parametrize("fault", [DatabaseError, RuntimeError])
async def test_a_page_that_cannot_join_is_told_to_come_back_later(
    patient: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: type[Exception]
) -> None:
    """The page gets code 1013, and the server keeps nothing of it. The test makes the query for its feed fail."""

    def load_positions(_audiences: Any) -> Any:
        raise fault

    monkeypatch.setattr(hub, "load_positions", load_positions)
    async with Page(patient) as page:
        assert await page.close_code() == 1013
        assert hub.running() == []
    assert "live_join_failed" in caplog.text


async def test_a_report_that_cannot_be_stored_leaves_the_page_connected(
    payment: Payment, patient: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The test makes the query that stores what a patient has seen fail."""

    def mark_seen(*_report: Any) -> None:
        raise DatabaseError

    monkeypatch.setattr(consumers, "mark_seen", mark_seen)
    async with Page(patient, "after=1") as page:
        await page.told_until_hello()
        await page.socket.send_to(f'{{"seen": 1, "payments": ["{payment.public_id}"]}}')
        await until(lambda: "live_report_failed" in caplog.text, "the fault is logged")
        await page.socket.send_to("ping")
        assert await page.told() == beat(1)


async def test_reports_that_wait_for_the_database_delay_no_beat(
    payment: Payment, patient: User, hurried_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test makes the query that stores what a patient has seen wait, while a page sends more reports than threads.

    Reports above the limit are dropped.
    """
    database_is_back, calls = threading.Event(), []

    def mark_seen(*report: Any) -> None:
        calls.append(report)
        database_is_back.wait(PATIENCE)

    monkeypatch.setattr(consumers, "mark_seen", mark_seen)
    monkeypatch.setattr(consumers, "MOST_REPORTS", 8)
    monkeypatch.setattr(hub, "BEAT", 0.3)
    async with Page(patient, "after=1") as page:
        await page.told_until_hello()
        for _ in range(12):
            await page.socket.send_to(f'{{"seen": 1, "payments": ["{payment.public_id}"]}}')
        await until(lambda: calls, "the first report is being stored")
        try:
            for _ in range(3):
                assert await page.told(20) == beat(1)
        finally:
            database_is_back.set()
        await until(lambda: not consumers._reports, "all reports are stored")
        assert len(calls) == 8


async def until_tailed(running: hub.Hub, times: int = 1) -> None:
    """Wait until the hub's regular query has begun and succeeded `times` times."""
    for _ in range(times + 1):  # because the first one may have begun before
        before = running.tailed_at
        await until(lambda before=before: running.tailed_at > before, "the hub queries the database")  # type: ignore[misc]


async def test_sessions_are_checked_after_a_change_of_access_and_else_left_alone(
    clerk: User, patient: User, hurried_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []  # ended_sessions is wrapped only to count the sessions that it checks

    def ended_sessions(sessions: Any, access: int) -> Any:
        checked.append(len(sessions))
        return socket_sessions.ended_sessions(sessions, access)

    monkeypatch.setattr(hub, "ended_sessions", ended_sessions)
    async with Page(clerk) as leaving, Page(patient) as staying:
        await leaving.told_until_hello()
        await staying.told_until_hello()
        [running] = hub.running()
        await until_tailed(running, 3)  # signing in deleted sessions, so the first socket is checked again
        checked.clear()
        await until_tailed(running, 3)
        assert not checked
        await sign_out(leaving)
        assert await leaving.close_code() == 4401
        await until_tailed(running, 3)
        assert checked == [2]
        await staying.socket.send_to("ping")
        assert await staying.told() == beat(0)


async def test_a_socket_that_joins_with_a_session_that_has_just_ended_is_closed(
    clerk: User, patient: User, hurried_hub: None
) -> None:
    """The hub closes a socket even if its session ended between being loaded and the socket's joining.

    The hub has then already checked the other sockets at the new access version.
    """
    client = await sync_to_async(client_of)(clerk)
    key = client.session.session_key or ""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nobody serves this socket")

    async with Page(patient) as page:
        await page.told_until_hello()
        [running] = hub.running()
        session = await running.session_of(key)
        assert session
        await sync_to_async(client.logout)()
        await until_tailed(running)
        await running.join(Socket(session, "fr", AsgiWire(receive, send)), None, None)
        await until(lambda: {"type": "websocket.close", "code": 4401} in sent, "the socket is closed")


async def test_a_socket_closes_when_its_session_expires_unless_it_was_extended(
    clerk: User, patient: User, hurried_hub: None
) -> None:
    pages = [Page(None), Page(None)]
    for page, user in zip(pages, (clerk, patient), strict=True):
        page.client = await sync_to_async(client_of)(user)
    soon = timezone.now() + timedelta(seconds=2)
    await Session.objects.aupdate(expire_date=soon)
    async with pages[0] as left, pages[1] as used:
        await left.told_until_hello()
        await used.told_until_hello()
        key = used.client.session.session_key
        await Session.objects.filter(session_key=key).aupdate(expire_date=soon + timedelta(hours=1))
        assert await left.close_code() == 4401
        assert timezone.now() >= soon
        await used.socket.send_to("ping")
        assert (await used.told())["t"] == "hb"


async def test_a_comeback_is_logged_with_its_cause(patient: User, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="payments.consumers"):
        async with Page(patient, "after=0&try=3&why=closed&code=1006") as page:
            await page.told_until_hello()
        async with Page(patient, "after=0&try=1&why=%0Aforged&code=x") as page:
            await page.told_until_hello()
    assert [fields_of(record) for record in caplog.records if record.message == "live_reconnect"] == [
        {"attempt": "3", "why": "closed", "code": "1006", "audience": f"patient.{patient.pk}"},
        {"attempt": "1", "why": "unknown", "code": "", "audience": f"patient.{patient.pk}"},
    ]


async def test_changes_while_a_page_joins_are_told_once_and_in_order(book: Book, patient: User, clerk: User) -> None:
    payments = [await sync_to_async(book)() for _ in range(12)]
    async with Page(patient, "after=12") as settled:
        await settled.told_until_hello()
        paying = asyncio.create_task(asyncio.wait([asyncio.create_task(pay(payment, clerk)) for payment in payments]))
        pages = [Page(patient, f"after=12&lang={lang}") for lang in ("fr", "en", "fr")]
        for page in pages:
            assert await page.open()
        await paying
        for page in (settled, *pages):
            seen = []
            while 24 not in seen:
                message = await page.told()
                seen += [message["seq"]] if "html" in message else []
            assert seen == list(range(13, 25))
        for page in pages:
            await page.__aexit__()
