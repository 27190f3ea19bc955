"""Tests of the front desk's review queue, attendance, export, amount filters and long lists."""

import csv
import datetime
import io
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from icalendar import Calendar

from accounts.models import User
from appointments.models import Appointment, Practitioner, Saved
from payments import bookings
from payments.desk.exports import escape_formula
from payments.domain.status import PaymentStatus, Review
from payments.live.rendering import render_entry
from payments.models import EventReceipt, FeedEntry, Payment
from tests.payments.clients import desk_page_of, text_of
from tests.payments.streamed import content_of
from tests.payments.stripe_story import Story, deliver

pytestmark = [pytest.mark.usefixtures("noon"), pytest.mark.django_db]
Book = Callable[..., Payment]


def double_payment(story: Story) -> None:
    deliver(story.completed("A"))
    deliver(story.completed("B"))


def refund_failed(story: Story) -> None:
    deliver(story.completed())
    deliver(story.refund(5000, "failed"))


def dispute(story: Story) -> None:
    deliver(story.completed())
    deliver(story.dispute("needs_response"))


def paid_too_little(story: Story) -> None:
    deliver(story.completed(amount=4000))


def paid_after_cancel(story: Story) -> None:
    appointment = story.payment.appointment
    appointment.status = Appointment.Status.CANCELED
    appointment.save()
    deliver(story.completed())


@pytest.mark.parametrize(
    ("happening", "review", "action"),
    [
        (double_payment, Review.DOUBLE_PAYMENT, "refund"),
        (refund_failed, Review.REFUND_FAILED, "refund"),
        (dispute, Review.DISPUTE_DEADLINE, "stripe"),
        (paid_too_little, Review.AMOUNT_MISMATCH, "take"),
        (paid_after_cancel, Review.PAID_AFTER_CANCEL, "refund"),
    ],
)
def test_the_review_queue_offers_one_way_out_of_each_case(
    as_clerk: Client, story: Story, happening: Callable[[Story], None], review: Review, action: str
) -> None:
    happening(story)
    page = as_clerk.get("/review/")
    assert [(case.review, case.action) for case in page.context["cases"]] == [(review, action)]
    assert " ".join(str(review.label).split()) in text_of(page)


def test_the_tab_of_what_is_to_review_offers_nothing_else(as_clerk: Client, payment: Payment) -> None:
    pages = [as_clerk.get("/desk/", {"status": tab}).content.decode() for tab in ("to_review", "paid")]
    assert ['data-review="True"' in page for page in pages] == [True, False]


def test_a_payment_with_two_cases_shows_where_it_stands_once(as_clerk: Client, story: Story) -> None:
    paid_after_cancel(story)
    deliver(story.dispute("needs_response"))
    page = as_clerk.get("/review/")
    assert [case.review for case in page.context["cases"]] == [Review.DISPUTE_DEADLINE, Review.PAID_AFTER_CANCEL]
    assert page.content.decode().count(f'id="payment-{story.payment.public_id}"') == 1


def test_staffs_pages_are_told_what_is_to_review_and_patients_are_not(story: Story) -> None:
    double_payment(story)
    told = {entry.feed.audience: render_entry(entry, "fr") for entry in FeedEntry.objects.order_by("pk")}
    assert 'data-reviews="double_payment"' in told.pop("staff")
    assert all("double_payment" not in html for html in told.values())
    assert told


def test_an_empty_review_queue_says_so(as_clerk: Client, payment: Payment) -> None:
    assert "Rien à vérifier" in text_of(as_clerk.get("/review/"))


def test_the_review_queue_names_events_that_nothing_could_apply(as_clerk: Client) -> None:
    EventReceipt.objects.create(
        stripe_event_id="evt_dead", type="x", livemode=False, stripe_created=1, outcome=EventReceipt.Outcome.DEAD
    )
    assert "evt_dead" in text_of(as_clerk.get("/review/"))


def test_attendance_is_noted_with_who_did_it(as_clerk: Client, clerk: User, payment: Payment) -> None:
    as_clerk.post(f"{desk_page_of(payment)}attendance/", {"status": "no_show"})
    assert Appointment.objects.get().status == "no_show"
    assert LogEntry.objects.get().user == clerk


def test_attendance_takes_no_other_word(as_clerk: Client, payment: Payment) -> None:
    for status in ("canceled", "", "paid"):
        as_clerk.post(f"{desk_page_of(payment)}attendance/", {"status": status})
    assert Appointment.objects.get().status == "booked"


def test_canceling_tells_what_happens_to_the_money_first(as_clerk: Client, payment: Payment) -> None:
    path = f"{desk_page_of(payment)}cancel/"
    assert "Rien n’a été payé" in text_of(as_clerk.get(path))
    assert as_clerk.post(path)["Location"] == desk_page_of(payment)
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.VOID


