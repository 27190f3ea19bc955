"""Who may use which operation of the HTTP API: every route, every scope, and every state of a key.

A route without a row in TABLE fails a test.
"""

import datetime
import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import User
from appointments.models import Appointment, Practitioner, Service
from integrations.api.document import document
from integrations.models import ApiUse
from payments.models import PayLink, Payment
from tests.integrations.client import ApiClient, make_key

pytestmark = pytest.mark.django_db
READ, BOOK, MONEY = "read", "appointments", "money"
FIELDS = {READ: "may_read", BOOK: "may_book", MONEY: "may_take_money"}

# Method, path, the scope that it needs, the body, and the status of an allowed request.
TABLE: tuple[tuple[str, str, str, Any, int], ...] = (
    ("GET", "/api/patients/{external_id}", READ, None, 200),
    ("PUT", "/api/patients/{external_id}", BOOK, {"last_name": "Roux"}, 200),
    ("GET", "/api/appointments/{external_id}", READ, None, 200),
    ("PUT", "/api/appointments/{external_id}", BOOK, {}, 422),
    ("POST", "/api/appointments/{external_id}/cancel", BOOK, {}, 200),
    ("GET", "/api/payments/{payment_id}", READ, None, 200),
    ("POST", "/api/payments/{payment_id}/entries", MONEY, {"amount": 1, "currency": "eur", "method": "cash"}, 201),
    ("POST", "/api/payments/{payment_id}/pay-links", MONEY, {}, 201),
    ("POST", "/api/payments/{payment_id}/pay-links/{link_id}/end", MONEY, {}, 200),
    ("GET", "/api/changes", READ, None, 200),
    ("GET", "/api/practitioners", READ, None, 200),
    ("GET", "/api/services", READ, None, 200),
)
ENDED: dict[str, dict[str, Any]] = {
    "revoked": {"revoked_at": timezone.now()},
    "expired": {"expires_at": timezone.now() - datetime.timedelta(seconds=1)},
}


@pytest.fixture
def paths(payment: Payment, patient: User) -> dict[str, str]:
    """Return the path of each route in TABLE, about a patient, an appointment, a payment and a link that exist."""
    User.objects.filter(pk=patient.pk).update(external_id="known")
    Appointment.objects.update(external_id="known")
    link = PayLink.objects.offer(payment, PayLink.Channel.EMAIL)
    values = {"external_id": "known", "payment_id": payment.public_id, "link_id": link.pk}
    return {path: path.format(**values) for _method, path, *_ in TABLE}


def test_every_operation_has_a_row_that_names_its_scope() -> None:
    operations = {
        (method.upper(), path): operation["x-scope"]
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }
    assert operations == {(method, path): scope for method, path, scope, *_ in TABLE}


@pytest.mark.parametrize("scope", [READ, BOOK, MONEY])
def test_a_scope_opens_its_own_operations_and_no_others(scope: str, software: User, paths: dict[str, str]) -> None:
    rights: dict[str, Any] = {field: name == scope for name, field in FIELDS.items()}
    client = ApiClient(make_key(software, **rights)[1])
    for method, path, needed, body, status in TABLE:
        answer = client.ask(method, paths[path], body)
        expected = status if needed == scope else 403
        assert answer.status_code == expected, (method, path, answer.content)
        if expected == 403:
            assert answer.json()["missing_scope"] == needed


@pytest.mark.parametrize("state", sorted(ENDED))
def test_a_key_that_has_ended_opens_nothing(state: str, software: User, paths: dict[str, str]) -> None:
    client = ApiClient(make_key(software, **ENDED[state])[1])
    for method, path, _scope, body, _status in TABLE:
        assert client.ask(method, paths[path], body).status_code == 401, (method, path)
    assert not ApiUse.objects.exists()


@pytest.mark.parametrize("who", ["nobody", "superuser"])
def test_neither_strangers_nor_sessions_are_let_in(who: str, paths: dict[str, str]) -> None:
    """A session's cookie counts nothing, so that no page of another site can use it; no CSRF token is needed either."""
    client = ApiClient()
    client.client = Client(enforce_csrf_checks=True)
    if who == "superuser":
        client.client.force_login(User.objects.create_superuser("boss"))
    for method, path, _scope, body, _status in TABLE:
        answer = client.ask(method, paths[path], body)
        assert answer.status_code == 401, (method, path)
        assert answer["WWW-Authenticate"] == 'Bearer realm="api"'


def test_a_staffs_account_is_no_patient(api: ApiClient, software: User) -> None:
    User.objects.filter(pk=software.pk).update(external_id="agenda")
    assert api.get("/api/patients/agenda").status_code == 404
    assert api.put("/api/patients/agenda", {"last_name": "Boss"}).status_code == 409
    assert User.objects.get(pk=software.pk).last_name == "Software"


@pytest.mark.parametrize(
    ("path", "most"),
    [("/api/payments/{payment_id}", 6), ("/api/appointments/{external_id}", 5), ("/api/patients/{external_id}", 6),
     ("/api/changes", 4), ("/api/services", 3)],
)  # fmt: skip
def test_reading_takes_few_queries(
    api: ApiClient, paths: dict[str, str], path: str, most: int, django_assert_max_num_queries: Any
) -> None:
    api.get("/api/services")  # so that the key's last use is stored
    paths |= {"/api/services": "/api/services"}
    at = api.get("/api/changes").json()
    query = f"?after=0&epoch={at['epoch']}" if path == "/api/changes" else ""
    with django_assert_max_num_queries(most):
        assert api.get(paths[path] + query).status_code == 200


def test_the_queries_for_changes_do_not_grow_with_their_number(
    api: ApiClient, book: Any, service: Service, practitioner: Practitioner
) -> None:
    at = api.get("/api/changes").json()

    def asked() -> tuple[int, int]:
        connection.queries_log.clear()
        connection.force_debug_cursor = True
        told = api.get(f"/api/changes?after=0&epoch={at['epoch']}").json()
        connection.force_debug_cursor = False
        return len(told["changes"]), len(connection.queries_log)

    book()
    few = asked()
    for _ in range(20):
        book()
    many = asked()
    assert many[0] == few[0] + 20
    assert many[1] == few[1]


def test_the_document_names_no_secret_and_the_page_needs_no_script(db: None) -> None:
    client = Client()
    page = client.get("/api/docs/")
    assert page.status_code == 200
    assert b"style=" not in page.content
    text = json.dumps(client.get("/api/openapi.json").json())
    for _method, path, *_ in TABLE:
        assert path in text
        assert path in page.content.decode()


def test_the_page_about_the_api_keeps_its_reader_signed_in_and_their_forms_valid(clerk: User) -> None:
    client = Client(headers={"Accept-Language": "fr"})
    client.force_login(clerk)
    client.get("/desk/")
    token = client.cookies["csrftoken"].value
    page = client.get("/api/docs/").content.decode()
    assert client.cookies["csrftoken"].value == token
    assert "Sign out" in page
    assert '<html lang="en">' in page
