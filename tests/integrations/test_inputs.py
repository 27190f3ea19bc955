"""Tests that the HTTP API refuses what isn't exactly as documented, by problem details, and loses nothing by it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from pytest_django.fixtures import Settings

from accounts.models import User
from appointments.models import Appointment
from payments.models import Payment
from tests.integrations.client import ApiClient, wrong_places

pytestmark = pytest.mark.django_db
PATIENT = "/api/patients/p-1"


def is_problem(response: Any, status: int) -> bool:
    """Return whether the response is a complete problem document with this status."""
    told = response.json()
    assert response["Content-Type"] == "application/problem+json", response["Content-Type"]
    assert {"type", "title", "status", "detail", "request_id"} <= told.keys()
    assert told["request_id"] == response["X-Request-ID"]
    return bool(response.status_code == told["status"] == status)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"last_name": true}', "#/last_name"),
        ('{"last_name": 7}', "#/last_name"),
        ('{"last_name": null}', "#/last_name"),
        ('{"last_name": ""}', "#/last_name"),
        ('{"last_name": "  "}', "#/last_name"),
        ('{"last_name": NaN}', "#/last_name"),
        ('{"last_name": "Roux", "last_name": "Petit"}', "#/last_name"),
        ('{"last_name": "a\\u0000b"}', "#/last_name"),
        ('{"last_name": "a\\ud800b"}', "#/last_name"),
        ('{"last_name": "' + "x" * 151 + '"}', "#/last_name"),
        ('{"first_name": "Camille"}', "#/last_name"),
        ('{"last_name": "Roux", "lastname": "Petit"}', "#/lastname"),
        ('{"last_name": "Roux", "a/b~c": 1}', "#/a~1b~0c"),
        ('{"last_name": "Roux", "\\ud800": 1}', "#"),
        ('{"last_name": "Roux", "birth_date": "1980-02-30"}', "#/birth_date"),
        ('{"last_name": "Roux", "birth_date": "1980-1-2"}', "#/birth_date"),
        ('{"last_name": "Roux", "birth_date": 315532800}', "#/birth_date"),
        ('{"last_name": "Roux", "birth_date": "2999-01-01"}', "#/birth_date"),
        ('{"last_name": "Roux", "email": "nobody"}', "#/email"),
        ('{"last_name": "Roux", "preferred_language": "xx"}', "#/preferred_language"),
        ("[]", "#"),
        ("7", "#"),
        ("NaN", "#"),
        ("null", "#"),
    ],
)
def test_a_wrong_patient_is_refused_by_name(api: ApiClient, text: str, place: str) -> None:
    refused = api.put(PATIENT, text.encode())
    assert is_problem(refused, 422), refused.content
    assert wrong_places(refused) == {place}
    assert not User.objects.filter(external_id="p-1").exists()


@pytest.mark.parametrize(
    "wrong",
    [True, "5500", 5500.0, "5_500", -1, 10**8, 10**20, 1e400, [], None],
    ids=lambda value: repr(value),
)
def test_an_amount_is_a_whole_number_in_minor_units(api: ApiClient, payment: Payment, wrong: object) -> None:
    text = json.dumps({"amount": wrong, "currency": "eur", "method": "cash"}).encode()
    refused = api.post(f"/api/payments/{payment.public_id}/entries", text)
    assert is_problem(refused, 422), refused.content
    assert wrong_places(refused) == {"#/amount"}
    assert not payment.facts.exists()


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"start": "2031-03-10T09:00:00"}, "#/start"),
        ({"start": "2031-03-10 09:00:00+01:00"}, "#/start"),
        ({"start": "2031-02-30T09:00:00+01:00"}, "#/start"),
        ({"start": "9999-12-31T23:59:59-23:59"}, "#/start"),
        ({"start": 1_930_000_000}, "#/start"),
        ({"minutes": 4}, "#/minutes"),
        ({"minutes": "30"}, "#/minutes"),
        ({"practitioner_id": 999_999}, "#/practitioner_id"),
        ({"service_id": 2**63}, "#/service_id"),
        ({"patient_external_id": "p-2"}, "#/patient_external_id"),
        ({"price_amount": 20}, "#/price_amount"),
        ({"deposit_amount": 5501}, "#/deposit_amount"),
        ({"confirmed_overlaps": ["K7QM2XPA", 7]}, "#/confirmed_overlaps/1"),
    ],
)
def test_a_wrong_appointment_is_refused_by_name(
    api: ApiClient, visit: Callable[..., dict[str, Any]], values: dict[str, Any], place: str
) -> None:
    api.put(PATIENT, {"last_name": "Roux"})
    refused = api.put("/api/appointments/v-1", visit(**values))
    assert is_problem(refused, 422), refused.content
    assert wrong_places(refused) == {place}
    assert not Appointment.objects.exists()


@pytest.mark.parametrize(
    "body", [b" ", b"{", b"{'a': 1}", b'{"last_name": "\xff"}', b"[" * 100_000, b"9" * 5000, b'{"a": 1,}']
)
def test_what_is_no_json_is_refused(api: ApiClient, body: bytes) -> None:
    assert is_problem(api.put(PATIENT, body), 422 if body.startswith(b"9") else 400)


@pytest.mark.parametrize(
    "query",
    ["after=1_000", "after=-1", "after=+1", "after=1.0", "after=", "after=%00", "after=9999999999999999",
     "after=1&after=2", "wait=26", "wait=x", "epoch=" + "x" * 65, "epoch=%00", "epok=1", "after=%D9%A1"],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_by_name(api: ApiClient, query: str) -> None:
    refused = api.get(f"/api/changes?{query}")
    assert is_problem(refused, 422), refused.content
    assert wrong_places(refused) == {query.partition("=")[0]}


@pytest.mark.parametrize("external_id", ["-x", "a b", "é", "%00", "x" * 65, "a%0A"])
def test_an_id_with_other_characters_is_refused(api: ApiClient, external_id: str) -> None:
    assert is_problem(api.get(f"/api/patients/{external_id}"), 422)
    assert is_problem(api.put(f"/api/patients/{external_id}", {"last_name": "Roux"}), 422)


def test_every_error_is_a_problem(api: ApiClient, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_problem(api.get("/api/nowhere"), 404)
    assert is_problem(api.get("/api/"), 404)
    assert is_problem(api.get("/api/payments/7"), 404)
    assert is_problem(api.get(f"/api/payments/{'0' * 8}-0000-0000-0000-{'0' * 12}"), 404)
    wrong_method = api.ask("DELETE", PATIENT)
    assert is_problem(wrong_method, 405)
    assert set(wrong_method["Allow"].split(", ")) == {"GET", "PUT"}
    assert is_problem(api.put(PATIENT, b"x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)), 413)
    assert is_problem(api.put(PATIENT, b"last_name=Roux", content_type="application/x-www-form-urlencoded"), 415)
    assert is_problem(api.get(PATIENT, Host="elsewhere.example"), 400)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("Roux")

    monkeypatch.setattr("integrations.api.people._save", broken)
    failed = api.put(PATIENT, {"last_name": "Roux"})
    assert is_problem(failed, 500)
    assert "Roux" not in failed.content.decode()

    def locked(*_: object, **__: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr("integrations.api.people._save", locked)
    busy = api.put(PATIENT, {"last_name": "Roux"})
    assert is_problem(busy, 503)
    assert int(busy["Retry-After"]) > 0


def test_a_request_over_plain_http_is_refused_and_not_redirected(api: ApiClient, settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert is_problem(api.get("/api/services"), 403)


def test_texts_are_english_for_everybody(api: ApiClient) -> None:
    refused = api.put(PATIENT, {"last_name": "Roux", "email": "nobody"}, **{"Accept-Language": "fr"})
    assert refused["Content-Language"] == "en"
    assert refused.json()["errors"][0]["detail"] == "Enter a valid email address."


def test_two_patients_can_be_saved_with_names_that_only_look_alike(api: ApiClient) -> None:
    """Names are stored as sent; only the search folds them."""
    for number, name in enumerate(("Lefèvre", "LEFEVRE", "Lefe\u0300vre")):
        stored = api.put(f"/api/patients/p-{number}", {"last_name": name}).json()["last_name"]
        assert stored == name
    assert User.objects.patients().matching("lefevre").count() == 3
