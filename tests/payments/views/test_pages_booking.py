"""Tests of booking, changing and moving appointments at the front desk."""

import datetime
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from accounts.models import User
from appointments.models import Appointment, Practitioner, Prepayment, Service
from payments.models import Feed, Payment
from payments.models.feed import STAFF
from tests.payments.clients import client_of, desk_page_of, text_of
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
Book = Callable[..., Payment]
PAGE = "/desk/book/"


@pytest.fixture
def service(db: None) -> Service:
    return Service.objects.create(name="Bilan", minutes=45, price_amount=9000, deposit_amount=3000)


@pytest.fixture
def day() -> datetime.date:
    return timezone.localdate() + datetime.timedelta(days=7)


@pytest.fixture
def fields(patient: User, practitioner: Practitioner, service: Service, day: datetime.date) -> dict[str, Any]:
    """Return what the form posts to book this patient at 9:30, for the service's price."""
    return {
        "book": "1", "key": str(uuid.uuid4()), "patient": str(patient.public_id), "practitioner": practitioner.pk,
        "service": service.pk, "day": day.isoformat(), "time": "09:30", "minutes": "45", "price": "90,00",
        "deposit": "30", "currency": "eur",
    }  # fmt: skip


def newcomer(fields: dict[str, Any], **about: str) -> dict[str, Any]:
    """Return what the form posts to book a new patient, about whom `about` says more."""
    return {**fields, "patient": "", "new": "1", "first_name": "Léa", "last_name": "Colin", **about}


def at(day: datetime.date, clock: str) -> datetime.datetime:
    return timezone.make_aware(datetime.datetime.combine(day, datetime.time.fromisoformat(clock)))


def test_a_booking_is_saved_as_it_was_typed_and_told_to_the_screens(
    as_clerk: Client, clerk: User, patient: User, fields: dict[str, Any], day: datetime.date
) -> None:
    answer = as_clerk.post(PAGE, fields, follow=True)
    booked = Appointment.objects.get()
    assert answer.redirect_chain == [(f"/desk/{booked.reference}/", 302)]
    assert (booked.patient, booked.service, booked.start) == (patient, "Bilan", at(day, "09:30"))
    assert (booked.end - booked.start, booked.price_amount, booked.deposit_amount) == (
        datetime.timedelta(minutes=45), 9000, 3000,
    )  # fmt: skip
    assert booked.payment.changes.get().actor == clerk
    assert Feed.objects.get(audience=STAFF).head == 1