def test_canceling_what_is_paid_leads_to_its_refund(as_clerk: Client, payment: Payment, story: Story) -> None:
    deliver(story.succeeded())
    path = f"{desk_page_of(payment)}cancel/"
    assert "vous pourrez rembourser" in text_of(as_clerk.get(path))
    assert as_clerk.post(path)["Location"] == f"{desk_page_of(payment)}refund/"


def test_a_patient_takes_the_appointment_into_a_calendar(as_patient: Client, payment: Payment) -> None:
    answer = as_patient.get(f"/appointments/{payment.appointment.reference}/calendar.ics")
    lines = answer.content.decode().split("\r\n")
    assert f"DTSTART:{payment.appointment.start.astimezone(datetime.UTC):%Y%m%dT%H%M%SZ}" in lines
    assert all(len(line.encode()) <= 75 for line in lines)
    assert "Consultation" not in answer.content.decode()
    assert "TRIGGER:-P1D" in lines
    assert "Tilleuls" in answer.content.decode().partition("LOCATION:")[2]


def test_a_calendar_replaces_an_appointment_that_was_moved_or_canceled(as_patient: Client, payment: Payment) -> None:
    def event() -> Any:
        answer = as_patient.get(f"/appointments/{payment.appointment.reference}/calendar.ics")
        [found] = Calendar.from_ical(answer.content).walk("VEVENT")
        return found

    first = event()
    payment.appointment.start += datetime.timedelta(minutes=5)
    payment.appointment.save()
    moved = event()
    payment.appointment.status = Appointment.Status.CANCELED
    payment.appointment.save()
    canceled = event()
    assert first["UID"] == moved["UID"] == canceled["UID"]
    assert first["SEQUENCE"] < moved["SEQUENCE"] < canceled["SEQUENCE"]
    assert first["LAST-MODIFIED"].dt <= moved["LAST-MODIFIED"].dt <= canceled["LAST-MODIFIED"].dt
    assert [each["STATUS"] for each in (first, moved, canceled)] == ["CONFIRMED", "CONFIRMED", "CANCELLED"]
    assert not canceled.walk("VALARM")


@pytest.mark.django_db(transaction=True)
async def test_the_export_holds_the_filters_rows_as_french_spreadsheets_read_them(
    book: Book, clerk: User, patient: User
) -> None:
    from asgiref.sync import sync_to_async

    def prepare() -> AsyncClient:
        clerk.groups.add(Group.objects.get(name="accountant"))
        patient.last_name = "=cmd()"
        patient.first_name = ""
        patient.save()
        deliver(Story(book(start=timezone.now())).completed())
        book(start=timezone.now())
        client = AsyncClient()
        client.force_login(clerk)
        return client

    client = await sync_to_async(prepare)()
    answer: Any = await client.get("/desk/export.csv", {"status": "paid"})
    text = b"".join([part async for part in answer.streaming_content]).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text), delimiter=";"))
    assert [(row["Reçu"], row["Devise"], row["Patient"]) for row in rows] == [("50,00", "EUR", "'=cmd()")]


