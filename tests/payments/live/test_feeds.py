"""Tests of feeds: the changes that pages receive, and the view that a page polls if it has no WebSocket."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from accounts.models import User
from appointments.models import Appointment
from payments.desk import till
from payments.domain.methods import Method
from payments.live import feeds, rendering, timing
from payments.models import Feed, FeedEntry, Installation, Payment
from payments.models.feed import Position
from payments.templatetags import clinic as tags
from people.models import AccessVersion
from tests.payments.clients import client_of, page_of

pytestmark = pytest.mark.django_db
Book = Callable[..., Payment]


@pytest.fixture
def paid(payment: Payment, clerk: User) -> Payment:
    till.take_payment(payment, payment.amount_due, Method.CASH, clerk, key=uuid4().hex)
    return payment


def poll(client: Client, **query: str | int) -> Any:
    """Request the changes after a number, which belongs to the epoch of new feeds unless `query` has an epoch."""
    epoch = query.pop("epoch", "") or Installation.objects.get().epoch
    return client.get("/payments/live/", {"epoch": epoch, **query})


def entries_of(audience: str, after: int) -> list[FeedEntry]:
    return feeds.entries_after(audience, after, Feed.objects.of(audience).epoch).entries


def test_a_poll_tells_what_comes_after_the_number(paid: Payment, patient: User) -> None:
    response = poll(client_of(patient), after=1, feed=f"patient.{patient.pk}", lang="en")
    assert response.status_code == 200
    assert (response["X-Live-Seq"], response["X-Live-Epoch"]) == ("2", Installation.objects.get().epoch)
    assert "no-store" in response["Cache-Control"]
    html = response.content.decode()
    assert f'id="payment-{paid.public_id}"' in html
    assert 'id="live-cursor" name="after" value="2"' in html
    assert "Paid" in html
    assert "csrf" not in html


@pytest.mark.usefixtures("steady_session")
def test_a_poll_with_nothing_new_is_204_and_one_query_for_the_feed(paid: Payment, patient: User) -> None:
    client, epoch = client_of(patient), Installation.objects.get().epoch
    with CaptureQueriesContext(connection) as queries:
        response = poll(client, after=2, epoch=epoch)
    assert response.status_code == 204
    assert (response["X-Live-Seq"], response["X-Live-Epoch"]) == ("2", epoch)
    assert [query["sql"].count("payments_") > 0 for query in queries].count(True) == 1


def test_a_poll_signed_out_is_401_and_no_page(client: Client, paid: Payment) -> None:
    response = poll(client, after=0)
    assert response.status_code == 401
    assert b"<" not in response.content


def test_a_poll_of_a_page_made_for_somebody_else_is_403(patient: User, clerk: User) -> None:
    for feed in ("staff", "patient.0", f"patient.{clerk.pk}", "*"):
        assert poll(client_of(patient), after=0, feed=feed).status_code == 403


@pytest.mark.parametrize("after", ["", "x", "-1", "1.5", "٣", "9" * 30])
def test_a_poll_without_a_number_is_400(patient: User, after: str) -> None:
    assert poll(client_of(patient), after=after).status_code == 400


def test_only_get_polls(patient: User) -> None:
    assert client_of(patient).post("/payments/live/", {"after": 0}).status_code == 405


def test_a_number_that_is_pruned_or_ahead_asks_for_a_new_page(paid: Payment, patient: User) -> None:
    Feed.objects.update(pruned=1)
    client = client_of(patient)
    for after in (0, 3):
        response = poll(client, after=after)
        assert (response.status_code, response["X-Live-Reset"], response["X-Live-Seq"]) == (200, "1", "2")
    assert poll(client, after=2).status_code == 204


def test_a_page_of_another_epoch_asks_for_a_new_page_whatever_its_number(
    book: Book, patient: User, payment: Payment
) -> None:
    """A page that was opened before a restore is told to load again, even once the feed's numbers exceed the page's.

    The page has 3 entries and the backup 1; then new entries are made.
    """
    client = client_of(patient)
    backup = transaction.savepoint()
    for _ in range(2):
        book()
    page = client.get(page_of(payment)).content.decode()
    epoch = page.split('id="live-epoch" name="epoch" value="')[1].split('"')[0]
    assert f"epoch={epoch}" not in page, "the address that is polled stays; what the fields say is added to it"
    assert poll(client, after=3, epoch=epoch).status_code == 204
    transaction.savepoint_rollback(backup)
    Feed.objects.begin_epoch()
    for _ in range(4):
        assert poll(client, after=3, epoch=epoch)["X-Live-Reset"] == "1"
        book()
    assert "X-Live-Reset" not in poll(client, after=3)
    assert client.get("/payments/live/", {"after": 3})["X-Live-Reset"] == "1", "a number without its epoch says nothing"
    fresh = client.get(page_of(payment)).content.decode()
    assert f'value="{epoch}"' not in fresh
    assert 'id="live-cursor" name="after" value="5"' in fresh


def test_a_feed_that_has_no_entry_yet_has_the_epoch_that_it_will_have(patient: User, book: Book) -> None:
    before = Feed.objects.of(f"patient.{patient.pk}").position
    book()
    after = Feed.objects.of(f"patient.{patient.pk}").position
    assert (before.seq, after.seq) == (0, 1)
    assert before.epoch == after.epoch != ""


def test_an_epoch_can_begin_for_some_feeds_only(payment: Payment, patient: User) -> None:
    staff, mine = Feed.objects.of("staff").position, Feed.objects.of(f"patient.{patient.pk}").position
    Feed.objects.begin_epoch([f"patient.{patient.pk}", "patient.0"])
    assert Feed.objects.of("staff").position == staff
    now = Feed.objects.of(f"patient.{patient.pk}").position
    assert (now.seq, now.epoch == mine.epoch) == (mine.seq, False)
    assert not Feed.objects.filter(audience="patient.0").exists()


def test_a_page_far_behind_is_told_in_portions(book: Book, patient: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "BATCH", 2)
    for _ in range(3):
        book()
    client = client_of(patient)
    first, second = poll(client, after=0), poll(client, after=2)
    assert (first["X-Live-Seq"], first["X-Live-More"]) == ("2", "1")
    assert second["X-Live-Seq"] == "3"
    assert "X-Live-More" not in second


def test_an_entry_is_rendered_once_for_each_language(paid: Payment, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []  # _render is wrapped only to count its calls
    render = rendering._render

    def counted(*args: Any) -> str:
        made.append(args)
        return render(*args)

    monkeypatch.setattr(rendering, "_render", counted)
    entry = entries_of("staff", 1)[0]
    texts = {rendering.render_entry(entry, language) for language in ("fr", "en") * 50}
    assert len(made) == len(texts) == 2


def test_rendered_entries_are_forgotten_in_the_end(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "CACHED", 3)
    monkeypatch.setattr(rendering, "_cache", OrderedDict())
    for _ in range(5):
        book()
    entries = entries_of("staff", 0)
    for entry in entries:
        rendering.render_entry(entry, "fr")
    assert [payment for payment, *_ in rendering._cache] == [entry.payment.public_id for entry in entries[2:]]


def test_checkout_begun_is_no_news_but_paid_is(paid: Payment) -> None:
    entry = entries_of(f"patient.{paid.appointment.patient_id}", 0)[-1]
    assert "payment-toast" in rendering.render_entry(entry, "fr")
    entry.change.version += 1  # so that the change isn't found in the cache and is rendered again
    entry.change.to_status = "checkout_open"
    assert "payment-toast" not in rendering.render_entry(entry, "fr")


def test_the_patient_is_told_of_a_declined_card_and_not_of_a_payment_page_that_closes(paid: Payment) -> None:
    entry = entries_of(f"patient.{paid.appointment.patient_id}", 0)[-1]
    change = entry.change
    change.from_status = change.to_status = "checkout_open"
    change.version, change.standing["attempt"] = change.version + 1, "failed"
    declined = rendering.render_entry(entry, "en")
    assert "Card declined" in declined[declined.index("<payment-toast") :]
    change.version, change.standing["attempt"], change.to_status = change.version + 1, "", "expired"
    assert "payment-toast" not in rendering.render_entry(entry, "en")


def told(audience: str, after: int) -> list[str]:
    return [rendering.render_entry(entry, "en") for entry in entries_of(audience, after)]


def test_a_booking_its_price_time_and_attendance_are_told(payment: Payment, patient: User, clerk: User) -> None:
    assert "Appointment booked · €50.00" in told(f"patient.{patient.pk}", 0)[0]
    appointment = payment.appointment
    appointment.save()
    mine = f"patient.{patient.pk}"
    assert not told(mine, 1)  # nothing has changed, so the feed has no new entry
    appointment.price_amount = 6000
    appointment.save()
    appointment.start = appointment.end - timedelta(minutes=10)
    appointment.save()
    appointment.status = Appointment.Status.NO_SHOW
    appointment.save(actor=clerk)
    price, moved, no_show = told(mine, 1)
    assert "Price changed to €60.00" in price
    assert "€60.00</span>" in price
    assert "data-rebooked" in moved
    assert "Moved to" in moved
    assert "No-show</span>" in no_show
    assert not any("data-rebooked" in html or "payment-toast" in html for html in (price, no_show))
    assert [change.booking for change in payment.changes.filter(version__in=(2, 4))] == [
        {"price": [6000, "eur"]},
        {"attendance": "no_show"},
    ]


def test_the_cursor_is_read_before_the_view_reads_rows(
    client: Client, payment: Payment, patient: User, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The view reads the feed position (number of the newest entry) before the payments, so that it misses no change.

    The test changes the payment between these reads: the page then gets the change once too often rather than never.
    """
    read = Payment.objects.visible_to

    def meanwhile(user: User) -> Any:
        if not Feed.objects.filter(head__gt=1).exists():
            till.take_payment(payment, payment.amount_due, Method.CASH, clerk, key=uuid4().hex)
        return read(user)

    client.force_login(patient)
    monkeypatch.setattr(type(Payment.objects), "visible_to", lambda self, user: meanwhile(user))
    html = client.get(f"/appointments/{payment.appointment.reference}/").content.decode()
    assert 'id="live-cursor" name="after" value="1"' in html


