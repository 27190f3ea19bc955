"""Tests of appointments on days on which the clocks change in Paris.

28 March 2027 has no time 02:30, and 31 October 2027 has the time 02:30 twice.
"""

import datetime
from collections.abc import Callable, Iterator

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from accounts.models import User
from appointments import week
from appointments.models import Appointment, Practitioner
from payments.models import Payment
from tests.appointments.test_week import URL, as_manager, filled, manager
from tests.payments.clients import text_of
from tests.payments.conftest import book, patient, practitioner

__all__ = ["as_manager", "book", "filled", "manager", "patient", "practitioner"]
pytestmark = pytest.mark.django_db
SPRING, AUTUMN = datetime.date(2027, 3, 28), datetime.date(2027, 10, 31)
MIDNIGHT, DAWN = datetime.time(0), datetime.time(6)


@pytest.fixture(autouse=True)
def winter() -> Iterator[None]:
    with time_machine.travel(datetime.datetime(2027, 3, 20, 12, tzinfo=datetime.UTC)):
        yield


@pytest.fixture
def monday() -> datetime.date:
    return SPRING - datetime.timedelta(days=6)


def minutes(appointment: Appointment) -> float:
    appointment.refresh_from_db()
    return (appointment.end - appointment.start).total_seconds() / 60


def utc(day: datetime.date, clock: str) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time.fromisoformat(clock), datetime.UTC)


@pytest.mark.parametrize("button", ["preview", "book"])
@pytest.mark.parametrize("day", [SPRING, AUTUMN], ids=["skipped", "twice"])
def test_a_time_that_is_skipped_or_comes_twice_is_refused_and_nothing_is_booked(
    as_manager: Client, filled: dict[str, object], day: datetime.date, button: str
) -> None:
    lines = f"{day} 01:00 camille\n{day} 02:30 hugo\n{day} 09:00 hugo"
    page = as_manager.post(URL, {**filled, "lines": lines, button: "1"})
    assert page.status_code == 200
    assert [line.number for line in page.context["lines"] if line.problem] == [2]
    assert f"{day} 02:30 hugo" in text_of(page)
    assert " ".join(page.context["lines"][1].problem.split()) in text_of(page)
    assert not Appointment.objects.exists()


