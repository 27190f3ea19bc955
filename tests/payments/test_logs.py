"""Tests of logging: which events and fields are logged, and which data must never be logged."""

import io
import json
import logging
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils.log import AdminEmailHandler
from prometheus_client import REGISTRY
from pytest_django.fixtures import Settings

from payments import metrics
from payments.gateway.signatures import LARGEST_BODY
from payments.logs import JsonFormatter, LineFormatter
from tests.payments.clients import token_of
from tests.payments.faults import broken_ledger
from tests.payments.stripe_story import Story, deliver

PAYMENTS = Path(__file__).parents[2] / "payments"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Yield a buffer that receives, as lines of JSON, what is logged during the test."""
    handler, root = logging.StreamHandler(written := io.StringIO()), logging.getLogger()
    handler.setFormatter(JsonFormatter())
    level = root.level
    root.addHandler(handler)
    root.setLevel("INFO")
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


def events(log: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def record(**fields: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "payments.x", "levelname": "INFO", "msg": "thing_happened", "created": 0.25} | fields
    )


def test_a_line_of_json_bears_time_level_logger_event_and_fields() -> None:
    assert json.loads(JsonFormatter().format(record(payment_id="p", attempts=2, patient=object()))) == {
        "time": "1970-01-01T00:00:00.250+00:00",
        "level": "INFO",
        "logger": "payments.x",
        "event": "thing_happened",
        "payment_id": "p",
        "attempts": 2,
    }


def test_a_line_for_people_has_the_same_fields() -> None:
    assert LineFormatter().format(record(payment_id="p")).endswith(" INFO payments.x thing_happened payment_id=p")


def test_line_breaks_stay_within_one_line_of_json() -> None:
    assert "\n" not in JsonFormatter().format(record(msg="forged\nline", why="a\nb"))


def test_an_error_brings_its_traceback() -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
        assert "ValueError: broken" in json.loads(JsonFormatter().format(record(exc_info=info)))["traceback"]
        assert "ValueError: broken" in LineFormatter().format(record(exc_info=info))


@pytest.mark.django_db(transaction=True)
def test_an_event_can_be_followed_through_the_log_by_its_id_and_its_requests(story: Story, log: io.StringIO) -> None:
    event = story.completed()
    answer = deliver(event)
    followed = [line for line in events(log) if line.get("stripe_event_id") == event["id"]]
    assert [line["event"] for line in followed] == ["payment_status_changed", "stripe_event_received"]
    assert {line["request_id"] for line in followed} == {answer.headers["X-Request-ID"]}
    assert followed[0]["payment_id"] == str(story.payment.public_id)


@pytest.mark.django_db
def test_neither_names_nor_secrets_nor_payloads_are_logged(story: Story, log: io.StringIO, settings: Settings) -> None:
    deliver(story.completed())
    deliver(story.completed(), secret="whsec_wrong")
    with broken_ledger(), pytest.raises(ZeroDivisionError):
        deliver(story.charged())
    assert {line["event"] for line in events(log)} >= {"stripe_webhook_refused", "stripe_event_failed"}
    patient = story.payment.appointment.patient
    secrets = (patient.last_name, patient.email, settings.STRIPE_WEBHOOK_SECRETS[0], settings.STRIPE_SECRET_KEY)
    assert not [secret for secret in (*secrets, "payment_method_details") if secret in log.getvalue()]


def deliver_to_an_unknown_endpoint(story: Story) -> None:
    Client().post(f"/stripe/webhook/{uuid.uuid4()}/", "{}", "application/json")


def deliver_another_type(story: Story) -> None:
    deliver(story.completed() | {"type": "customer.created"})


def forge(story: Story) -> None:
    deliver(story.completed(), secret="whsec_wrong")


def break_the_ledger(story: Story) -> None:
    with broken_ledger(), pytest.raises(ZeroDivisionError):
        deliver(story.completed())


def lose_the_database(story: Story) -> None:
    def away(*args: object) -> None:
        raise OperationalError("the database is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("payments.gateway.djstripe._endpoint_row", away)
        with pytest.raises(OperationalError):
            deliver_to_an_unknown_endpoint(story)


THIN = {"id": "evt_thin", "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found"}
WAYS_OUT: dict[str, tuple[Callable[[Story], object], str, str]] = {
    "applied": (lambda story: deliver(story.completed()), "stripe_event_received", "applied"),
    "of another type": (
        deliver_another_type,
        "stripe_event_received",
        "ignored_type",
    ),
    "thin": (lambda story: deliver(json.dumps(THIN)), "stripe_event_received", "ignored_type"),
    "not an event": (lambda story: deliver("[]"), "stripe_webhook_refused", "refused"),
    "forged": (forge, "stripe_webhook_refused", "refused"),
    "too large": (lambda story: deliver("x" * (LARGEST_BODY + 1)), "stripe_webhook_refused", "too_large"),
    "to an unknown endpoint": (
        deliver_to_an_unknown_endpoint,
        "stripe_webhook_refused",
        "unknown_endpoint",
    ),
    "that fails": (break_the_ledger, "stripe_event_failed", "error"),
    "without a database": (lose_the_database, "stripe_webhook_failed", "error"),
}


@pytest.mark.django_db
@pytest.mark.parametrize("way", WAYS_OUT)
def test_each_delivery_leaves_one_log_line_and_one_count(way: str, story: Story, log: io.StringIO) -> None:
    send, event, outcome = WAYS_OUT[way]
    total = metrics.total(metrics.WEBHOOKS)
    counted = REGISTRY.get_sample_value("payments_webhooks_total", {"outcome": outcome}) or 0
    send(story)
    assert [line["event"] for line in events(log) if str(line["event"]).startswith("stripe_")] == [event]
    assert metrics.total(metrics.WEBHOOKS) == total + 1
    assert REGISTRY.get_sample_value("payments_webhooks_total", {"outcome": outcome}) == counted + 1


@pytest.mark.django_db
def test_a_thin_event_is_logged_with_its_id_and_type(story: Story, log: io.StringIO) -> None:
    deliver(json.dumps(THIN))
    (line,) = [line for line in events(log) if line["event"] == "stripe_event_received"]
    assert (line["stripe_event_id"], line["type"], line["outcome"]) == (THIN["id"], THIN["type"], "ignored_type")


@pytest.mark.django_db
@pytest.mark.parametrize("form", [JsonFormatter(), LineFormatter()], ids=["json", "line"])
def test_no_token_of_a_pay_link_reaches_the_log(story: Story, form: logging.Formatter) -> None:
    """Neither a page that isn't there nor a refused or broken request logs what would open the payment."""
    token, written = token_of(story.payment), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(form)
    logging.getLogger().addHandler(handler)
    try:
        client = Client(enforce_csrf_checks=True, raise_request_exception=False)
        for path in (f"/p/{token}/x/", f"/P/{token}/", f"/p/{token}x/", f"/x/?next=/p/{quote(token)}/", f"/{token}"):
            assert client.get(path).status_code == 404
        assert Client().delete(f"/p/{token}/").status_code == 405
        assert client.post(f"/p/{token}/pay/").status_code == 403
        link = f"https://testserver/p/{token}/"
        assert (
            client.post("/login/", secure=True, headers={"Referer": f"http://testserver/p/{token}/"}).status_code == 403
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("payments.models.pay_link.PayLinkQuerySet.find", lambda links, token: {}[token])
            assert client.get(f"/p/{token}/").status_code == 500
        logging.getLogger("payments.x").error("thing_happened", extra={"referer": link, "next": quote(quote(token))})
    finally:
        logging.getLogger().removeHandler(handler)
    assert "KeyError" in written.getvalue()
    assert "/p/***" in written.getvalue()
    assert token not in written.getvalue()


def test_no_error_is_mailed_to_anybody() -> None:
    """Django's e-mails to admins would hold the whole request, with its cookies and the token of a pay link."""
    handlers = [handler for name in ("django", "django.request") for handler in logging.getLogger(name).handlers]
    assert not [handler for handler in handlers if isinstance(handler, AdminEmailHandler)]


def test_each_request_has_an_id_of_its_own(client: Client) -> None:
    first, second = (client.get("/nowhere/").headers["X-Request-ID"] for _ in range(2))
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{32}", first)


def test_only_a_proxy_gives_a_request_its_id(client: Client, settings: Settings) -> None:
    given = {"X-Request-ID": "proxy-0123456789"}
    assert client.get("/nowhere/", headers=given).headers["X-Request-ID"] != given["X-Request-ID"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert client.get("/nowhere/", headers=given).headers["X-Request-ID"] == given["X-Request-ID"]
    forged = client.get("/nowhere/", headers={"X-Request-ID": 'x" level="'})
    assert re.fullmatch(r"[0-9a-f]{32}", forged.headers["X-Request-ID"])


def test_every_log_call_is_an_event_with_fields() -> None:
    """Each log call's message is a snake_case name, so that it can be searched for; the values are in its fields."""
    calls = [
        (path.name, call)
        for path in PAYMENTS.rglob("*.py")
        for call in re.findall(r"logger\.(?:debug|info|warning|error|exception)\(\s*(\S+)", path.read_text())
    ]
    assert len(calls) > 10
    assert [call for call in calls if not re.fullmatch(r'"[a-z]+(_[a-z]+)+"[,)]+', call[1])] == []
