"""Tests of the counter: the day list with one appointment beside it, its parts that htmx asks for, and its sums."""

import datetime
import re
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from django.utils.formats import date_format
from pytest_django.fixtures import DjangoAssertNumQueries

from accounts import sessions
from accounts.models import User
from appointments.models import Appointment
from payments.desk import till
from payments.desk.agenda import agenda_of
from payments.desk.news import newest_news
from payments.domain.methods import Method
from payments.live.rendering import render_entry
from payments.models import Feed, FeedEntry, Note, Payment, RecordView
from tests.payments.clients import desk_page_of, page_of, text_of
from tests.payments.stripe_story import Story, deliver

pytestmark = [pytest.mark.usefixtures("noon"), pytest.mark.django_db]
Book = Callable[..., Payment]
CLICKED = {"HX-Request": "true", "HX-Boosted": "true"}


@pytest.fixture
def today(book: Book) -> Payment:
    return book(start=timezone.now())


def beside(payment: Payment) -> str:
    return f"/desk/?appointment={payment.appointment.reference}"


def part(client: Client, path: str, target: str) -> str:
    """Return the HTML with which the desk answers when somebody clicks a link whose answer goes into `target`."""
    return client.get(path, headers={**CLICKED, "HX-Target": target}).content.decode()


def row_of(html: str, payment: Payment) -> str:
    """Return the text of the payment's row in the day list, on one line."""
    found = re.search(rf'<li class="row" id="row-{payment.appointment.reference}".*?</li>', html, re.DOTALL)
    assert found
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).replace("\xa0", " ").split())


def test_a_row_opens_beside_the_list_with_one_request_for_the_sheet_alone(as_clerk: Client, today: Payment) -> None:
    sheet = part(as_clerk, beside(today), "sheet")
    assert sheet.count('id="sheet"') == 1
    assert "<html" not in sheet
    assert 'class="row"' not in sheet
    assert f'data-reference="{today.appointment.reference}"' in sheet
    assert 'class="sheet idle"' in part(as_clerk, "/desk/", "sheet")


def test_without_javascript_and_from_the_browsers_history_comes_the_whole_page(
    as_clerk: Client, today: Payment
) -> None:
    for headers in ({}, {"HX-Request": "true", "HX-History-Restore-Request": "true"}):
        html = as_clerk.get(beside(today), headers=headers).content.decode()
        assert "<html" in html
        assert f'id="row-{today.appointment.reference}"' in html
        assert f'id="payment-{today.public_id}-money"' in html
    assert "HX-History-Restore-Request" in as_clerk.get("/desk/")["Vary"]


def test_an_appointment_that_does_not_exist_is_not_found(as_clerk: Client) -> None:
    assert as_clerk.get("/desk/?appointment=NONE").status_code == 404


def test_the_page_of_an_appointment_shows_it_beside_its_own_day(as_clerk: Client, payment: Payment) -> None:
    html = as_clerk.get(desk_page_of(payment)).content.decode()
    assert f'id="row-{payment.appointment.reference}"' in html
    assert 'aria-current="true"' in html


@pytest.mark.usefixtures("steady_session")
def test_a_sheet_asks_as_many_queries_however_long_the_day_is(as_clerk: Client, book: Book) -> None:
    counts = []
    for _ in range(2):
        payments = [book(start=timezone.now()) for _ in range(5)]
        as_clerk.get(beside(payments[0]))  # the audit log notes the first look
        with CaptureQueriesContext(connection) as queries:
            part(as_clerk, beside(payments[0]), "sheet")
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 15, [query["sql"] for query in queries.captured_queries]


def test_an_arrival_is_noted_once_and_taken_back(as_clerk: Client, clerk: User, today: Payment) -> None:
    path = f"{desk_page_of(today)}arrival/"
    assert as_clerk.post(path, {"arrived": "1"}, headers=CLICKED).status_code == 204
    first = Appointment.objects.get().arrived_at
    as_clerk.post(path, {"arrived": "1"}, headers=CLICKED)
    assert first
    assert Appointment.objects.get().arrived_at == first
    answer = as_clerk.post(path, {"arrived": "0", "page": "/desk/?status=to_pay"})
    assert answer["Location"] == f"/desk/?status=to_pay#row-{today.appointment.reference}"
    assert Appointment.objects.get().arrived_at is None
    news = [(set(change.booking), change.actor) for change in today.changes.filter(version__gt=1)]
    assert news == [({"arrived"}, clerk)] * 2


def test_an_appointment_moved_to_another_day_has_no_arrival(today: Payment, clerk: User) -> None:
    today.appointment.note_arrival(arrived=True, actor=clerk)
    appointment = Appointment.objects.get()
    appointment.end += datetime.timedelta(hours=1)
    appointment.save()
    assert appointment.arrived_at
    appointment.start += datetime.timedelta(days=1)
    appointment.end += datetime.timedelta(days=1)
    appointment.save()
    assert Appointment.objects.get().arrived_at is None