@pytest.mark.parametrize("day", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_an_appointment_across_the_change_is_as_long_as_was_asked(
    as_manager: Client, filled: dict[str, object], day: datetime.date
) -> None:
    lines = f"{day} 01:45 camille\n{day} 03:30 hugo"
    as_manager.post(URL, {**filled, "lines": lines, "book": "1"})
    assert [minutes(appointment) for appointment in Appointment.objects.all()] == [30, 30]


def test_lines_that_overlap_only_because_an_hour_is_skipped_are_refused(
    practitioner: Practitioner, patient: User
) -> None:
    terms = week.Terms(practitioner, "Séance", 60, 2500, "eur")
    lines = week.read(f"{SPRING} 01:30 camille\n{SPRING} 03:00 camille", terms)
    assert [bool(line.problem) for line in lines] == [False, True]


def test_lines_that_only_look_close_because_an_hour_comes_twice_are_taken(
    practitioner: Practitioner, patient: User
) -> None:
    terms = week.Terms(practitioner, "Séance", 150, 2500, "eur")
    lines = week.read(f"{AUTUMN} 01:30 camille\n{AUTUMN} 03:00 camille", terms)
    assert [line.problem for line in lines] == ["", ""]


@pytest.mark.parametrize(
    ("day", "length", "expected"),
    [
        (SPRING, 60, ["00:00", "01:00", "03:00", "04:00", "05:00"]),
        (SPRING, 45, ["00:00", "00:45", "01:30", "03:15", "04:00", "04:45"]),
        (AUTUMN, 60, ["00:00", "01:00", "03:00", "04:00", "05:00"]),
        (AUTUMN, 90, ["00:00", "01:30", "03:30"]),
    ],
)
def test_proposed_times_exist_once_and_do_not_overlap(
    practitioner: Practitioner, patient: User, day: datetime.date, length: int, expected: list[str]
) -> None:
    terms = week.Terms(practitioner, "Séance", length, 2500, "eur")
    found = list(week.free_times(terms, [day], MIDNIGHT, DAWN))
    assert [f"{timezone.localtime(start):%H:%M}" for start in found] == expected
    lines = "\n".join(f"{timezone.localtime(start):%Y-%m-%d %H:%M} camille" for start in found)
    assert [line.problem for line in week.read(lines, terms)] == [""] * len(found)
    assert week.times_in(lines) == set(found)


@pytest.mark.parametrize("day", [SPRING, AUTUMN], ids=["skipped", "twice"])
def test_hours_that_begin_or_end_at_such_a_time_are_not_exceeded(
    practitioner: Practitioner, day: datetime.date
) -> None:
    terms = week.Terms(practitioner, "Séance", 30, 2500, "eur")
    early = list(week.free_times(terms, [day], MIDNIGHT, datetime.time(2, 30)))
    late = list(week.free_times(terms, [day], datetime.time(2, 30), DAWN))
    assert all(timezone.localtime(start + terms.length).time() <= datetime.time(2, 30) for start in early)
    assert all(timezone.localtime(start).time() >= datetime.time(2, 30) for start in late)
    assert early
    assert late


@pytest.mark.parametrize("day", [SPRING, AUTUMN, datetime.date.min, datetime.date.max], ids=str)
def test_the_admins_form_refuses_such_a_time(
    as_manager: Client, practitioner: Practitioner, patient: User, day: datetime.date
) -> None:
    shown = f"{day:%d/%m}/{day.year:04}"
    fields = {"patient": patient.pk, "practitioner": practitioner.pk, "service": "Séance", "status": "booked",
              "price_amount": "25", "deposit_amount": "0", "fee_amount": "0", "no_show_fee_amount": "0",
              "prepayment": "nothing", "currency": "eur",
              "start_0": shown, "start_1": "02:30", "end_0": shown, "end_1": "04:00"}  # fmt: skip
    page = as_manager.post("/admin/clinic_appointments/appointment/add/", fields)
    assert list(page.context["adminform"].form.errors) == ["start"]
    assert not Appointment.objects.exists()


@pytest.mark.parametrize("fold", [0, 1])
def test_the_admin_saves_an_appointment_that_stands_in_an_hour_that_clocks_show_twice(
    as_manager: Client, practitioner: Practitioner, patient: User, fold: int
) -> None:
    start = datetime.datetime.combine(AUTUMN, datetime.time(2, 30, fold=fold), timezone.get_current_timezone())
    start = start.astimezone(datetime.UTC)
    end = start + datetime.timedelta(minutes=30)
    appointment = Appointment.objects.create(
        patient=patient, practitioner=practitioner, service="Séance", start=start, end=end, price_amount=2500
    )
    address = f"/admin/clinic_appointments/appointment/{appointment.pk}/change/"
    form = as_manager.get(address).context["adminform"].form
    fields = {widget.html_name: widget.value() for widget in form if widget.value() is not None}
    for name in ("start", "end"):
        day, time = form.fields[name].widget.decompress(getattr(appointment, name))
        fields |= {f"{name}_0": f"{day:%d/%m/%Y}", f"{name}_1": f"{time:%H:%M:%S}"}
    assert as_manager.post(address, {**fields, "service": "Bilan"}).status_code == 302
    appointment.refresh_from_db()
    assert (appointment.service, appointment.start, appointment.end) == ("Bilan", start, end)


@pytest.mark.parametrize("day", ["0001-01-01 00:00", "9999-12-31 23:59"])
def test_a_date_at_the_edge_of_the_calendar_is_refused(as_manager: Client, filled: dict[str, object], day: str) -> None:
    page = as_manager.post(URL, {**filled, "lines": f"{day} hugo", "book": "1"})
    assert [bool(line.problem) for line in page.context["lines"]] == [True]


@pytest.mark.parametrize("day", ["01/01/0001", "31/12/9999"])
def test_a_week_at_the_edge_of_the_calendar_is_refused(as_manager: Client, filled: dict[str, object], day: str) -> None:
    page = as_manager.post(URL, {**filled, "week": day, "propose": "1"})
    assert list(page.context["form"].errors) == ["week"]


@pytest.mark.parametrize("day", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_the_day_list_shows_each_appointment_of_a_short_or_long_day_once(
    book: Callable[..., Payment], day: datetime.date
) -> None:
    before, after = day - datetime.timedelta(days=1), day + datetime.timedelta(days=1)
    first = timezone.make_aware(datetime.datetime.combine(day, MIDNIGHT)).astimezone(datetime.UTC)
    end = timezone.make_aware(datetime.datetime.combine(after, MIDNIGHT)).astimezone(datetime.UTC)
    hours = (end - first) // datetime.timedelta(hours=1)
    booked = []
    for hour in range(-1, hours + 1):
        start = first + datetime.timedelta(hours=hour)
        booked.append(book(start=start, end=start + datetime.timedelta(minutes=30)))
    assert hours == (23 if day == SPRING else 25)
    listed = [Payment.objects.starting_between(each, each) for each in (before, day, after)]
    assert [list(found.order_by("appointment__start")) for found in listed] == [booked[:1], booked[1:-1], booked[-1:]]


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_the_day_list_answers_at_the_edge_of_the_calendar(as_manager: Client, day: str, period: str) -> None:
    assert as_manager.get("/desk/", {"day": day, "period": period}).status_code == 200
