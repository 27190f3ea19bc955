"""Tests that a request with an Idempotency-Key acts once, whatever the network and the processes do."""

import datetime
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from accounts.models import User
from integrations.models import ApiKey, ApiUse, StoredAnswer
from integrations.models.stored_answer import KEPT, LONGEST_RUN
from payments.desk import till
from payments.models import PayLink, Payment
from tests.integrations.client import ApiClient, make_key, wrong_places

pytestmark = pytest.mark.django_db
KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
CASH = {"amount": 1000, "currency": "eur", "method": "cash"}


@pytest.fixture
def entries(payment: Payment) -> str:
    return f"/api/payments/{payment.public_id}/entries"


def age(by: datetime.timedelta) -> None:
    """Make all stored answers older."""
    StoredAnswer.objects.update(started_at=timezone.now() - by)


def test_a_repeated_request_takes_the_money_once(api: ApiClient, payment: Payment, entries: str) -> None:
    first, second = (api.post(entries, CASH, **KEY) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert second["Content-Type"] == first["Content-Type"]
    assert "Idempotent-Replayed" not in first
    assert second["Idempotent-Replayed"] == "true"
    assert payment.facts.count() == 1
    third = api.post(entries, CASH, **KEY, Authorization=f"bearer  {api.key}")
    assert third.content == first.content


def test_without_a_key_each_request_counts(api: ApiClient, payment: Payment, entries: str) -> None:
    for _ in range(2):
        api.post(entries, CASH)
    assert payment.facts.count() == 2


def test_a_refusal_is_repeated_too(api: ApiClient, payment: Payment, entries: str) -> None:
    first, second = (api.post(entries, CASH | {"amount": 6000}, **KEY) for _ in range(2))
    assert (first.status_code, second.status_code, first.content) == (409, 409, second.content)
    assert second["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("running", [False, True], ids=["after the first", "while the first runs"])
def test_another_request_with_the_key_is_refused(api: ApiClient, payment: Payment, entries: str, running: bool) -> None:
    api.post(entries, CASH, **KEY)
    if running:
        StoredAnswer.objects.update(answer=None)
    others = [
        api.post(entries, CASH | {"amount": 999}, **KEY),
        api.post(f"/api/payments/{payment.public_id}/pay-links", **KEY),
        api.put("/api/patients/p-1", CASH, **KEY),
    ]
    for other in others:
        assert other.status_code == 422
        assert wrong_places(other) == {"Idempotency-Key"}
    assert payment.facts.count() == 1


def test_while_the_first_runs_its_repetition_is_told_to_wait(api: ApiClient, payment: Payment, entries: str) -> None:
    api.post(entries, CASH, **KEY)
    StoredAnswer.objects.update(answer=None)
    early = api.post(entries, CASH, **KEY)
    assert (early.status_code, early["Retry-After"]) == (409, "1")
    assert payment.facts.count() == 1


def test_a_request_whose_process_died_is_run_again_and_takes_nothing_twice(
    api: ApiClient, payment: Payment, entries: str
) -> None:
    """The process died after the money was recorded and before the answer was stored."""
    first = api.post(entries, CASH, **KEY)
    StoredAnswer.objects.update(answer=None)
    age(LONGEST_RUN * 2)
    again = api.post(entries, CASH, **KEY)
    assert (again.status_code, again.json()) == (201, first.json())
    assert payment.facts.count() == 1


def test_another_client_never_meets_the_key(api: ApiClient, software: User, payment: Payment, entries: str) -> None:
    other = ApiClient(make_key(software, "Till")[1])
    assert api.post(entries, CASH, **KEY).json()["amount_received"] == 1000
    answer = other.post(entries, CASH | {"amount": 500}, **KEY)
    assert (answer.status_code, answer.json()["amount_received"]) == (201, 1500)


def test_after_a_day_the_key_is_new_again(api: ApiClient, payment: Payment, entries: str) -> None:
    api.post(entries, CASH, **KEY)
    age(KEPT * 2)
    assert api.post(entries, CASH | {"amount": 500}, **KEY).json()["amount_received"] == 1500
    assert StoredAnswer.objects.count() == 1


def test_a_failed_request_stores_nothing(
    api: ApiClient, payment: Payment, entries: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as fault:
        fault.setattr(till, "take_payment", broken)
        assert api.post(entries, CASH, **KEY).status_code == 500
    assert not StoredAnswer.objects.exists()
    assert api.post(entries, CASH, **KEY).status_code == 201


@pytest.mark.parametrize("key", ["x" * 256, "a b", "é"])
def test_a_malformed_key_is_refused(api: ApiClient, payment: Payment, entries: str, key: str) -> None:
    refused = api.post(entries, CASH, **{"Idempotency-Key": key})
    assert refused.status_code == 422
    assert wrong_places(refused) == {"Idempotency-Key"}
    assert not payment.facts.exists()


def test_the_key_means_nothing_to_a_request_that_reads(api: ApiClient, payment: Payment, entries: str) -> None:
    path = entries.removesuffix("/entries")
    before = api.get(path, **KEY).json()
    api.post(entries, CASH, **KEY)
    assert api.get(path, **KEY).json()["amount_received"] == before["amount_received"] + 1000


def test_a_kept_answer_shows_nobody_what_it_holds(api: ApiClient, payment: Payment) -> None:
    """A copy of the database opens no pay link and names no patient; the client gets its answer again."""
    path = f"/api/payments/{payment.public_id}/pay-links"
    link = api.post(path, **KEY)
    api.put("/api/patients/p-1", {"last_name": "Quetzal"}, **{"Idempotency-Key": "other"})
    token = PayLink.objects.get().token
    assert token in link.json()["url"]
    kept = b"".join(bytes(row.answer or b"") for row in StoredAnswer.objects.all())
    assert kept
    assert token.encode() not in kept
    assert b"Quetzal" not in kept
    assert api.post(path, **KEY).json() == link.json()


def test_prune_deletes_old_answers_and_uses(api: ApiClient, entries: str, capsys: pytest.CaptureFixture[str]) -> None:
    api.post(entries, CASH, **KEY)
    call_command("prune")
    assert (StoredAnswer.objects.count(), ApiUse.objects.count()) == (1, 1)
    age(KEPT * 2)
    ApiUse.objects.update(at=timezone.now() - datetime.timedelta(days=366))
    call_command("prune")
    assert "1 answers and 1 uses of the API" in capsys.readouterr().out
    assert (StoredAnswer.objects.count(), ApiUse.objects.count()) == (0, 0)


def at_once(requests: list[Callable[[], Any]]) -> list[Any]:
    """Send the requests at the same moment, each from a thread of its own, and return the responses."""
    gate = threading.Barrier(len(requests))

    def send(request: Callable[[], Any]) -> Any:
        try:
            gate.wait()
            return request()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(send, requests))


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_of_many_equal_requests_at_once_one_takes_the_money(payment: Payment, software: User, entries: str) -> None:
    text = make_key(software)[1]
    answers = at_once([lambda: ApiClient(text).post(entries, CASH, **KEY)] * 8)
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert 201 in {answer.status_code for answer in answers}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert payment.facts.count() == 1
    assert ApiClient(text).post(entries, CASH, **KEY).status_code == 201
    assert payment.facts.count() == 1


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_upserts_at_once_make_one_row(software: User, visit: Callable[..., dict[str, Any]]) -> None:
    text = make_key(software)[1]
    patient = {"last_name": "Roux", "email": "camille@example.com"}
    answers = at_once([lambda: ApiClient(text).put("/api/patients/p-1", patient)] * 6)
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    answers = at_once([lambda: ApiClient(text).put("/api/appointments/v-1", visit())] * 6)
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert Payment.objects.count() == 1
    assert ApiKey.objects.count() == 1


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_of_two_tills_that_take_all_at_once_one_is_refused(payment: Payment, software: User, entries: str) -> None:
    text = make_key(software)[1]
    answers = at_once([lambda: ApiClient(text).post(entries, CASH | {"amount": 5000})] * 4)
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert payment.facts.count() == 1