def test_an_arrival_leads_to_no_other_site(as_clerk: Client, today: Payment) -> None:
    answer = as_clerk.post(f"{desk_page_of(today)}arrival/", {"arrived": "1", "page": "https://evil.example/"})
    assert answer["Location"].startswith(desk_page_of(today))


def test_nobody_arrives_for_tomorrow_or_for_a_canceled_appointment(as_clerk: Client, book: Book) -> None:
    tomorrow = book()
    canceled = book(start=timezone.now(), status=Appointment.Status.CANCELED)
    for payment in (tomorrow, canceled):
        as_clerk.post(f"{desk_page_of(payment)}arrival/", {"arrived": "1"}, headers=CLICKED)
        assert 'class="arrive"' not in as_clerk.get(desk_page_of(payment)).content.decode()
    assert not Appointment.objects.exclude(arrived_at=None).exists()


def test_an_arrival_reaches_every_screen(as_clerk: Client, today: Payment, patient: User) -> None:
    as_clerk.post(f"{desk_page_of(today)}arrival/", {"arrived": "1"}, headers=CLICKED)
    told = {entry.feed.audience: render_entry(entry, "fr") for entry in FeedEntry.objects.order_by("pk")}
    assert 'class="arrived"' in told["staff"]
    assert "Arrivé" in told[f"patient.{patient.pk}"]


def test_a_row_says_in_words_what_is_owed_what_goes_back_and_what_to_look_at(as_clerk: Client, book: Book) -> None:
    due, paid, twice, canceled = (book(start=timezone.now()) for _ in range(4))
    deliver(Story(paid).completed())
    story = Story(twice)
    deliver(story.completed("A"))
    deliver(story.completed("B"))
    canceled.appointment.status = Appointment.Status.CANCELED
    canceled.appointment.save()
    html = as_clerk.get("/desk/").content.decode()
    assert "Reste à payer 50,00 €" in row_of(html, due)
    assert "Plus rien à payer" in row_of(html, paid)
    assert "à rendre 50,00 € Payé deux fois" in row_of(html, twice)
    assert "Annulé" in row_of(html, canceled)
    assert 'data-attendance="canceled"' in html


def test_the_foot_adds_up_and_names_the_ways(as_clerk: Client, book: Book, clerk: User) -> None:
    due, online, twice, cash, mistake = (book(start=timezone.now()) for _ in range(5))
    deliver(Story(online).completed())
    story = Story(twice)
    deliver(story.completed("A"))
    deliver(story.completed("B"))
    till.take_payment(cash, 2000, Method.CASH, clerk, key=uuid4().hex)
    till.take_payment(mistake, 5000, Method.CHEQUE, clerk, key=uuid4().hex)
    till.reverse(mistake, mistake.facts.get(kind="offline").stripe_id, "wrong patient", clerk)
    book(3000, "chf", start=timezone.now())
    totals = as_clerk.get("/desk/").context["totals"]
    chf, eur = (total.sums for total in totals)
    assert (eur.expected, eur.received, eur.owed, eur.overpaid) == (25000, 17000, 13000, 5000)
    assert (chf.currency, chf.expected, chf.owed) == ("chf", 3000, 3000)
    assert totals[1].ways == [("En ligne", 15000), ("Espèces", 2000)]
    assert due.amount_owed == 5000


def test_the_foot_tells_what_is_on_its_way(as_clerk: Client, today: Payment) -> None:
    deliver(Story(today).processing())
    [total] = as_clerk.get("/desk/").context["totals"]
    assert (total.sums.expected, total.sums.on_its_way, total.sums.owed, total.ways) == (5000, 5000, 0, [])


def test_tabs_come_with_the_foot_and_the_count_to_review(as_clerk: Client, today: Payment) -> None:
    html = part(as_clerk, "/desk/", "tabs")
    for name in ("till", "to-review-nav", "to-review-dock"):
        assert f'id="{name}" hx-swap-oob="true"' in html, name


@pytest.mark.parametrize(
    ("way", "shown"),
    [
        ("qr", 'class="qr"'),
        ("link", 'id="pay-link"'),
        ("cash", 'name="received"'),
        ("cheque", 'name="deposited"'),
        ("insurer", 'name="method" value="insurer"'),
        ("gold", 'class="qr"'),
    ],
)
def test_each_way_to_pay_has_its_panel(as_clerk: Client, today: Payment, way: str, shown: str) -> None:
    target = f"payment-{today.public_id}-money"
    assert shown in part(as_clerk, f"{beside(today)}&way={way}", target)


