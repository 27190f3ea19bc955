"""Tests of outgoing webhooks: what receivers are told, in which order, how often, and what ends it."""

import base64
import datetime
import json
import logging
import threading
from collections.abc import Callable

import pytest
import time_machine
from django.contrib.auth.models import Group
from django.core import mail
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone
from pytest_django.fixtures import Settings
from standardwebhooks.webhooks import WebhookVerificationError

from accounts.models import User
from integrations.models import WebhookAttempt, WebhookEndpoint, WebhookMessage
from integrations.models.webhook_message import PAUSES
from integrations.outgoing import dispatch, outbox, secrets
from integrations.outgoing.check import endpoints
from integrations.outgoing.delivery import deliver
from integrations.outgoing.dispatch import tidy
from integrations.outgoing.event_types import CHOICES
from payments.doctor.finding import Level
from payments.models import Feed, FeedEntry, Installation, Payment
from tests.integrations.receiver import Handler, Receiver, answers, hangs_up, receiving
from tests.payments.stripe_story import Story
from tests.payments.stripe_story import deliver as stripe_delivers
from tests.waits import wait_until

pytestmark = pytest.mark.django_db
Failure = WebhookAttempt.Failure
HOUR = datetime.timedelta(hours=1)
SECOND = datetime.timedelta(seconds=1)


def send() -> None:
    """Make messages and send those that are due, in this thread."""
    outbox.queue()
    while message := WebhookMessage.objects.due().first():
        deliver(message)


def secret_of(endpoint: WebhookEndpoint) -> str:
    endpoint.refresh_from_db()
    return endpoint.readable_secret()


def types(receiver: Receiver) -> list[str]:
    return [each.message["type"] for each in receiver.requests]


