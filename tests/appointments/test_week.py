"""Tests of booking a week of appointments at once in the admin."""

import datetime
from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from accounts.models import User
from appointments import week
from appointments.models import Appointment, Practitioner
from payments.models import Payment
from tests.payments.clients import text_of
from tests.payments.conftest import book, patient, practitioner

__all__ = ["book", "patient", "practitioner"]
pytestmark = pytest.mark.django_db
URL = "/admin/clinic_appointments/appointment/week/"
Book = Callable[..., Payment]


@pytest.fixture
def manager() -> User:
    user = User.objects.create_user("manager", is_staff=True)
    user.groups.add(Group.objects.get(name="manager"))
    return user


@pytest.fixture
def as_manager(manager: User) -> Client:
    client = Client()
    client.force_login(manager)
    return client


@pytest.fixture
def monday() -> datetime.date:
    today = timezone.localdate()
    return today + datetime.timedelta(days=14 - today.weekday())


@pytest.fixture
def filled(practitioner: Practitioner, patient: User, monday: datetime.date) -> dict[str, object]:
    hugo = User.objects.create_user("hugo", email="hugo@example.com", first_name="Hugo", last_name="Lefèvre")
    assert hugo.pk
    return {
        "practitioner": practitioner.pk,
        "service": "Séance",
        "minutes": "30",
        "price": "25,50",
        "currency": "eur",
        "week": f"{monday + datetime.timedelta(days=2):%d/%m/%Y}",
        "weekdays": ["0", "1"],
        "first": "09:00",
        "last": "10:15",
        "lines": "",
    }


def at(day: datetime.date, hour: int, minute: int = 0) -> datetime.datetime:
    return timezone.make_aware(datetime.datetime.combine(day, datetime.time(hour, minute)))


def test_free_times_are_proposed_around_what_is_booked(
    as_manager: Client, filled: dict[str, object], book: Book, monday: datetime.date
) -> None:
    book(start=at(monday, 9, 15), end=at(monday, 9, 45))
    lines = f"{monday} 08:00 hugo\n{monday + datetime.timedelta(days=1)} 09:00 hugo"
    form = as_manager.post(URL, {**filled, "lines": lines, "propose": "1"}).context["form"]
    tuesday = monday + datetime.timedelta(days=1)
    assert form["lines"].value().split("\n") == [f"{monday} 08:00 hugo", f"{tuesday} 09:00 hugo", f"{tuesday} 09:30 "]


def test_a_week_is_shown_first_then_booked_and_billed_once(
    as_manager: Client, manager: User, filled: dict[str, object], monday: datetime.date
) -> None:
    lines = f"{monday} 09:00 Camille Roux\n{monday:%d/%m/%Y};9h30;HUGO@example.com\n{monday} 10:00 \n"
    lines += f"{monday} 11:00 Lefèvre Hugo"
    page = as_manager.post(URL, {**filled, "lines": lines, "preview": "1"})
    assert "Réserver 3 rendez-vous" in page.content.decode()
    assert not Appointment.objects.exists()
    answer = as_manager.post(URL, {**filled, "lines": lines, "book": "1"}, follow=True)
    assert "3 rendez-vous réservés" in text_of(answer)
    booked = Appointment.objects.order_by("start")
    assert [(one.start, one.patient.username) for one in booked] == [
        (at(monday, 9), "camille"), (at(monday, 9, 30), "hugo"), (at(monday, 11), "hugo"),
    ]  # fmt: skip
    payment = Payment.objects.get(appointment=booked[0])
    assert (payment.amount_due, payment.currency, payment.changes.get().actor) == (2550, "eur", manager)
    assert LogEntry.objects.filter(user=manager).count() == 3
    answer = as_manager.post(URL, {**filled, "lines": lines, "book": "1"}, follow=True)
    assert "3 étaient déjà réservés" in text_of(answer)
    assert Appointment.objects.count() == 3