def test_money_taken_in_the_sheet_is_recorded_once_and_answered_with_the_sheets_part(
    as_clerk: Client, today: Payment
) -> None:
    target = f"payment-{today.public_id}-money"
    panel = part(as_clerk, f"{beside(today)}&way=cash", target)
    key = re.search(r'name="key" value="(\w+)"', panel)
    assert key
    form = {"method": "cash", "amount": "20,00", "received": "50,00", "key": key[1], "currency": "eur"}
    headers = {**CLICKED, "HX-Target": target, "HX-Current-URL": f"http://testserver{beside(today)}"}
    for _ in range(2):
        answer = as_clerk.post(f"{desk_page_of(today)}take/", form, headers=headers, follow=True)
        assert answer.content.decode().startswith(f'<div class="money" id="{target}"')
    today.refresh_from_db()
    assert today.amount_received == 2000


def test_an_amount_that_is_too_large_is_refused_beside_its_field(as_clerk: Client, today: Payment) -> None:
    target = f"payment-{today.public_id}-money"
    form = {"method": "cash", "amount": "70", "currency": "eur", "note": "Billet de 100"}
    answer = as_clerk.post(f"{desk_page_of(today)}take/", form, headers={**CLICKED, "HX-Target": target})
    html = answer.content.decode()
    assert answer.status_code == 422
    assert 'id="take_amount_error"' in html
    assert "Billet de 100" in html


def test_who_pays_next_is_offered_once_nothing_is_owed(as_clerk: Client, clerk: User, book: Book) -> None:
    first, second = (book(start=timezone.now() + datetime.timedelta(minutes=each)) for each in (0, 30))
    target = f"payment-{first.public_id}-money"
    assert second.appointment.reference not in part(as_clerk, beside(first), target)
    till.take_payment(first, 5000, Method.CASH, clerk, key=uuid4().hex)
    assert f"appointment={second.appointment.reference}" in part(as_clerk, beside(first), target)


@pytest.mark.parametrize("page", ["refund", "cancel", "take", "receipt"])
def test_a_page_in_a_dialog_is_its_content_alone(as_clerk: Client, today: Payment, page: str) -> None:
    deliver(Story(today).completed(amount=3000))
    path = f"/payments/{today.public_id}/receipt/" if page == "receipt" else f"{desk_page_of(today)}{page}/"
    assert "<html" in as_clerk.get(path).content.decode()
    assert "<html" not in part(as_clerk, path, "dialog")


def test_a_dialog_that_has_done_its_work_is_answered_with_the_sheet(as_clerk: Client, today: Payment) -> None:
    headers = {**CLICKED, "HX-Target": "dialog", "HX-Current-URL": "http://testserver/desk/?period=week"}
    form = {"fee": "0", "currency": "eur"}
    answer = as_clerk.post(f"{desk_page_of(today)}cancel/", form, headers=headers, follow=True)
    assert answer["HX-Retarget"] == "#sheet"
    assert "Annulé" in text_of(answer)
    assert "period=week" in answer.content.decode()


def test_a_note_is_saved_beside_the_list(as_clerk: Client, today: Payment) -> None:
    headers = {**CLICKED, "HX-Target": f"payment-{today.public_id}-notes"}
    path = f"{desk_page_of(today)}notes/"
    assert as_clerk.post(path, {"text": ""}, headers=headers).status_code == 422
    answer = as_clerk.post(path, {"text": "Reçu papier", "key": str(uuid4())}, headers=headers)
    assert answer.content.decode().startswith('<section class="notes"')
    assert "Reçu papier" in text_of(answer)
    assert Note.objects.get().text == "Reçu papier"


def test_what_staff_are_pushed_is_small_and_names_nobody(today: Payment, patient: User) -> None:
    """Each push goes to all open pages of staff, so it has the row's parts alone; the wire asks for names itself."""
    deliver(Story(today).completed())
    staffs = render_entry(FeedEntry.objects.filter(feed__audience="staff").latest("seq"), "fr")
    patients = render_entry(FeedEntry.objects.filter(feed__audience=f"patient.{patient.pk}").latest("seq"), "fr")
    assert "data-news" in staffs
    assert "Roux" not in staffs
    assert len(staffs) < 1300 < len(patients)
    assert re.findall(r' id="payment-[\w-]{36}(-?\w*)"', staffs) == ["", "-owed"]


