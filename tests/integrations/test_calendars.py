"""Tests of the calendars that calendar programs fetch: what they say, who can read them, and when they end."""

import datetime
import io
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from icalendar import Calendar

from accounts.models import User
from appointments.calendar import Entry, to_ics
from appointments.models import Appointment, Practitioner
from integrations.models import CalendarLink
from payments.logs import JsonFormatter
from tests.payments.clients import text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def practitioner() -> Practitioner:
    return Practitioner.objects.create(name="Dr Mercier", specialty="Dermatology")


@pytest.fixture
def patient() -> User:
    return User.objects.create_user("camille", password="sesame", first_name="Camille", last_name="Roux")


@pytest.fixture
def manager() -> User:
    person = User.objects.create_user("manager", password="sesame", is_staff=True)
    person.groups.add(Group.objects.get(name="manager"))
    return person


@pytest.fixture(autouse=True)
def visit(patient: User, practitioner: Practitioner) -> Appointment:
    return book(patient, practitioner, timezone.now() + datetime.timedelta(days=2))


def book(patient: User, practitioner: Practitioner, start: datetime.datetime) -> Appointment:
    end = start + datetime.timedelta(minutes=30)
    return Appointment.objects.create(
        patient=patient, practitioner=practitioner, service="Bilan", start=start, end=end, price_amount=5000
    )


def client_of(person: User) -> Client:
    client = Client(headers={"Accept-Language": "en"})
    client.force_login(person)
    return client


def made(answer: Any) -> str:
    """Return the path of the address that a page shows once."""
    return str(re.findall(r"<code>http://testserver(/calendar/cal-[\w-]{22}\.ics)</code>", answer.content.decode())[0])


@pytest.fixture
def address(patient: User) -> str:
    return made(client_of(patient).post("/calendar/", {"act": "make"}))


def events_at(path: str) -> list[Any]:
    return list(Calendar.from_ical(Client().get(path).content).walk("VEVENT"))


def test_a_patient_s_address_shows_the_appointments_without_names(address: str, visit: Appointment) -> None:
    content = Client().get(address).content.decode()
    (event,) = events_at(address)
    assert event["uid"] == f"{visit.reference}@testserver"
    assert event["dtstart"].dt == visit.start.replace(microsecond=0)
    assert b"DTSTART:" in Client().get(address).content  # UTC, so that no time zone is needed
    for word in ("Camille", "Roux", "Mercier", "Bilan", "5000"):
        assert word not in content


def test_an_address_is_shown_once_and_only_its_hash_is_stored(address: str, patient: User) -> None:
    token = address.split("/")[2].removesuffix(".ics")
    assert token not in client_of(patient).get("/calendar/").content.decode()
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM clinic_integrations_calendarlink")
        assert not [value for value in cursor.fetchone() if isinstance(value, str) and token in value]


def test_replaced_and_ended_addresses_show_nothing(address: str, patient: User) -> None:
    client = client_of(patient)
    newer = made(client.post("/calendar/", {"act": "make"}))
    assert (Client().get(address).status_code, Client().get(newer).status_code) == (404, 200)
    client.post("/calendar/", {"act": "end"})
    assert Client().get(newer).status_code == 404
    assert set(CalendarLink.objects.values_list("ended_by", flat=True)) == {patient.pk}


def test_the_address_of_a_closed_account_shows_nothing(address: str, patient: User) -> None:
    User.objects.filter(pk=patient.pk).update(is_active=False)
    assert Client().get(address).status_code == 404
    assert Client().get("/calendar/cal-0000000000000000000000.ics").status_code == 404


def test_moving_and_cancelling_keep_the_uid_and_raise_the_sequence(address: str, visit: Appointment) -> None:
    seen = [events_at(address)[0]]
    visit.start += datetime.timedelta(hours=1)
    visit.end += datetime.timedelta(hours=1)
    visit.save()
    seen.append(events_at(address)[0])
    visit.status = Appointment.Status.CANCELED
    visit.save()
    seen.append(events_at(address)[0])
    assert len({event["uid"] for event in seen}) == 1
    assert [event["sequence"] for event in seen] == sorted({event["sequence"] for event in seen})
    assert [event["status"] for event in seen] == ["CONFIRMED", "CONFIRMED", "CANCELLED"]
    for event in seen:
        assert event["last-modified"].dt == event["dtstamp"].dt
    assert seen[0]["last-modified"].dt <= seen[2]["last-modified"].dt


def test_a_program_that_has_the_newest_calendar_gets_304(address: str, visit: Appointment) -> None:
    first = Client().get(address)
    again = Client().get(address, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "private" in first["Cache-Control"]
    visit.status = Appointment.Status.CANCELED
    visit.save()
    assert Client().get(address, headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_a_calendar_has_a_bounded_time_and_two_queries(address: str, patient: User, practitioner: Practitioner) -> None:
    now = timezone.now()
    for days in (-91, -89, 399, 401):
        book(patient, practitioner, now + datetime.timedelta(days=days))
    with CaptureQueriesContext(connection) as queries:
        assert len(events_at(address)) == 3
    assert len(queries) == 2


def test_a_manager_makes_a_practitioner_s_address_with_or_without_names(
    manager: User, practitioner: Practitioner, patient: User
) -> None:
    client = client_of(manager)
    form = {"act": "make", "practitioner": str(practitioner.pk)}
    plain = made(client.post("/desk/calendars/", form))
    assert "Roux" not in Client().get(plain).content.decode()
    named = made(client.post("/desk/calendars/", form | {"names": "on"}))
    assert events_at(named)[0]["summary"] == "Camille Roux, Bilan"
    assert Client().get(plain).status_code == 404
    assert "It names patients and services." in text_of(client.get("/desk/calendars/"))
    client.post("/desk/calendars/", form | {"act": "end"})
    assert Client().get(named).status_code == 404


@pytest.mark.parametrize("posted", ["", "x", "0", "9" * 30, "١"])
def test_a_practitioner_who_does_not_exist_is_not_found(manager: User, posted: str) -> None:
    answer = client_of(manager).post("/desk/calendars/", {"act": "make", "practitioner": posted})
    assert answer.status_code == 404


def test_lines_are_folded_by_octets_and_never_inside_a_character(visit: Appointment) -> None:
    for length in range(50, 80):
        entry = Entry(visit, "x" * length + "é" * 40, 1, timezone.now())
        content = to_ics([entry], where="Clinique", host="testserver")
        assert max(len(line) for line in content.split(b"\r\n")) <= 75
        for line in content.split(b"\r\n"):
            line.decode()  # raises if a character was split
        assert Calendar.from_ical(content).walk("VEVENT")[0]["summary"] == entry.title


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    handler, root = logging.StreamHandler(written := io.StringIO()), logging.getLogger()
    handler.setFormatter(JsonFormatter())
    root.addHandler(handler)
    yield written
    root.removeHandler(handler)


def test_no_token_of_a_calendar_reaches_the_log(address: str, log: io.StringIO) -> None:
    token = address.split("/")[2].removesuffix(".ics")
    for path in (f"{address}x", f"/x/?next={address}", f"/{token}"):
        assert Client().get(path).status_code == 404
    assert Client().post(address).status_code == 405
    logging.getLogger("payments.x").error("thing_happened", extra={"referer": f"http://testserver{address}"})
    assert "/calendar/***" in log.getvalue()
    assert token not in log.getvalue()
