"""Tests that after a backup was restored, no e-mail is sent twice, and changes after the backup are reported."""

import datetime
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from payments.desk import till
from payments.domain.methods import Method
from payments.emails import outbox
from payments.models import BackgroundJob, Email, Feed, Installation, Payment
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Event, Story, deliver

pytestmark = pytest.mark.django_db
Capture = pytest.CaptureFixture[str]


def send() -> list[str]:
    """Run the command send_emails once and return the Message-IDs of what it sent."""
    mail.outbox.clear()
    call_command("send_emails")
    return [str(message.extra_headers["Message-ID"]) for message in mail.outbox]


@contextmanager
def lost() -> Iterator[None]:
    """Restore a backup: after the `with` block, the database is as it was before the block."""
    backup = transaction.savepoint()
    yield
    transaction.savepoint_rollback(backup)


def at(event: Event, moment: float) -> Event:
    return event | {"created": int(moment)}


def after_restore(*options: str) -> None:
    call_command("payments_doctor", "--after-restore", *options)


def test_an_email_that_is_sent_again_after_a_restore_keeps_its_message_id(
    payment: Payment, stripe: StripeAtHome
) -> None:
    session = open_checkout(payment)
    stripe.do("pay", session=session)
    with lost():
        payment.appointment.start -= datetime.timedelta(minutes=5)
        payment.appointment.save()  # a change that the restore takes back for good
        stripe.do("refund", session=session, amount=2000)
        stripe.tell()
        first = send()
    call_command("reconcile", "--fix")  # brings both at once
    again = send()
    assert len(first) == 2
    assert set(again) <= set(first)
    assert again


def test_each_email_has_a_message_id_of_its_own_also_if_a_total_is_reached_twice(story: Story) -> None:
    told = [story.completed(), story.refund(5000), story.refund(5000, "failed"), story.refund(5000, name="2")]
    ids = []
    for event in told:
        deliver(event)
        ids += send()
    assert len(ids) == len(set(ids)) == 3


def test_each_failed_debit_has_a_message_id_of_its_own(story: Story) -> None:
    ids = []
    for attempt in "AB":
        deliver(story.completed(attempt, payment_status="unpaid"))
        deliver(story.async_failed(attempt))
        ids += send()
    assert len(ids) == len(set(ids)) == 2


def test_what_happened_before_a_restore_is_not_told_again_and_what_comes_later_is(
    story: Story, book: Callable[..., Payment]
) -> None:
    waiting = at(Story(book()).completed(), time.time() - 120)
    deliver(waiting)
    outbox.queue()  # in the backup this e-mail waits to be sent
    unread = at(Story(book()).completed(), time.time() - 110)
    deliver(unread)  # and this change has not been seen by the worker
    paid = at(story.completed(), time.time() - 60)
    with lost():
        deliver(paid)
        assert len(send()) == 3
    after_restore("--yes")
    assert deliver(paid).content == b"applied"
    assert send() == []
    deliver(at(story.refund(1000), time.time() + 1))
    assert len(send()) == 1


def test_what_happened_after_the_site_had_stopped_is_told(story: Story) -> None:
    stopped = time.strftime("%Y-%m-%d %H:%M:%S+00:00", time.gmtime(time.time() - 3600))
    after_restore("--yes", "--sent-until", stopped)
    deliver(at(story.completed(), time.time() - 7200))
    assert send() == []
    deliver(at(story.refund(1000), time.time() - 1800))
    assert len(send()) == 1


def test_what_stripes_api_says_after_a_restore_is_dated_by_its_objects(
    payment: Payment, book: Callable[..., Payment], stripe: StripeAtHome
) -> None:
    stripe.do("clock", offset=-3600)
    stripe.do("pay", session=open_checkout(payment))
    stripe.do("clock", offset=0)
    later = book()
    stripe.do("pay", session=open_checkout(later))
    after_restore("--yes", "--sent-until", time.strftime("%Y-%m-%d %H:%M:%S+00:00", time.gmtime(time.time() - 600)))
    call_command("reconcile", "--fix")
    (message_id,) = send()
    assert str(later.public_id) in message_id


def test_a_payment_at_the_desk_after_a_restore_is_receipted(payment: Payment, clerk: Any) -> None:
    after_restore("--yes", "--sent-until", "2020-01-01")
    till.take_payment(payment, 2000, Method.CASH, clerk, key=uuid4().hex)
    assert len(send()) == 1


def test_the_doctor_asks_before_e_mails_are_marked_as_sent(
    story: Story, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    deliver(at(story.completed(), time.time() - 60))
    outbox.queue()
    epoch = Feed.objects.of("staff").epoch
    asked: list[str] = []

    def answer_no(question: str) -> str:
        asked.append(question)
        return "n"

    monkeypatch.setattr("builtins.input", answer_no)
    after_restore()
    assert Feed.objects.of("staff").epoch != epoch
    assert Feed.objects.of("patient.0").epoch == Feed.objects.of("staff").epoch
    assert (len(asked), Email.objects.unsent().count()) == (1, 1)
    assert Installation.objects.get().emails_sent_until is None
    assert "1 e-mails wait" in capsys.readouterr().out
    monkeypatch.setattr("builtins.input", lambda question: "y")
    after_restore()
    assert not Email.objects.unsent().exists()
    assert send() == []


def test_background_jobs_count_from_the_restore_on() -> None:
    long_ago = timezone.now() - datetime.timedelta(days=3)
    BackgroundJob.objects.get_or_create(name="send_emails")
    BackgroundJob.objects.update(succeeded_at=long_ago, created_at=long_ago)
    after_restore("--yes")
    jobs = BackgroundJob.objects.all()
    assert jobs
    assert all(job.succeeded_at is None and job.created_at > long_ago for job in jobs)


def test_the_doctor_asks_nobody_who_isnt_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(question: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    with pytest.raises(CommandError, match="--yes"):
        after_restore()
    with pytest.raises(CommandError, match="is in the future"):
        after_restore("--yes", "--sent-until", "2999-01-01")
    with pytest.raises(CommandError, match="--after-restore"):
        call_command("payments_doctor", "--sent-until", "2020-01-01")