@pytest.mark.django_db(transaction=True)
async def test_an_exported_lines_amounts_add_up(book: Book, clerk: User) -> None:
    from asgiref.sync import sync_to_async

    def prepare() -> AsyncClient:
        clerk.groups.add(Group.objects.get(name="accountant"))
        on_its_way, overpaid, refunded = (Story(book(start=timezone.now())) for _ in range(3))
        deliver(on_its_way.processing())
        deliver(overpaid.completed("A"))
        deliver(overpaid.completed("B"))
        deliver(refunded.completed())
        deliver(refunded.charge_refunded(1500))
        client = AsyncClient()
        client.force_login(clerk)
        return client

    client = await sync_to_async(prepare)()
    answer: Any = await client.get("/desk/export.csv")
    text = b"".join([part async for part in answer.streaming_content]).decode("utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(text), delimiter=";"))
    assert sorted((line["En cours"], line["Trop-perçu"], line["Remboursé"]) for line in lines) == [
        ("0,00", "0,00", "15,00"),
        ("0,00", "50,00", "0,00"),
        ("50,00", "0,00", "0,00"),
    ]
    for line in lines:
        sums = {name: float(text.replace(",", ".")) for name, text in line.items() if re.fullmatch(r"\d+,\d\d", text)}
        settled = sums["Reçu"] - sums["Remboursé"] - sums["Repris par la banque"] + sums["N’est plus dû"]
        assert settled + sums["En cours"] + sums["Reste à payer"] - sums["Trop-perçu"] == sums["Dû"]


def test_only_accountants_and_managers_take_lists_away(as_clerk: Client, clerk: User) -> None:
    assert as_clerk.get("/desk/export.csv").status_code == 403
    assert "export.csv" not in as_clerk.get("/desk/").content.decode()


def test_a_cell_that_looks_like_a_formula_is_made_text() -> None:
    """Some spreadsheets skip white space first, and read full-width signs as plain ones."""
    for cell in ("=1", "+1", "-1", "@x", "\tx", "\rx", "\nx", " =1", "＝1", "＋1", "－1", "＠x", "\u3000＝1", "﹦1"):
        assert escape_formula(cell) == f"'{cell}"
    for cell in ("Roux", "", "1-2", "é=1"):
        assert escape_formula(cell) == cell


def test_a_csv_file_that_fails_midway_ends_and_says_so(
    as_accountant: Client, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """daphne leaves a client hanging if an error is raised after the response has begun."""
    deliver(Story(payment).completed())
    monkeypatch.setattr("payments.desk.exports.cells", lambda *args: 1 / 0)
    lines = content_of(as_accountant.get("/desk/export.csv?period=all")).decode().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("CE FICHIER EST INCOMPLET")


def test_the_journal_as_csv_is_whole_or_an_error(
    as_accountant: Client, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(Story(payment).completed())
    monkeypatch.setattr("payments.desk.exports.journal_cells", lambda *args: 1 / 0)
    as_accountant.raise_request_exception = False
    answer = as_accountant.get("/desk/journal.csv?first=&last=")
    assert (answer.status_code, answer["Content-Type"]) == (500, "text/html; charset=utf-8")


def book_many(count: int, patient: User, practitioner: Practitioner) -> None:
    start = timezone.now()
    appointments = Appointment.objects.bulk_create(
        Appointment(
            patient=patient,
            practitioner=practitioner,
            service="Consultation",
            start=start,
            end=start + datetime.timedelta(minutes=30),
            price_amount=5000,
        )
        for _ in range(count)
    )
    bookings.follow_appointments([Saved(appointment, None) for appointment in appointments])


@pytest.mark.usefixtures("steady_session")
@pytest.mark.parametrize("query", [{}, {"view": "agenda"}, {"period": "all", "page": "2"}, {"q": "roux", "page": "2"}])
def test_the_day_list_asks_as_many_queries_however_many_rows_there_are(
    as_clerk: Client, patient: User, practitioner: Practitioner, query: dict[str, str]
) -> None:
    counts = []
    for more in (60, 240):
        book_many(more, patient, practitioner)
        with CaptureQueriesContext(connection) as queries:
            page = as_clerk.get("/desk/", query)
        counts.append(len(queries))
    assert page.context["tabs"][0][1] == 300
    assert counts[0] == counts[1] <= 10, queries.captured_queries


def test_the_tabs_alone_answer_when_a_payment_moved(as_clerk: Client, payment: Payment) -> None:
    answer = as_clerk.get("/desk/?period=all", headers={"HX-Request": "true", "HX-Target": "tabs"})
    assert answer.content.decode().startswith("<nav")
    assert "X-Live-Seq" in answer.headers


def test_a_form_that_is_sent_twice_takes_the_money_once(client: Client, clerk: User, payment: Payment) -> None:
    client.force_login(clerk)
    url = f"/desk/{payment.appointment.reference}/take/"
    form = {"method": "cash", "amount": "20,00", "key": client.get(url).context["key"]}
    assert [client.post(url, form).status_code for _ in range(2)] == [302, 302]
    payment.refresh_from_db()
    assert payment.amount_received == 2000


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"amount_min": "50,01"}, {"costly", "dinar"}),
        ({"amount_max": "50"}, {"cheap", "yen"}),
        ({"amount_min": "50", "amount_max": "50,00"}, {"cheap", "yen"}),
        ({"amount_min": "50.5", "amount_max": "99,999"}, {"dinar"}),
        ({"amount_min": "0"}, {"cheap", "costly", "yen", "dinar"}),
        ({"amount_min": "1000"}, set()),
    ],
)
def test_an_amount_is_compared_in_each_payments_own_currency(
    as_clerk: Client, book: Book, query: dict[str, str], found: set[str]
) -> None:
    booked = {
        "cheap": book(5000),
        "costly": book(10000),
        "yen": book(50, "jpy"),
        "dinar": book(51500, "kwd"),
    }
    names = {payment.pk: name for name, payment in booked.items()}
    page = as_clerk.get("/desk/", {"period": "all", **query})
    assert {names[row.pk] for row in page.context["payments"]} == found
    assert page.context["filter"].query() == "?" + urlencode({"period": "all"} | query)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"amount_min": "cher"}, "Saisissez un montant"),
        ({"amount_min": "-5"}, "Saisissez un montant"),
        ({"amount_min": "60", "amount_max": "50"}, "inférieur au premier"),
    ],
)
def test_an_amount_that_makes_no_sense_is_told_and_never_downloaded(
    as_clerk: Client, clerk: User, payment: Payment, query: dict[str, str], told: str
) -> None:
    clerk.groups.add(Group.objects.get(name="accountant"))
    page = as_clerk.get("/desk/", {"period": "all", **query})
    assert told in text_of(page)
    assert 'aria-invalid="true"' in page.content.decode()
    wrong = next(reversed(query))
    assert wrong not in page.context["filter"].query()
    answer = as_clerk.get("/desk/export.csv", {"period": "all", **query})
    assert (answer.status_code, told in answer.content.decode()) == (400, True)
