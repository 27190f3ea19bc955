"""Tests with a database that is locked or silent: pages say that it is unavailable, and webhooks are sent again."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection
from django.test import Client

from payments.gateway.lane import failure
from payments.gateway.signatures import Delivery
from payments.gateway.webhooks import Incoming, handle_alone, open_delivery
from payments.models import EventReceipt, Payment
from payments_site import postgres
from tests.payments.clients import text_of
from tests.payments.conftest import as_clerk, book, clerk, patient, payment, practitioner, story
from tests.payments.stripe_story import Event, Story, sign

__all__ = ["as_clerk", "book", "clerk", "patient", "payment", "practitioner", "story"]
pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]
RIGHT = {"fr": "Indisponible pour le moment", "en": "Not available at the moment"}


def told(event: Event, begun: threading.Event | None = None) -> int:
    """Return the HTTP status with which the webhook answers `event`. Set `begun` before the first database query."""

    def note(execute: Callable[..., Any], *asked: Any) -> Any:
        if begun:
            begun.set()
        return execute(*asked)

    body = json.dumps(event)
    signature = sign(body, settings.STRIPE_WEBHOOK_SECRETS[0])
    try:
        with connection.execute_wrapper(note):
            opened = open_delivery(Delivery(body.encode(), signature, "127.0.0.1"))
            assert isinstance(opened, Incoming)
            handle_alone(opened)
            return 200
    except DatabaseError as error:
        return failure(error).status_code
    finally:
        connection.close()


@contextmanager
def sqlite_locked() -> Iterator[None]:
    with sqlite3.connect(settings.DATABASES["default"]["TEST"]["NAME"], isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
    other.close()


@contextmanager
def postgres_locked() -> Iterator[None]:
    given = connection.settings_dict
    with psycopg.connect(f"postgres://{given['USER']}@{given['HOST']}:{given['PORT']}/{given['NAME']}") as other:
        other.execute("LOCK TABLE clinic_appointments_appointment, clinic_payments_payment IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


def test_a_webhook_waits_for_a_locked_sqlite_and_is_applied(story: Story) -> None:
    connection.close()
    with ThreadPoolExecutor(1) as threads:
        with sqlite_locked():
            begun = threading.Event()
            answer = threads.submit(told, story.completed(), begun)
            assert begun.wait(60)
            peer = sqlite3.connect(settings.DATABASES["default"]["TEST"]["NAME"], timeout=0.5)
            with closing(peer), pytest.raises(sqlite3.OperationalError, match="locked"):
                peer.execute("BEGIN IMMEDIATE")  # started to wait later and gave up after half a second
            assert not answer.done()
        assert answer.result(60) == 200
    assert Payment.objects.get().status == "paid"


def test_what_waited_too_long_is_sent_again_and_then_applied_once(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.close()
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.3)
    event = story.completed()
    with sqlite_locked():
        assert told(event) == 503
    assert not EventReceipt.objects.exists()
    assert [told(event), told(event)] == [200, 200]
    assert EventReceipt.objects.get().deliveries == 2


def test_fifty_webhooks_at_once_all_find_their_turn_on_sqlite(book: Callable[..., Payment]) -> None:
    events = [Story(book()).completed() for _ in range(50)]
    connection.close()
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(told, events)) == {200}
    assert set(Payment.objects.values_list("status", flat=True)) == {"paid"}


@pytest.mark.postgres(only=True)
def test_a_server_that_says_nothing_is_given_up_and_another_connection_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "SILENCE", 0.3)
    with pytest.raises(OperationalError, match="timeout"), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")
    connection.close()
    monkeypatch.undo()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


@pytest.mark.postgres(only=True)
@pytest.mark.parametrize("language", RIGHT)
def test_a_page_says_that_the_database_is_away_and_is_back_with_it(
    as_clerk: Client, payment: Payment, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    as_clerk.raise_request_exception = False
    headers = {"Accept-Language": language}
    with postgres_locked(), monkeypatch.context() as impatient:
        impatient.setattr(postgres, "SILENCE", 0.3)
        answer = as_clerk.get("/desk/", headers=headers)
        assert (answer.status_code, answer["Retry-After"]) == (503, "60")
        assert RIGHT[language] in text_of(answer)
        assert 'href="/static/payments/css/pages.css"' in answer.content.decode()
    connection.close()  # as at the end of a real request
    assert as_clerk.get("/desk/", headers=headers).status_code == 200