def test_a_form_sent_twice_books_once(as_clerk: Client, fields: dict[str, Any]) -> None:
    for sent in (newcomer(fields), newcomer(fields)):
        assert as_clerk.post(PAGE, sent).status_code == 302
    assert Appointment.objects.count() == 1
    assert User.objects.filter(last_name="Colin").count() == 1


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"patient": ""}, "patient"), ({"patient": str(uuid.uuid4())}, "patient"), ({"time": "25:00"}, "time"),
        ({"day": "2026-02-30"}, "day"), ({"day": "9999-12-31"}, "day"), ({"minutes": "0"}, "minutes"),
        ({"price": "0,30", "deposit": ""}, "price"), ({"price": "gratuit"}, "price"), ({"deposit": "91"}, "deposit"),
        ({"service": "0"}, "service"), ({"practitioner": ""}, "practitioner"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_beside_its_field(
    as_clerk: Client, fields: dict[str, Any], changed: dict[str, str], field: str
) -> None:
    answer = as_clerk.post(PAGE, fields | changed)
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    assert not Appointment.objects.exists()


@pytest.mark.parametrize("whose", ["practitioner", "patient"])
def test_an_overlap_is_refused_until_it_is_confirmed(
    as_clerk: Client, book: Book, fields: dict[str, Any], day: datetime.date, whose: str
) -> None:
    other: dict[str, object] = {"patient": User.objects.create_user("hugo", first_name="Hugo")}
    if whose == "patient":
        other = {"practitioner": Practitioner.objects.create(name="Dr Haddad")}
    booked = book(start=at(day, "09:00"), end=at(day, "09:31"), **other).appointment
    answer = as_clerk.post(PAGE, fields)
    assert answer.status_code == 422
    assert "09:00–09:31" in text_of(answer)
    confirmed = answer.context["form"]["confirmed"].value()
    assert confirmed == booked.reference
    later = book(start=at(day, "10:00"), end=at(day, "10:20"), **other).appointment
    assert as_clerk.post(PAGE, fields | {"confirmed": confirmed}).status_code == 422  # there is another one now
    both = f"{booked.reference} {later.reference}"
    assert as_clerk.post(PAGE, fields | {"confirmed": both}).status_code == 302


def test_neighbours_and_canceled_appointments_do_not_overlap(
    as_clerk: Client, book: Book, fields: dict[str, Any], day: datetime.date
) -> None:
    book(start=at(day, "09:00"), end=at(day, "09:30"))
    book(start=at(day, "09:30"), end=at(day, "10:15"), status="canceled")
    book(start=at(day, "10:15"), end=at(day, "10:30"))
    assert as_clerk.post(PAGE, fields).status_code == 302


def test_a_new_patient_needs_a_name_alone(as_clerk: Client, fields: dict[str, Any]) -> None:
    assert as_clerk.post(PAGE, newcomer(fields, last_name="")).status_code == 422
    assert as_clerk.post(PAGE, newcomer(fields)).status_code == 302
    made = User.objects.get(last_name="Colin")
    assert (made.email, made.is_staff, made.has_usable_password()) == ("", False, False)
    assert Appointment.objects.get().patient == made


@pytest.mark.parametrize(
    "about",
    [
        {"first_name": "camille", "last_name": "ROUX"},
        {"first_name": "Roux", "last_name": "Camille"},
        {"email": "CAMILLE@example.com"},
        {"phone": "+33 6 39 98 01 42"},
        {"last_name": "Roux", "birth_date": "1980-05-04"},
    ],
    ids=["name", "swapped name", "e-mail", "phone", "birth date"],
)
def test_a_likely_duplicate_is_shown_before_a_patient_is_made(
    as_clerk: Client, patient: User, fields: dict[str, Any], about: dict[str, str]
) -> None:
    User.objects.filter(pk=patient.pk).update(phone="06 39 98 01 42", birth_date=datetime.date(1980, 5, 4))
    sent = newcomer(fields, **about)
    answer = as_clerk.post(PAGE, sent)
    assert answer.status_code == 422
    assert User.objects.count() == 2  # with the clerk
    assert list(answer.context["alike"]) == [patient]
    assert f'value="{patient.public_id}" id="pick-' in answer.content.decode()
    if "email" in about:
        assert "Un autre compte a cette adresse e-mail" in text_of(answer), answer.context["newcomer"].errors
        return
    assert as_clerk.post(PAGE, sent | {"create_anyway": answer.context["alike_keys"]}).status_code == 302


def test_the_form_fills_itself_further(
    as_clerk: Client, patient: User, fields: dict[str, Any], service: Service
) -> None:
    del fields["book"]
    found = as_clerk.post(PAGE, fields | {"patient": "", "q": "roux cam", "price": ""})
    assert list(found.context["matches"]) == [patient]
    picked = as_clerk.post(PAGE, fields | {"patient": "", "pick": str(patient.public_id)})
    assert picked.context["patient"] == patient
    filled = as_clerk.post(PAGE, fields | {"minutes": "30", "price": "1", "filled_for": ""})
    assert [filled.context["form"][name].value() for name in ("minutes", "price")] == [45, "90,00"]
    kept = as_clerk.post(PAGE, fields | {"price": "80", "filled_for": str(service.pk)})
    assert kept.context["form"]["price"].value() == "80"
    chosen = as_clerk.post(PAGE, fields | {"at": "11:00"})
    assert chosen.context["form"]["time"].value() == "11:00"
    assert not Appointment.objects.exists()
    assert not [*picked.context["form"].errors, *filled.context["form"].errors]


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("  Anne Marie  Colin ", {"first_name": "Anne Marie", "last_name": "Colin"}),
        ("Colin", {"first_name": "", "last_name": "Colin"}),
        ("06 39 98 01 42", {"phone": "06 39 98 01 42"}),
        ("lea@example.com", {"email": "lea@example.com"}),
    ],
)
def test_a_search_in_vain_fills_in_the_new_patient(
    as_clerk: Client, fields: dict[str, Any], text: str, filled: dict[str, str]
) -> None:
    del fields["book"]
    shown = as_clerk.post(PAGE, fields | {"patient": "", "q": text, "new": "first"}).context["newcomer"]
    assert {name: shown[name].value() for name in filled} == filled
    again = as_clerk.post(PAGE, newcomer(fields, at="11:00")).context["newcomer"]
    assert again["last_name"].value() == "Colin"