def test_a_fragment_bears_its_number_and_an_anonymous_page_none(client: Client, paid: Payment, patient: User) -> None:
    assert "X-Live-Seq" not in client.get("/", headers={"HX-Request": "true"})
    client.force_login(patient)
    assert client.get("/", headers={"HX-Request": "true"})["X-Live-Seq"] == "2"
    assert "X-Live-Seq" not in client.get("/")


def test_a_page_polls_as_often_as_it_says(client: Client, clerk: User) -> None:
    client.force_login(clerk)
    page = client.get("/desk/", headers={"Accept-Language": "en"}).content.decode()
    assert f'hx-trigger="every {timing.POLL_SECONDS}s, live:refresh"' in page
    assert f"Not live: checking every {timing.POLL_SECONDS} seconds" in page


def test_money_is_shown_in_the_readers_language() -> None:
    with translation.override("en"):
        assert tags.money(123450, "eur") == "€1,234.50"
    with translation.override("fr"):
        assert tags.money(123450, "eur") == "1\u202f234,50\u00a0€"


@pytest.mark.postgres
def test_only_feeds_that_moved_are_loaded_with_the_access_version(payment: Payment, patient: User, book: Book) -> None:
    mine = f"patient.{patient.pk}"
    known = {name: Feed.objects.of(name).position for name in ("staff", mine, "patient.0")}
    assert feeds.load_moved(known) == (AccessVersion.objects.get().number, {})
    book()
    now = {name: Feed.objects.of(name).position for name in ("staff", mine)}
    assert feeds.load_moved(known)[1] == now
    Feed.objects.begin_epoch([mine])
    assert feeds.load_moved(known | now)[1] == {mine: Feed.objects.of(mine).position}
    assert feeds.load_moved({"patient.0": Position("e1", 4)})[1] == {"patient.0": None}
    AccessVersion.objects.update(number=77)
    assert feeds.load_moved({})[0] == 77


