"""Tests of the operations board, a page of figures for staff: its figures, its permissions, its number of queries."""

import datetime
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from accounts.models import User
from appointments.models import Practitioner
from payments.dashboard.charts import Bars, Ranges, duration_text
from payments.dashboard.figures import Series, board
from payments.dashboard.latency import Leg, p95
from payments.models import EventReceipt, FeedEntry, Payment, StatusChange
from tests.payments.clients import text_of
from tests.payments.stripe_story import Story, deliver
from tests.payments.views.test_pages_desk import book_many

pytestmark = [pytest.mark.usefixtures("noon"), pytest.mark.django_db]
Book = Callable[..., Payment]


def counts(series: tuple[Series, ...]) -> dict[str, int]:
    return {one.name: one.total for one in series if one.total}


def test_a_new_site_has_nothing_to_show_and_says_so(as_accountant: Client) -> None:
    page = as_accountant.get("/desk/operations/")
    for words in ("Aucun rendez-vous ces jours-là", "Stripe n’a envoyé aucun événement", "Rien à mesurer"):
        assert words in text_of(page)
    assert '<svg class="bars"' not in page.content.decode()


def test_only_those_with_the_right_see_it(client: Client, clerk: User, patient: User) -> None:
    for user in (clerk, patient):
        client.force_login(user)
        assert client.get("/desk/operations/").status_code == 403
    client.force_login(clerk)
    assert "/desk/operations/" not in client.get("/desk/").content.decode()


def test_payments_are_counted_by_the_clinics_day_and_where_they_stand(book: Book) -> None:
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    paid = book(start=midnight)
    book(start=midnight - datetime.timedelta(minutes=1))
    book(start=midnight - datetime.timedelta(days=14))
    book(start=midnight + datetime.timedelta(days=1))
    deliver(Story(paid).completed())
    found = {one.name: one.counts[-2:] for one in board(14).payments if one.total}
    assert found == {"paid": (0, 1), "to_pay": (1, 0)}


def test_events_that_failed_or_wait_are_counted(payment: Payment, story: Story) -> None:
    deliver(story.completed())
    for number, outcome in enumerate(("failed", "dead", "quarantined", "deferred")):
        EventReceipt.objects.create(
            stripe_event_id=f"evt_{number}", type="x", livemode=False, stripe_created=1, outcome=outcome
        )
    found = board(14)
    assert (found.failed, found.deferred, counts(found.events)) == (3, 1, {"settled": 1, "pending": 1, "helpless": 3})
    assert found.last_event == EventReceipt.objects.latest("pk").received_at


def test_latency_is_told_by_what_went_to_an_open_page(payment: Payment, story: Story) -> None:
    deliver(story.completed())
    assert board(14).legs == ()
    entry = FeedEntry.objects.exclude(feed__audience="staff").exclude(change__stripe_event_id="").get()
    change, moment = entry.change, entry.change.created_at
    EventReceipt.objects.update(received_at=moment - datetime.timedelta(milliseconds=40))
    StatusChange.objects.filter(pk=change.pk).update(occurred_at=moment - datetime.timedelta(milliseconds=940))
    FeedEntry.objects.filter(pk=entry.pk).update(
        pushed_at=moment + datetime.timedelta(milliseconds=60), seen_at=moment + datetime.timedelta(seconds=3.06)
    )
    found = {leg.name: round(leg.median, 3) for leg in board(14).legs}
    assert found == {"received": 0.9, "applied": 0.04, "pushed": 0.06, "screen": 1.0, "seen": 3.0}


def test_the_nearest_rank_is_the_percentile() -> None:
    assert [p95(range(1, top + 1)) for top in (1, 20, 100)] == [1, 19, 95]


def test_the_open_board_is_told_only_what_moved(as_accountant: Client, book: Book) -> None:
    asked = {"HX-Request": "true", "HX-Target": "board"}
    page = as_accountant.get("/desk/operations/?days=30")
    shown = page.context["board"].fingerprint
    assert as_accountant.get(f"/desk/operations/?days=30&shown={shown}", headers=asked).status_code == 204
    book(start=timezone.now())
    answer = as_accountant.get(f"/desk/operations/?days=30&shown={shown}", headers=asked)
    assert answer.status_code == 200
    assert answer.content.decode().count('hx-swap-oob="true"') == 9
    assert "<html" not in answer.content.decode()


@pytest.mark.usefixtures("steady_session")
def test_the_board_asks_as_many_queries_however_many_payments_there_are(
    as_accountant: Client, patient: User, practitioner: Practitioner
) -> None:
    asked = []
    for more in (30, 270):
        book_many(more, patient, practitioner)
        with CaptureQueriesContext(connection) as queries:
            page = as_accountant.get("/desk/operations/")
        asked.append(len(queries))
    assert page.context["payments"].total == 300
    assert asked[0] == asked[1] <= 11, queries.captured_queries


def test_bars_stand_on_one_line_and_fill_their_day() -> None:
    days = [datetime.date(2026, 2, 27) + datetime.timedelta(days=number) for number in range(4)]
    bars = Bars(days, [Series("paid", "Paid", (3, 0, 12, 7)), Series("failed", "Failed", (0, 0, 0, 5))])
    assert (bars.step, bars.most, bars.total) == (5, 15, 27)
    last = bars.bars[3]
    assert [part.y + part.height for part in last.segments] == pytest.approx([bars.baseline, last.segments[0].y])
    assert [(bar.day.day, bar.month) for bar in bars.bars] == [(27, False), (28, False), (1, True), (2, False)]


def test_ranges_lie_on_a_logarithmic_scale() -> None:
    ranges = Ranges([Leg("screen", "", 2, 0.1, 10)])
    assert [(median, most) for _leg, _y, median, most in ranges.rows] == [("50.00%", "100.00%")]


def test_durations_are_said_in_the_readers_language() -> None:
    said = (0.0123, 1.25, 40, 75, 7200, 400000)
    with translation.override("fr"):
        assert [text.split() for text in map(duration_text, said)] == [
            ["12", "ms"], ["1,2", "s"], ["40", "s"], ["1,2", "min"], ["2", "h"], ["4,6", "j"],
        ]  # fmt: skip
    with translation.override("en"):
        assert duration_text(0.0123) == "12 ms"