def test_a_service_says_what_is_asked_for_in_advance(
    as_clerk: Client, fields: dict[str, Any], service: Service
) -> None:
    service.prepayment, service.no_show_fee_amount = Prepayment.CARD, 2500
    service.save()
    assert as_clerk.post(PAGE, fields).status_code == 302
    booked = Appointment.objects.get()
    assert (booked.prepayment, booked.no_show_fee_amount) == (Prepayment.CARD, 2500)


@pytest.mark.parametrize(("prepayment", "field"), [("deposit", "deposit_amount"), ("card", "no_show_fee_amount")])
def test_a_service_names_the_amount_that_it_asks_for(admin_client: Client, prepayment: str, field: str) -> None:
    sent = {"name": "Bilan", "minutes": "45", "price_amount": "90", "deposit_amount": "0", "no_show_fee_amount": "0",
            "currency": "eur", "active": "on", "prepayment": prepayment}  # fmt: skip
    path = "/admin/clinic_appointments/service/add/"
    assert list(admin_client.post(path, sent).context["adminform"].form.errors) == [field]
    assert admin_client.post(path, sent | {field: "25"}).status_code == 302
    assert getattr(Service.objects.get(), field) == 2500


def test_free_times_leave_out_what_is_taken(
    as_clerk: Client, book: Book, fields: dict[str, Any], day: datetime.date, practitioner: Practitioner
) -> None:
    book(start=at(day, "09:30"), end=at(day, "10:15"))
    shown = as_clerk.get(PAGE, {"day": day.isoformat(), "practitioner": str(practitioner.pk)})
    free = [f"{timezone.localtime(time):%H:%M}" for time in shown.context["free"]]
    assert free[:4] == ["08:00", "08:30", "09:00", "10:30"]


def changes(payment: Payment, **changed: Any) -> dict[str, Any]:
    """Return what the form of a booked appointment posts if only the fields `changed` are changed."""
    start = timezone.localtime(payment.appointment.start)
    return {
        "practitioner": payment.appointment.practitioner_id, "service": "", "day": f"{start:%Y-%m-%d}",
        "time": f"{start:%H:%M:%S.%f}", "minutes": "30", "price": "50", "deposit": "0", "currency": "eur", **changed,
    }  # fmt: skip


@pytest.fixture
def visit(book: Book, day: datetime.date) -> Payment:
    return book(start=at(day, "14:00"), end=at(day, "14:30"))


def test_an_appointment_moves_to_another_time_and_practitioner(
    as_clerk: Client, visit: Payment, day: datetime.date
) -> None:
    other = Practitioner.objects.create(name="Dr Haddad")
    before = Feed.objects.get(audience=STAFF).head
    answer = as_clerk.post(f"{desk_page_of(visit)}change/", changes(visit, time="16:15", practitioner=other.pk))
    assert answer.status_code == 302
    visit.appointment.refresh_from_db()
    assert (visit.appointment.start, visit.appointment.end) == (at(day, "16:15"), at(day, "16:45"))
    assert visit.appointment.practitioner == other
    assert Feed.objects.get(audience=STAFF).head > before