# The functions that pages, polls and sockets share


def test_who_reads_which_feed(patient: User, clerk: User) -> None:
    assert feeds.audience_of(patient) == f"patient.{patient.pk}"
    assert feeds.audience_of(clerk) == "staff"
    patient.is_active = clerk.is_active = False
    assert {feeds.audience_of(user) for user in (patient, clerk, AnonymousUser(), User(is_active=True))} == {""}
    without_staff: Any = SimpleNamespace(pk=7, is_active=True)  # a project's own user model may have no such field
    assert feeds.audience_of(without_staff) == "patient.7"


def test_a_language_is_one_of_the_sites_or_else_its_default() -> None:
    assert [feeds.supported_language(code) for code in ("fr", "en", "xx", "", None)] == ["fr", "en", "fr", "fr", "fr"]


def test_entries_are_loaded_in_order_with_all_that_is_shown_of_them(
    book: Book, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    payments = [book() for _ in range(3)]
    till.take_payment(payments[0], 1000, Method.CASH, clerk, key="1")
    feed = Feed.objects.get(audience="staff")
    with CaptureQueriesContext(connection) as queries:
        batch = feeds.entries_after("staff", 1, feed.epoch)
        shown = [
            (entry.seq, entry.feed.audience, entry.change.actor, entry.payment.appointment.price_amount)
            for entry in batch.entries
        ]
        assert all(entry.payment.booking for entry in batch.entries)
    assert len(queries) == 2
    assert shown == [(2, "staff", None, 5000), (3, "staff", None, 5000), (4, "staff", clerk, 5000)]
    assert (batch.epoch, batch.head, batch.last, batch.reset) == (feed.epoch, 4, 4, False)
    Feed.objects.filter(audience="staff").update(head=3)  # as if the last entry were committed while this one reads
    assert [entry.seq for entry in feeds.entries_after("staff", 1, feed.epoch).entries] == [2, 3]
    Feed.objects.filter(audience="staff").update(head=4)
    monkeypatch.setattr(feeds, "BATCH", 2)
    part = feeds.entries_after("staff", 1, feed.epoch)
    assert ([entry.seq for entry in part.entries], part.head, part.last, part.reset) == ([2, 3], 4, 3, False)


def test_a_page_goes_on_from_any_number_that_its_feed_still_has(book: Book) -> None:
    for _ in range(3):
        book()
    Feed.objects.update(pruned=1)
    feed = Feed.objects.get(audience="staff")
    found = {seq: feeds.entries_after("staff", seq, feed.epoch) for seq in range(5)}
    assert {seq: batch.reset for seq, batch in found.items()} == {0: True, 1: False, 2: False, 3: False, 4: True}
    assert {seq: len(batch.entries) for seq, batch in found.items()} == {0: 0, 1: 2, 2: 1, 3: 0, 4: 0}
    for batch in (found[0], found[3], found[4]):
        assert (batch.epoch, batch.head, batch.last) == (feed.epoch, 3, 3)
    assert [feeds.entries_after("staff", 2, epoch).reset for epoch in ("other", "", None)] == [True] * 3
    with CaptureQueriesContext(connection) as queries:
        feeds.entries_after("staff", 3, feed.epoch)
    assert len(queries) == 1


def test_positions_take_one_query_if_all_feeds_are_stored(payment: Payment, patient: User) -> None:
    mine, epoch = f"patient.{patient.pk}", Installation.objects.get().epoch
    Feed.objects.filter(audience="staff").update(epoch="e7", head=70)
    with CaptureQueriesContext(connection) as queries:
        assert feeds.load_positions(["staff", mine]) == {"staff": Position("e7", 70), mine: Position(epoch, 1)}
    assert len(queries) == 1
    found = feeds.load_positions(["staff", "patient.0"])
    assert found == {"staff": Position("e7", 70), "patient.0": Position(epoch, 0)}


@time_machine.travel("2026-06-01 13:45:30.5Z")
def test_a_corrected_name_reloads_the_pages_of_today_and_later(book: Book, patient: User) -> None:
    other = User.objects.create_user("other")
    mine, theirs = f"patient.{patient.pk}", f"patient.{other.pk}"
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    book(start=midnight - timedelta(seconds=1), end=midnight, patient=other)
    book(start=midnight - timedelta(hours=2), end=midnight - timedelta(hours=1), patient=other)
    book(start=midnight, end=midnight + timedelta(minutes=30))

    def epochs() -> dict[str, str]:
        return dict(Feed.objects.values_list("audience", "epoch"))

    before = epochs()
    feeds.reload_pages(Appointment.objects.filter(patient=other))
    assert epochs() == before
    feeds.reload_pages(Appointment.objects.all())
    after = epochs()
    assert {name for name in before if before[name] != after[name]} == {"staff", mine}
    assert after[theirs] == before[theirs]


def test_a_feed_without_entries_has_not_moved(payment: Payment, patient: User) -> None:
    feeds_known = {"patient.0": Position("", 0), "staff": Position(Feed.objects.of("staff").epoch, 1)}
    assert feeds.load_moved(feeds_known) == (AccessVersion.objects.get().number, {})
    assert feeds.load_moved({"staff": Position("", 0)})[1] == {"staff": Feed.objects.of("staff").position}