def test_the_news_name_who_paid_how_much_and_for_what(
    as_clerk: Client, book: Book, clerk: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    today, tomorrow = book(start=timezone.now()), book()
    till.take_payment(today, 2000, Method.CASH, clerk, key=uuid4().hex)
    till.take_payment(today, 3000, Method.CASH, clerk, key=uuid4().hex)
    declined = Story(tomorrow)
    deliver(declined.failed())
    deliver(declined.completed())
    head = Feed.objects.get(audience="staff").head
    with translation.override("en"), django_assert_max_num_queries(1):
        news = newest_news(head)
    assert [(each.words, each.is_of_today) for each in news] == [
        ("Camille Roux paid €50.00", False),
        ("Camille Roux: Payment failed", False),
        ("Camille Roux paid €30.00", True),
        ("Camille Roux paid €20.00", True),
    ]
    page = text_of(as_clerk.get("/desk/news/"))
    assert "Camille Roux a payé 50,00\xa0€".replace("\xa0", " ") in page.replace("\xa0", " ")
    start = timezone.localtime(tomorrow.appointment.start)
    with translation.override("fr"):
        assert f"· {date_format(start, 'D j N')}, {start:%H:%M} Dr Anne Mercier" in page


def test_a_booking_and_an_opened_or_closed_payment_page_are_no_news(book: Book) -> None:
    story = Story(book())
    deliver(story.expired())
    assert newest_news(Feed.objects.get(audience="staff").head) == []


def test_a_click_keeps_the_session_and_counts_as_a_look_but_no_refresh_does(
    as_clerk: Client, today: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "NOTE_EVERY", 0)
    extended: list[object] = []
    monkeypatch.setattr(sessions, "_extend", extended.append)
    as_clerk.get("/desk/", headers={"HX-Request": "true", "HX-Target": "tabs"})
    assert extended == []
    part(as_clerk, beside(today), "sheet")
    assert len(extended) == 1
    assert RecordView.objects.count() == 1


def test_somebody_signed_out_is_led_to_sign_in_by_a_click_and_not_by_a_refresh(today: Payment) -> None:
    by_itself = Client().get(beside(today), headers={"HX-Request": "true", "HX-Target": "tabs"})
    clicked = Client().get(beside(today), headers={**CLICKED, "HX-Target": "sheet"})
    assert by_itself.status_code == 401
    assert clicked["HX-Redirect"].startswith("/login/?next=/desk/")


def test_a_phone_number_finds_its_patient(as_clerk: Client, book: Book, patient: User) -> None:
    patient.phone = "06 39 98 01 42"
    patient.save()
    found = book()
    book(patient=User.objects.create_user("other"))
    for text in ("+33 6 39 98 01 42", "399801"):
        assert [row.pk for row in as_clerk.get("/desk/", {"q": text}).context["payments"]] == [found.pk], text


def test_the_agenda_puts_appointments_side_by_side_at_their_hour(as_clerk: Client, book: Book) -> None:
    early = timezone.localtime().replace(hour=7, minute=10)
    one, beside_it, later = (book(start=early + datetime.timedelta(minutes=each)) for each in (0, 10, 60))
    for payment in (one, beside_it, later):
        payment.appointment.end = payment.appointment.start + datetime.timedelta(minutes=30)
    agenda = agenda_of([later, one, beside_it])
    [column] = agenda.columns
    assert agenda.hours == range(7, 18)
    assert [(block.hour, block.minute, block.length, block.lane) for block in column.blocks] == [
        (7, 10, 30, 1), (7, 20, 30, 2), (8, 10, 30, 1),
    ]  # fmt: skip
    html = as_clerk.get("/desk/?view=agenda").content.decode()
    assert html.count('class="block"') == 3
    assert 'class="row"' not in html


def test_only_those_who_may_take_the_list_away_see_its_downloads_beside_an_appointment(
    as_clerk: Client, clerk: User, today: Payment
) -> None:
    assert "export.csv" not in as_clerk.get(beside(today)).content.decode()
    clerk.groups.add(Group.objects.get(name="accountant"))
    assert "export.csv" in as_clerk.get(beside(today)).content.decode()


def test_a_page_reached_from_the_list_leads_back_to_it_with_its_filters(as_clerk: Client, today: Payment) -> None:
    collect = f"{desk_page_of(today)}collect/"
    came_from = f"http://testserver/desk/?status=to_pay&appointment={today.appointment.reference}"
    html = as_clerk.get(collect, headers={"Referer": came_from}).content.decode()
    assert f'class="back" href="/desk/?status=to_pay&amp;appointment={today.appointment.reference}"' in html
    html = as_clerk.get(collect, headers={"Referer": "http://evil.example/desk/?x"}).content.decode()
    assert f'class="back" href="{desk_page_of(today)}"' in html


def test_a_patient_sees_an_arrival_in_the_history(as_patient: Client, today: Payment, clerk: User) -> None:
    today.appointment.note_arrival(arrived=True, actor=clerk)
    assert "Arrivé" in text_of(as_patient.get(page_of(today)))