def test_a_move_proposes_the_free_times_of_the_day_that_is_typed(
    as_clerk: Client, visit: Payment, book: Book, day: datetime.date
) -> None:
    page, other_day = f"{desk_page_of(visit)}change/", day + datetime.timedelta(days=1)
    book(start=at(other_day, "09:00"), end=at(other_day, "10:00"), patient=User.objects.create_user("hugo"))
    assert as_clerk.get(page).context["free"]
    looked = as_clerk.post(page, changes(visit, day=other_day.isoformat(), look="1"))
    assert looked.status_code == 200
    free = [f"{timezone.localtime(time):%H:%M}" for time in looked.context["free"]]
    assert (free[0], "08:30" in free, "09:00" in free, "09:30" in free) == ("08:00", True, False, False)
    chosen = as_clerk.post(page, changes(visit, day=other_day.isoformat(), at="11:00"))
    assert chosen.context["form"]["time"].value() == "11:00"
    visit.appointment.refresh_from_db()
    assert timezone.localdate(visit.appointment.start) != other_day


def test_a_move_onto_another_appointment_is_refused_until_it_is_confirmed(
    as_clerk: Client, visit: Payment, book: Book, day: datetime.date
) -> None:
    other = book(start=at(day, "16:00"), end=at(day, "16:30"), patient=User.objects.create_user("hugo")).appointment
    page = f"{desk_page_of(visit)}change/"
    refused = as_clerk.post(page, changes(visit, time="16:15"))
    assert refused.status_code == 422
    assert refused.context["appointment"].start == visit.appointment.start  # the page's head says what is stored
    assert as_clerk.post(page, changes(visit, time="16:15", confirmed=other.reference)).status_code == 302


def test_another_price_is_saved_once_its_consequence_was_shown(as_clerk: Client, visit: Payment) -> None:
    deliver(Story(visit).completed())
    page = f"{desk_page_of(visit)}change/"
    answer = as_clerk.post(page, changes(visit, price="62,50"))
    assert answer.status_code == 422
    assert "12,50" in text_of(answer)
    agreed = answer.context["form"]["agreed"].value()
    assert as_clerk.post(page, changes(visit, price="65", agreed=agreed)).status_code == 422
    assert as_clerk.post(page, changes(visit, price="62,50", agreed=agreed)).status_code == 302
    visit.refresh_from_db()
    assert (visit.price, visit.amount_owed, visit.status) == (6250, 1250, "underpaid")


def test_nothing_changed_changes_nothing(as_clerk: Client, visit: Payment) -> None:
    version = visit.version
    assert as_clerk.post(f"{desk_page_of(visit)}change/", changes(visit)).status_code == 302
    visit.refresh_from_db()
    assert visit.version == version


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_two_receptionists_do_not_get_one_time_unnoticed(
    database: str, clerk: User, practitioner: Practitioner, service: Service, day: datetime.date
) -> None:
    people = [User.objects.create_user(name, first_name=name) for name in ("hugo", "jade", "lea", "louis")]
    client_of(clerk, "front desk")
    sent = [
        {"book": "1", "key": str(uuid.uuid4()), "patient": str(person.public_id), "practitioner": practitioner.pk,
         "service": service.pk, "day": day.isoformat(), "time": "09:30", "minutes": "45", "price": "90", "deposit": "",
         "currency": "eur"} for person in people
    ]  # fmt: skip

    def post(fields: dict[str, Any]) -> int:
        try:
            return client_of(clerk).post(PAGE, fields).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(post, sent)) == [302, 422, 422, 422]
    assert Appointment.objects.count() == 1