def test_a_receiver_is_told_of_a_payment_in_words_that_it_can_check(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    appointment = story.payment.appointment
    appointment.external_id = "visit-815"
    appointment.save()
    outbox.queue()
    WebhookMessage.objects.all().delete()
    stripe_delivers(story.completed())
    send()
    [received] = receiver.requests
    received.verify(secret_of(endpoint))
    head = Feed.objects.of("staff")
    assert received.message["type"] == "payment.paid"
    assert datetime.datetime.fromisoformat(received.message["timestamp"]).utcoffset() == datetime.timedelta()
    assert received.data == {
        "payment_id": str(story.payment.public_id),
        "appointment_reference": appointment.reference,
        "appointment_external_id": "visit-815",
        "version": Payment.objects.get().version,
        "status_before": "unpaid",
        "status": "paid",
        "currency": "eur",
        "amount_due": 5000,
        "amount_received": 5000,
        "amount_refunded": 0,
        "amount_refund_pending": 0,
        "amount_lost": 0,
        "amount_waived": 0,
        "amount_on_its_way": 0,
        "amount_owed": 0,
        "amount_overpaid": 0,
        "seq": head.head,
        "epoch": head.epoch,
    }
    assert received.headers["webhook-id"] == f"msg_{head.epoch}_{head.head}"
    assert abs(int(received.headers["webhook-timestamp"]) - timezone.now().timestamp()) < 60
    assert received.headers["host"] == endpoint.url.split("/")[2]
    attempt = WebhookAttempt.objects.get()
    assert (attempt.status, attempt.failure, attempt.answer) == (204, "", "")


def test_nobody_is_named_to_receivers_or_in_the_log(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """A canary: the patient's name, address and login are in no message and in no line of the log."""
    caplog.set_level(logging.DEBUG)
    receiver.behaviours = [answers(500, b"Camille Roux is unknown here")]
    stripe_delivers(story.completed())
    send()
    said = "".join(each.body for each in receiver.requests) + caplog.text
    assert "webhook_failed" in said
    for word in ("Camille", "Roux", "camille@example.com", secret_of(endpoint)):
        assert word not in said


def test_a_new_endpoint_is_told_of_nothing_that_was_before(story: Story, receiver: Receiver) -> None:
    stripe_delivers(story.failed())
    WebhookEndpoint.objects.create(url=receiver.url)
    send()
    assert receiver.requests == []
    stripe_delivers(story.completed())
    send()
    assert types(receiver) == ["payment.paid"]


def test_an_endpoint_gets_the_types_that_it_chose(story: Story, receiver: Receiver) -> None:
    WebhookEndpoint.objects.create(url=receiver.url, event_types=["payment.partially_refunded"])
    stripe_delivers(story.completed())
    stripe_delivers(story.refund(1000))
    send()
    assert types(receiver) == ["payment.partially_refunded"]


def test_every_change_has_a_type_that_can_be_chosen(book: Callable[..., Payment], receiver: Receiver) -> None:
    WebhookEndpoint.objects.create(url=receiver.url)
    appointment = book().appointment
    appointment.end += HOUR
    appointment.save()
    send()
    assert types(receiver) == ["payment.created", "payment.updated"]
    assert set(types(receiver)) <= CHOICES.keys()


@pytest.mark.parametrize("chosen", [["payment.melted"], "payment.paid", 5])
def test_unknown_types_are_refused(chosen: object, endpoint: WebhookEndpoint) -> None:
    endpoint.event_types = chosen
    with pytest.raises(ValidationError, match="event_types"):
        endpoint.full_clean()


def test_a_failed_message_is_sent_again_after_the_pauses_of_the_specification(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    receiver.usual = answers(500)
    began = timezone.now()
    with time_machine.travel(began, tick=False) as clock:
        stripe_delivers(story.completed())
        send()
        for number, pause in enumerate(PAUSES, 1):
            message = WebhookMessage.objects.get()
            assert (message.tries, message.given_up_at) == (number, None)
            waits = (message.try_at - timezone.now()).total_seconds()
            assert 0.9 * pause <= waits <= 1.1 * pause
            clock.move_to(max(message.try_at, timezone.now() + 61 * SECOND))
            send()
    assert WebhookMessage.objects.get().given_up_at
    assert len(receiver.requests) == len(PAUSES) + 1
    assert len({(each.headers["webhook-id"], each.body) for each in receiver.requests}) == 1
    assert WebhookMessage.objects.get().given_up_at - began > 0.9 * sum(PAUSES) * SECOND  # type: ignore[operator]


def test_a_later_change_of_a_payment_waits_and_other_payments_do_not(
    book: Callable[..., Payment], endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    first, second = Story(book()), Story(book())
    receiver.behaviours = [answers(204), answers(204), answers(500)]
    stripe_delivers(first.failed())
    stripe_delivers(first.completed())
    stripe_delivers(second.completed())
    with time_machine.travel(timezone.now(), tick=False) as clock:
        send()
        assert types(receiver) == ["payment.created", "payment.created", "payment.failed"]
        clock.shift(2)  # the endpoint may be tried again, the first payment's message not yet
        send()
        assert [each.data["payment_id"] for each in receiver.requests[3:]] == [str(second.payment.public_id)]
        clock.shift(10)
        send()
    assert types(receiver)[-2:] == ["payment.failed", "payment.paid"]
    assert not WebhookMessage.objects.waiting().exists()


@pytest.mark.parametrize(
    ("header", "least"),
    [("7200", 7200), ("Fri, 01 Jan 2100 00:00:00 GMT", 86_400), ("soon", 0), ("-5", 0), ("9" * 30, 86_400)],
)
def test_a_receiver_that_asks_for_time_gets_it(
    header: str, least: int, story: Story, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    receiver.behaviours = [answers(429, headers={"Retry-After": header})]
    stripe_delivers(story.completed())
    send()
    endpoint.refresh_from_db()
    assert endpoint.paused_until
    assert abs((endpoint.paused_until - timezone.now()).total_seconds() - max(least, 1)) < 30
    assert not WebhookMessage.objects.due().exists()


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
def test_what_is_not_accepted_is_a_failure_and_no_redirect_is_followed(
    status: int, story: Story, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    with receiving() as elsewhere:
        receiver.behaviours = [answers(status, headers={"Location": elsewhere.url})]
        stripe_delivers(story.completed())
        send()
        assert elsewhere.requests == []
    assert [attempt.status for attempt in WebhookAttempt.objects.all()] == [status]
    assert WebhookMessage.objects.waiting().exists()


def test_410_ends_it_at_once_and_managers_hear_of_it(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver, clerk: User
) -> None:
    manager = User.objects.create_user("dr", email="dr@clinic.example", preferred_language="en")
    manager.groups.set(Group.objects.filter(name="manager"))
    receiver.usual = answers(410)
    stripe_delivers(story.completed())
    mail.outbox.clear()
    send()
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.disabled_because) == (False, "gone")
    [letter] = mail.outbox
    assert (letter.to, letter.subject) == (["dr@clinic.example"], "Webhook endpoint disabled")
    assert endpoint.url in letter.body
    assert f"/webhookendpoint/{endpoint.pk}/change/" in letter.body
    stripe_delivers(story.refund(1000))
    send()
    assert len(receiver.requests) == 1
    assert endpoints().level == Level.WARNING


def test_an_endpoint_without_success_for_three_days_is_disabled_and_goes_on_when_it_is_enabled(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.models.webhook_message.JITTER", 0.0)  # else the last try may come a day later
    User.objects.create_superuser("admin", email="admin@clinic.example")
    receiver.usual = answers(500)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        stripe_delivers(story.completed())
        mail.outbox.clear()
        while WebhookEndpoint.objects.filter(is_active=True):
            send()
            assert endpoints().level == (Level.OK if len(receiver.requests) < 2 else Level.WARNING)
            clock.shift(HOUR)
        endpoint.refresh_from_db()
        assert endpoint.disabled_because == "failing"
        assert endpoint.disabled_at
        assert endpoint.failing_since
        assert datetime.timedelta(days=3) < endpoint.disabled_at - endpoint.failing_since < datetime.timedelta(days=3.5)
        assert [letter.to for letter in mail.outbox] == [["admin@clinic.example"]]
        receiver.usual = answers(200)
        stripe_delivers(story.refund(1000))
        endpoint.enable()
        endpoint.save()
        send()
    assert types(receiver)[-1] == "payment.partially_refunded"
    assert endpoints().level == Level.OK


def test_one_success_ends_the_count_of_days(story: Story, endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    receiver.behaviours = [hangs_up]
    with time_machine.travel(timezone.now(), tick=False) as clock:
        stripe_delivers(story.completed())
        send()
        endpoint.refresh_from_db()
        assert (endpoint.failures, endpoint.failing_since) == (1, timezone.now())
        assert [attempt.failure for attempt in WebhookAttempt.objects.all()] in (["protocol"], ["connection"])
        clock.shift(61)
        send()
    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.failing_since, endpoint.paused_until) == (0, None, None)


def test_after_a_rotation_both_secrets_sign_for_a_day(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    old = secret_of(endpoint)
    new = endpoint.rotate_secret()
    assert new != old
    stripe_delivers(story.completed())
    send()
    receiver.requests[0].verify(old)
    receiver.requests[0].verify(new)
    assert receiver.requests[0].headers["webhook-signature"].count("v1,") == 2
    WebhookEndpoint.objects.update(old_secret_until=timezone.now() - SECOND)
    stripe_delivers(story.refund(1000))
    send()
    receiver.requests[1].verify(new)
    with pytest.raises(WebhookVerificationError):
        receiver.requests[1].verify(old)


def test_a_secret_is_long_enough_and_is_not_readable_in_the_database(endpoint: WebhookEndpoint) -> None:
    secret = secret_of(endpoint)
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"))) <= 64
    assert secret.removeprefix("whsec_") not in endpoint.secret


def test_secrets_outlive_a_replaced_secret_key(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver, settings: Settings
) -> None:
    secret = secret_of(endpoint)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another-key", [settings.SECRET_KEY]
    assert secret_of(endpoint) == secret
    tidy()
    settings.SECRET_KEY_FALLBACKS = []
    assert secret_of(endpoint) == secret
    settings.SECRET_KEY = "a-key-that-encrypted-nothing"
    with pytest.raises(secrets.SecretLostError):
        secret_of(endpoint)
    stripe_delivers(story.completed())
    send()
    assert receiver.requests == []
    assert [attempt.failure for attempt in WebhookAttempt.objects.all()] == [Failure.SECRET]
    tidy()  # isn't stopped by a secret that it can't read
    assert (endpoints().level, f": {endpoint.pk}." in endpoints().what) == (Level.ERROR, True)
    endpoint.refresh_from_db()
    new = endpoint.rotate_secret()
    assert (endpoint.signing_secrets(), endpoints().level) == ([new], Level.OK)


def test_a_receiver_is_told_again_from_a_number_with_the_ids_of_the_first_time(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    for event in (story.failed(), story.completed(), story.refund(1000)):
        stripe_delivers(event)
    send()
    first = [(each.headers["webhook-id"], each.body) for each in receiver.requests]
    assert len(first) == 3
    call_command("send_webhooks", "--endpoint", str(endpoint.pk), "--from", str(receiver.told()[1][1]), "--dry-run")
    assert len(receiver.requests) == 3
    outbox.tell_again(endpoint, receiver.told()[1][1])
    send()
    assert [(each.headers["webhook-id"], each.body) for each in receiver.requests[3:]] == first[1:]


def test_changes_of_types_that_were_chosen_later_are_told_in_their_place(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    WebhookEndpoint.objects.update(event_types=["payment.failed", "payment.partially_refunded"])
    for event in (story.failed(), story.completed(), story.refund(1000)):
        stripe_delivers(event)
    send()
    assert types(receiver) == ["payment.failed", "payment.partially_refunded"]
    WebhookEndpoint.objects.update(event_types=[])
    outbox.tell_again(endpoint, 1)
    send()
    told = types(receiver)[2:]
    assert told[-3:] == ["payment.failed", "payment.paid", "payment.partially_refunded"]


def test_what_cannot_be_told_again_is_said(story: Story, endpoint: WebhookEndpoint) -> None:
    stripe_delivers(story.completed())
    FeedEntry.objects.filter(feed__audience="staff").delete()
    Feed.objects.filter(audience="staff").update(pruned=2)
    with pytest.raises(CommandError, match="Number 2 is deleted; the first one kept is 3"):
        call_command("send_webhooks", "--endpoint", str(endpoint.pk), "--from", "2")
    with pytest.raises(CommandError, match=f"--from needs --endpoint; there are: {endpoint.pk} "):
        call_command("send_webhooks", "--from", "2")


def test_entries_that_were_deleted_unread_are_in_the_log(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    stripe_delivers(story.failed())
    stripe_delivers(story.completed())
    head = Feed.objects.of("staff").head
    FeedEntry.objects.filter(feed__audience="staff", seq__lt=head).delete()
    Feed.objects.filter(audience="staff").update(pruned=head - 1)
    send()
    assert types(receiver) == ["payment.paid"]
    assert "webhook_entries_deleted" in caplog.text


def test_a_restored_backup_is_told_and_numbers_count_in_a_new_epoch(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    stripe_delivers(story.failed())
    send()
    before = receiver.requests[0].data
    epoch = Feed.objects.begin_epoch()
    stripe_delivers(story.completed())
    send()
    told, paid = receiver.requests[1:]
    assert (told.message["type"], told.data) == ("site.restored", {"epoch": epoch, "seq": before["seq"]})
    assert (paid.message["type"], paid.data["epoch"]) == ("payment.paid", epoch)
    assert paid.data["epoch"] != before["epoch"]
    send()
    assert len(receiver.requests) == 3


def test_a_corrected_name_begins_an_epoch_of_pages_and_is_no_restore(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    stripe_delivers(story.failed())
    send()
    Feed.objects.begin_epoch(["staff"])
    stripe_delivers(story.completed())
    send()
    assert [kind for kind, _seq in receiver.told()] == ["payment.failed", "payment.paid"]
    assert len(receiver.requests) == 2
    assert endpoint.epoch == Installation.objects.get().epoch


def test_old_messages_are_deleted_and_waiting_ones_are_not(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    receiver.behaviours = [answers(204), answers(500)]
    stripe_delivers(story.failed())
    stripe_delivers(story.completed())
    send()
    assert WebhookMessage.objects.count() == 2
    WebhookMessage.objects.update(created_at=timezone.now() - datetime.timedelta(days=31))
    tidy()
    assert [message.type for message in WebhookMessage.objects.all()] == ["payment.paid"]


@pytest.mark.django_db(transaction=True)
def test_an_endpoint_that_hangs_delays_no_other(story: Story, loopback: None) -> None:
    """One endpoint doesn't answer until the other has been told of everything."""
    told_all = threading.Event()
    with receiving() as dead, receiving() as alive:

        def answer_late(handler: Handler) -> None:
            told_all.wait(60)
            handler.answer(204)

        dead.usual = answer_late
        for receiver in (dead, alive):
            WebhookEndpoint.objects.create(url=receiver.url)
        sender = dispatch.Dispatcher()
        for event in (story.failed(), story.completed(), story.refund(1000)):
            stripe_delivers(event)
        sender.round()
        wait_until(lambda: len(alive.requests) == 3, "the other endpoint is told of everything")
        assert len(dead.requests) == 1
        told_all.set()
        sender.finish()
    assert types(dead) == types(alive)


@pytest.mark.django_db(transaction=True)
def test_the_command_for_hand_use_sends_what_is_due(
    story: Story, endpoint: WebhookEndpoint, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    for event in (story.failed(), story.completed()):
        stripe_delivers(event)
    call_command("send_webhooks", "--dry-run")
    assert receiver.requests == []
    call_command("send_webhooks")
    assert types(receiver) == ["payment.failed", "payment.paid"]
    call_command("send_webhooks", "--endpoint", str(endpoint.pk), "--from", str(receiver.told()[1][1]))
    assert types(receiver) == ["payment.failed", "payment.paid", "payment.paid"]
    assert capsys.readouterr().out.splitlines()[1:] == ["0 messages wait"] * 2


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_two_senders_at_once_send_each_message_once_and_in_order(
    database: str, book: Callable[..., Payment], endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    for story in [Story(book()) for _ in range(5)]:
        stripe_delivers(story.failed())
        stripe_delivers(story.completed())
    outbox.queue()
    together = threading.Barrier(2)

    def work() -> None:
        try:
            together.wait(60)
            while WebhookMessage.objects.waiting().exists():
                if message := WebhookMessage.objects.due().first():
                    deliver(message)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    ids = [each.headers["webhook-id"] for each in receiver.requests]
    assert len(ids) == len(set(ids)) == 15
    for number in {each.data["payment_id"] for each in receiver.requests}:
        mine = [each.data["version"] for each in receiver.requests if each.data["payment_id"] == number]
        assert mine == sorted(mine)


def test_messages_are_json_without_needless_spaces(story: Story, endpoint: WebhookEndpoint) -> None:
    stripe_delivers(story.completed())
    outbox.queue()
    body = WebhookMessage.objects.get().body
    assert body == json.dumps(json.loads(body), separators=(",", ":"))
