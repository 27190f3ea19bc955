"""Tests of the HTTP API's operations: what they store, whom they name, and what they refuse."""

from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import User
from appointments.models import Appointment, Practitioner, Service
from payments.models import Payment, RecordView
from tests.integrations.client import ApiClient, wrong_places

pytestmark = pytest.mark.django_db
Visit = Callable[..., dict[str, Any]]


def with_patient(api: ApiClient, **values: Any) -> Any:
    return api.put("/api/patients/p-1", {"last_name": "Roux", "first_name": "Camille"} | values)


def test_a_patient_is_made_once_and_then_changed(api: ApiClient) -> None:
    made = with_patient(api, birth_date="1980-12-31", email="Camille@Example.com", phone="+33 6 12 34 56 78")
    assert made.status_code == 201, made.content
    again = api.put("/api/patients/p-1", {"last_name": "Roux-Petit"})
    assert again.status_code == 200
    assert again.json() == made.json() | {"last_name": "Roux-Petit"}
    assert api.get("/api/patients/p-1").json() == again.json()
    person = User.objects.get(external_id="p-1")
    assert person.folded_name == "camille roux petit"
    assert not person.has_usable_password()


def test_an_appointment_is_booked_moved_and_canceled(api: ApiClient, visit: Visit, software: User) -> None:
    with_patient(api)
    booked = api.put("/api/appointments/v-1", visit())
    assert booked.status_code == 201, booked.content
    shown = booked.json()
    assert (shown["start"], shown["end"]) == ("2031-03-10T09:00:00+01:00", "2031-03-10T09:30:00+01:00")
    assert (shown["price_amount"], shown["currency"], shown["status"]) == (5500, "eur", "booked")
    moved = api.put("/api/appointments/v-1", visit(start="2031-03-11T10:00:00+01:00"))
    assert moved.status_code == 200
    assert moved.json()["end"] == "2031-03-11T10:30:00+01:00"
    canceled = api.post("/api/appointments/v-1/cancel", {"fee_amount": 1000})
    assert canceled.status_code == 200, canceled.content
    assert (canceled.json()["status"], canceled.json()["fee_amount"]) == ("canceled", 1000)
    assert api.get("/api/appointments/v-1").json() == canceled.json()
    payment = Payment.objects.get(public_id=shown["payment_id"])
    assert [change.actor for change in payment.changes.all()] == [software] * 3
    assert api.put("/api/appointments/v-1", visit()).status_code == 409


def test_what_can_be_booked_is_listed(api: ApiClient, practitioner: Practitioner, service: Service) -> None:
    (listed,) = api.get("/api/practitioners").json()["data"]
    assert (listed["id"], listed["name"], listed["external_id"]) == (practitioner.pk, practitioner.name, None)
    (offered,) = api.get("/api/services").json()["data"]
    assert (offered["id"], offered["price_amount"], offered["currency"]) == (service.pk, 5500, "eur")


def test_overlaps_are_refused_until_they_are_confirmed(api: ApiClient, visit: Visit) -> None:
    with_patient(api)
    first = api.put("/api/appointments/v-1", visit()).json()
    refused = api.put("/api/appointments/v-2", visit())
    assert (refused.status_code, refused.json()["overlaps"]) == (409, [first["reference"]])
    assert not Appointment.objects.filter(external_id="v-2").exists()
    assert api.put("/api/appointments/v-2", visit(confirmed_overlaps=[first["reference"]])).status_code == 201


def test_what_the_desk_agreed_is_kept_when_other_software_repeats_itself(api: ApiClient, visit: Visit) -> None:
    """An upsert without a price keeps a price and a length that the front desk has changed."""
    with_patient(api)
    api.put("/api/appointments/v-1", visit())
    appointment = Appointment.objects.get(external_id="v-1")
    appointment.price_amount = 4000
    appointment.save()
    again = api.put("/api/appointments/v-1", visit())
    assert (again.status_code, again.json()["price_amount"]) == (200, 4000)


def test_a_payment_tells_what_is_owed_and_what_was_paid(api: ApiClient, payment: Payment, software: User) -> None:
    path = f"/api/payments/{payment.public_id}"
    before = api.get(path).json()
    assert (before["amount_owed"], before["movements"], before["status"]) == (5000, [], "unpaid")
    taken = api.post(f"{path}/entries", {"amount": 2000, "currency": "eur", "method": "cash", "note": "Till 2"})
    assert taken.status_code == 201, taken.content
    after = api.get(path).json()
    assert after == taken.json()
    assert (after["amount_owed"], after["amount_received"]) == (3000, 2000)
    (movement,) = after["movements"]
    assert (movement["amount"], movement["currency"], movement["method"]) == (2000, "eur", "cash")
    assert payment.facts.get().actor == software
    assert RecordView.objects.get().user == software


@pytest.mark.parametrize(
    "entry",
    [{"amount": 5001}, {"currency": "chf"}],
    ids=["more than is owed", "another currency"],
)
def test_money_beyond_what_is_owed_is_refused(api: ApiClient, payment: Payment, entry: dict[str, Any]) -> None:
    refused = api.post(
        f"/api/payments/{payment.public_id}/entries", {"amount": 5000, "currency": "eur", "method": "cash"} | entry
    )
    assert (refused.status_code, refused.json()["amount_owed"]) == (409, 5000)
    assert not payment.facts.exists()


def test_a_pay_link_is_made_once_and_ended(api: ApiClient, payment: Payment, software: User) -> None:
    path = f"/api/payments/{payment.public_id}/pay-links"
    made = api.post(path)
    assert (made.status_code, made.json()["state"]) == (201, "open"), made.content
    assert api.client.get(made.json()["url"].removeprefix("http://testserver")).status_code == 200
    assert api.post(path).json() == made.json()
    ended = api.post(f"{path}/{made.json()['id']}/end")
    assert ended.json() == {"id": made.json()["id"], "state": "ended"}
    assert payment.pay_links.get().ended_by == software
    assert api.client.get(made.json()["url"].removeprefix("http://testserver")).status_code == 410


def test_an_address_that_another_account_has_is_refused_with_the_way_out(api: ApiClient, patient: User) -> None:
    refused = with_patient(api, email=patient.email.upper())
    assert refused.status_code == 409
    assert wrong_places(refused) == {"#/email"}
    assert "external id" in refused.json()["detail"]
    assert patient.last_name not in refused.content.decode()
    patient.external_id = "p-1"
    patient.save()
    assert with_patient(api, email=patient.email.upper()).status_code == 200


def test_changes_have_the_numbers_of_pages(api: ApiClient, payment: Payment) -> None:
    start = api.get("/api/changes").json()
    assert (start["reset"], start["changes"]) == (True, [])
    api.post(f"/api/payments/{payment.public_id}/entries", {"amount": 5000, "currency": "eur", "method": "cash"})
    told = api.get(f"/api/changes?after={start['last']}&epoch={start['epoch']}").json()
    assert (told["reset"], told["more"], told["last"]) == (False, False, start["last"] + 1)
    (change,) = told["changes"]
    assert (change["status_before"], change["status"], change["amount_owed"]) == ("unpaid", "paid", 0)
    assert change["payment_id"] == str(payment.public_id)
