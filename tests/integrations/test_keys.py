"""Tests of API keys: how they are made, what they open, how they end, and what is logged of them."""

import datetime
import hashlib
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from integrations.api.keys import WRONG_KEYS_A_MINUTE
from integrations.models import ApiKey, ApiUse
from payments.logs import mask
from payments.models import Payment
from tests.integrations.client import ApiClient, make_key
from tests.payments.clients import client_of

pytestmark = pytest.mark.django_db
SERVICES = "/api/services"


@pytest.fixture
def superuser(db: None) -> Client:
    return client_of(User.objects.create_superuser("boss"))


def test_a_key_is_made_in_the_admin_and_shown_once(superuser: Client, software: User) -> None:
    form = {"name": "Agenda", "acts_as": software.pk, "may_read": "on"}
    made = superuser.post("/admin/clinic_integrations/apikey/add/", form)
    (text,) = re.findall(r"clinic_[a-z0-9]{8}_[\w-]{43}", made.content.decode())
    key = ApiKey.objects.get()
    secret = text.rpartition(f"{key.prefix}_")[2]
    assert key.digest == hashlib.sha256(secret.encode()).hexdigest()
    for page in ("", f"{key.pk}/change/", f"{key.pk}/history/"):
        assert secret not in superuser.get(f"/admin/clinic_integrations/apikey/{page}").content.decode()
    assert ApiClient(text).get(SERVICES).status_code == 200
    assert "no-store" in made["Cache-Control"]


def test_a_form_sent_twice_makes_one_key(superuser: Client, software: User) -> None:
    form = {"name": "Agenda", "acts_as": software.pk, "may_read": "on"}
    for _ in range(2):
        superuser.post("/admin/clinic_integrations/apikey/add/", form)
    assert ApiKey.objects.count() == 1


def test_a_revoked_key_opens_nothing(superuser: Client, software: User) -> None:
    key, text = make_key(software)
    superuser.post("/admin/clinic_integrations/apikey/", {"action": "revoke", "_selected_action": key.pk})
    refused = ApiClient(text).get(SERVICES)
    assert (refused.status_code, refused.json()["detail"]) == (401, "This API key was revoked.")


def test_a_manager_makes_no_key(software: User) -> None:
    manager = User.objects.create_user("manager", is_staff=True)
    manager.groups.add(Group.objects.get(name="manager"))
    assert client_of(manager).get("/admin/clinic_integrations/apikey/add/").status_code == 403


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"expires_at": timezone.now() - datetime.timedelta(seconds=1)}, "expired"),
        ({"revoked_at": timezone.now()}, "revoked"),
    ],
    ids=["expired", "revoked"],
)
def test_a_key_that_has_ended_is_refused(software: User, fields: dict[str, Any], reason: str) -> None:
    refused = ApiClient(make_key(software, **fields)[1]).get(SERVICES)
    assert refused.status_code == 401
    assert reason in refused.json()["detail"]
    assert 'error="invalid_token"' in refused["WWW-Authenticate"]


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}])
def test_a_key_ends_with_the_account_for_which_it_acts(software: User, change: dict[str, bool]) -> None:
    client = ApiClient(make_key(software)[1])
    assert client.get(SERVICES).status_code == 200
    User.objects.filter(pk=software.pk).update(**change)
    assert client.get(SERVICES).status_code == 401


@pytest.mark.parametrize("header", ["", "Basic YTpi", "Bearer", "Bearer x", "Token {key}", "{key}", "Bearer {key}x"])
def test_only_a_bearer_key_opens_anything(software: User, header: str) -> None:
    text = make_key(software)[1]
    client = ApiClient()
    headers = {"Authorization": header.format(key=text)} if header else {}
    refused = client.get(SERVICES, **headers)
    assert refused.status_code == 401
    assert refused["WWW-Authenticate"].startswith('Bearer realm="api"')
    assert refused["Content-Type"] == "application/problem+json"


def test_a_wrong_secret_with_a_known_prefix_is_refused(software: User) -> None:
    key, text = make_key(software)
    forged = f"clinic_{key.prefix}_{'A' * 43}"
    assert ApiClient(forged).get(SERVICES).json()["detail"] == "This API key doesn’t exist."
    assert ApiClient(text).get(SERVICES).status_code == 200


@pytest.mark.parametrize("name", ["key", "api_key", "access_token"])
def test_a_key_in_the_address_is_refused_with_an_explanation(software: User, name: str) -> None:
    text = make_key(software)[1]
    for client in (ApiClient(), ApiClient(text)):
        refused = client.get(f"{SERVICES}?{name}={text}")
        assert refused.status_code == 400
        assert "Authorization: Bearer" in refused.json()["detail"]
        assert text not in refused.content.decode()


def test_a_session_opens_nothing(superuser: Client) -> None:
    for method in ("get", "put", "post"):
        assert getattr(superuser, method)(SERVICES).status_code in (401, 405)
    assert superuser.get("/api/changes").status_code == 401


def test_a_missing_scope_is_named(software: User, payment: Payment) -> None:
    client = ApiClient(make_key(software, may_take_money=False)[1])
    refused = client.post(f"/api/payments/{payment.public_id}/entries", {})
    assert (refused.status_code, refused.json()["missing_scope"]) == (403, "money")
    assert 'scope="money"' in refused["WWW-Authenticate"]


def test_too_many_requests_of_a_key_wait(software: User, settings: Settings) -> None:
    settings.CLINIC_API_REQUESTS_PER_MINUTE = 3
    client, other = ApiClient(make_key(software)[1]), ApiClient(make_key(software, "Till")[1])
    assert [client.get(SERVICES).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = client.get(SERVICES)
    assert 1 <= int(refused["Retry-After"]) <= 20
    assert other.get(SERVICES).status_code == 200
    assert ApiUse.objects.filter(key__name="Agenda").count() == 3


def test_an_address_that_sends_many_wrong_keys_is_slowed_down(software: User) -> None:
    wrong, right = ApiClient("clinic_00000000_" + "A" * 43), ApiClient(make_key(software)[1])
    statuses = [wrong.get(SERVICES).status_code for _ in range(WRONG_KEYS_A_MINUTE + 1)]
    assert statuses == [401] * WRONG_KEYS_A_MINUTE + [429]
    assert right.get(SERVICES).status_code == 200


def test_each_use_is_logged_without_ids_of_persons(api: ApiClient, superuser: Client) -> None:
    answer = api.get("/api/patients/p-4711")
    use = ApiUse.objects.get()
    assert (use.key.name, use.method, use.status) == ("Agenda", "GET", 404)
    assert use.route == "/api/patients/<external_id>"
    assert use.request_id == answer["X-Request-ID"] == answer.json()["request_id"]
    assert use.request_id in superuser.get("/admin/clinic_integrations/apiuse/").content.decode()


def test_the_last_use_is_stored_at_most_once_a_minute(api: ApiClient, django_assert_num_queries: Any) -> None:
    api.get(SERVICES)
    first = ApiKey.objects.get().last_used_at
    with django_assert_num_queries(3):  # the key, the services, the log of uses
        api.get(SERVICES)
    assert ApiKey.objects.get().last_used_at == first
    ApiKey.objects.update(last_used_at=timezone.now() - datetime.timedelta(minutes=2))
    api.get(SERVICES)
    assert ApiKey.objects.get().last_used_at > first  # type: ignore[operator]


def test_a_key_is_masked_in_logs(software: User) -> None:
    text = make_key(software)[1]
    assert mask(f"GET /api/services?key={text} 400") == "GET /api/services?key=*** 400"