def test_each_problem_is_told_beside_its_line_and_nothing_is_booked(
    as_manager: Client, filled: dict[str, object], book: Book, monday: datetime.date, patient: User
) -> None:
    twin = User.objects.create_user("camille2", first_name="Camille", last_name="Roux")
    taken = book(start=at(monday, 9), end=at(monday, 9, 30), patient=twin).appointment
    colleague = Practitioner.objects.create(name="Julie Lambert", specialty="Kinésithérapie")
    away = book(start=at(monday, 14), end=at(monday, 15), practitioner=colleague).appointment
    expected = {
        "demain 9:00 hugo": "Écrivez une date",
        f"{monday} 25:00 hugo": "Écrivez une date",
        f"{monday} 10:00 personne": "Personne ne porte ce nom",
        f"{monday} 10:00 Camille Roux": "Plusieurs personnes",
        f"{monday} 09:15 hugo": taken.reference,
        f"{monday} 14:30 camille": away.reference,
        "2020-01-01 09:00 hugo": "passée",
        f"{monday} 16:00 hugo": "",
        f"{monday} 16:15 camille": "ligne 8",
    }
    page = as_manager.post(URL, {**filled, "lines": "\r\n".join(expected), "book": "1"})
    for line, problem in zip(page.context["lines"], expected.values(), strict=True):
        assert problem in line.problem
        assert bool(problem) == bool(line.problem), line
    assert "8 lignes" in text_of(page)
    assert Appointment.objects.count() == 2


def test_a_time_that_was_taken_meanwhile_is_not_booked_twice(
    filled: dict[str, object], practitioner: Practitioner, patient: User, monday: datetime.date, book: Book
) -> None:
    terms = week.Terms(practitioner, "Séance", 30, 2500, "eur")
    (line,) = week.read(f"{monday} 09:00 hugo", terms)
    assert line.bookable
    book(start=at(monday, 9), end=at(monday, 9, 30))
    assert week.book(line, terms, patient) is None
    assert Appointment.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "wrong"), [("price", "gratuit"), ("price", "12,345"), ("last", "08:00"), ("minutes", "0"), ("week", "x")]
)
def test_what_is_filled_in_wrongly_is_marked(
    as_manager: Client, filled: dict[str, object], monday: datetime.date, field: str, wrong: str
) -> None:
    page = as_manager.post(URL, {**filled, "lines": f"{monday} 09:00 hugo", field: wrong, "book": "1"})
    assert list(page.context["form"].errors) == [field]
    assert not Appointment.objects.exists()


@pytest.mark.parametrize(
    ("price", "currency", "said"),
    [("0,30", "eur", "0,50"), ("49", "jpy", "50"), ("1500000,00", "eur", "999"), ("12,345", "kwd", "0,010")],
)
def test_a_price_that_stripe_would_refuse_is_not_booked(
    as_manager: Client, filled: dict[str, object], monday: datetime.date, price: str, currency: str, said: str
) -> None:
    fields = {**filled, "price": price, "currency": currency, "lines": f"{monday} 09:00 hugo", "book": "1"}
    page = as_manager.post(URL, fields)
    assert said in str(page.context["form"].errors["price"])
    assert not Appointment.objects.exists()


def test_a_week_without_a_price_is_booked_and_owes_nothing(
    as_manager: Client, filled: dict[str, object], monday: datetime.date
) -> None:
    as_manager.post(URL, {**filled, "price": "0", "lines": f"{monday} 09:00 hugo", "book": "1"})
    assert Payment.objects.get().status == "void"


def test_only_who_may_add_appointments_books_a_week(client: Client, as_manager: Client) -> None:
    assert URL in as_manager.get("/admin/clinic_appointments/appointment/").content.decode()
    clerk = User.objects.create_user("desk", is_staff=True)
    clerk.groups.add(Group.objects.get(name="front desk"))
    client.force_login(clerk)
    assert client.get(URL).status_code == 403
