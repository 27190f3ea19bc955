"""Tests that each e-mail about a payment goes to the right people once, and that a failing mail server loses none."""

import datetime
import smtplib
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.conf import settings as django_settings
from django.core import mail
from django.core.mail import get_connection
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from appointments.models import Practitioner
from payments import ledger
from payments.desk import till
from payments.doctor import emails as email_check
from payments.doctor.finding import Level
from payments.domain.methods import Method
from payments.emails import outbox
from payments.gateway.event_types import from_event
from payments.ledger import Cause, Source
from payments.models import Email, Payment, StatusChange
from payments.receipts import receipt_of
from payments_site.demo.process import free_port
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
Capture = pytest.CaptureFixture[str]
HOUR = datetime.timedelta(hours=1)


def send() -> list[Any]:
    """Run the command send_emails once and return the messages that it sent."""
    mail.outbox.clear()
    call_command("send_emails")
    return list(mail.outbox)


def body_of(message: Any) -> str:
    """Return the message's plain text followed by its HTML, with ordinary spaces for no-break spaces."""
    html = str(message.alternatives[0][0])
    return f"{message.body}\n{html}".replace("\xa0", " ").replace("\u202f", " ")


@pytest.mark.parametrize(("preferred", "subject"), [("en", "Your receipt"), ("", "Votre reçu")])
def test_an_email_is_in_the_language_that_the_patient_prefers(
    preferred: str, subject: str, patient: User, payment: Payment, story: Story
) -> None:
    patient.preferred_language = preferred
    patient.save()
    deliver(story.completed())
    (message,) = send()
    assert message.subject == f"{subject} · {payment.appointment.reference}"


def test_a_receipt_sends_nobody_without_a_password_to_the_sign_in(
    patient: User, payment: Payment, story: Story
) -> None:
    patient.set_unusable_password()
    patient.save()
    deliver(story.completed())
    (message,) = send()
    for part in (message.body, str(message.alternatives[0][0])):
        assert "/receipt/" not in part
        assert "connect" not in part


def test_who_has_paid_gets_the_whole_receipt_in_french(
    patient: User, payment: Payment, story: Story, settings: Settings
) -> None:
    """The e-mail holds the whole receipt, in text and in HTML; its subject, which locked phones show, holds little."""
    settings.CLINIC_LEGAL_LINES, settings.CLINIC_CONTACT = ["SIRET 123", "TVA non applicable"], "04 78 00 00 00"
    patient.set_password("to print it, Camille signs in")
    patient.save()
    Practitioner.objects.update(professional_number="RPPS 10001234567")
    deliver(story.completed())
    (message,) = send()
    assert message.to == ["camille@example.com"]
    assert message.subject == f"Votre reçu · {payment.appointment.reference}"
    assert message.extra_headers["Auto-Submitted"] == "auto-generated"
    assert "Nous avons reçu 50,00 €" in body_of(message)
    assert f"http://testserver/payments/{payment.public_id}/receipt/" in body_of(message)
    number = receipt_of(payment).number
    wanted = ("Camille Roux", "Consultation", "Dr Anne Mercier, Dermatology", "RPPS 10001234567", f"n° {number}",
              "Paiement", "SIRET 123", "TVA non applicable", "Clinique des Tilleuls", "04 78 00 00 00",
              "http://testserver", "Total encaissé")  # fmt: skip
    for part in (message.body, str(message.alternatives[0][0])):
        for words in wanted:
            assert words in part, words


def test_emails_come_from_the_clinic_by_name(story: Story) -> None:
    deliver(story.completed())
    (message,) = send()
    assert message.from_email == django_settings.DEFAULT_FROM_EMAIL == "Clinique des Tilleuls <noreply@testserver>"


def test_somebody_who_pays_on_an_english_page_is_written_to_in_english(
    client: Client, patient: User, payment: Payment, story: Story
) -> None:
    client.force_login(patient)
    client.post(f"/payments/{payment.public_id}/pay/", headers={"Accept-Language": "en"})
    deliver(story.completed())
    deliver(story.refund(1500))
    receipt, refund = send()
    assert receipt.subject.startswith("Your receipt · ")
    assert "We received €50.00" in body_of(receipt)
    assert refund.subject.startswith("Your refund · ")
    assert "We have refunded €15.00 to you" in body_of(refund)


def test_each_refund_is_told_with_its_own_amount(story: Story) -> None:
    deliver(story.completed())
    send()
    for amount, name in ((1500, "1"), (3500, "2")):
        deliver(story.refund(amount, "pending", name=name))
        assert send() == [], "not before Stripe has confirmed it"
        deliver(story.refund(amount, name=name))
        (message,) = send()
        assert f"remboursé {amount // 100},00 €" in body_of(message)
    assert "Total encaissé : 0,00 €" in body_of(message)


def test_a_refund_that_fails_later_sends_no_second_receipt(story: Story) -> None:
    deliver(story.completed())
    deliver(story.refund(5000))
    assert len(send()) == 2
    deliver(story.refund(5000, "failed"))
    assert send() == []


def test_a_bank_debit_that_fails_is_told_and_a_declined_card_is_not(story: Story, payment: Payment) -> None:
    deliver(story.failed())
    assert send() == []
    deliver(story.completed("B", payment_status="unpaid"))
    deliver(story.async_failed("B"))
    (message,) = send()
    assert "Merci de régler de nouveau 50,00 €." in body_of(message)
    assert f"http://testserver{payment.pay_links.get().path}" in body_of(message)


def test_a_failed_debit_asks_nobody_to_pay_who_has_paid_since(story: Story, payment: Payment, clerk: User) -> None:
    deliver(story.completed(payment_status="unpaid"))
    deliver(story.async_failed())
    outbox.queue()
    till.take_payment(payment, 5000, Method.CASH, clerk, key=uuid4().hex)
    failed, _receipt = send()
    assert "n’a pas abouti" in body_of(failed)
    assert "régler" not in body_of(failed)
    assert "/p/" not in body_of(failed)


def test_cash_taken_at_the_desk_is_receipted_too(payment: Payment, clerk: User) -> None:
    till.take_payment(payment, 2000, Method.CASH, clerk, key=uuid4().hex)
    (message,) = send()
    assert "20,00 €" in body_of(message)


def test_who_has_no_address_is_not_written_to(patient: User, story: Story) -> None:
    patient.email = ""
    patient.save()
    deliver(story.completed())
    assert send() == []
    assert not Email.objects.exists()


def test_an_address_that_went_away_meanwhile_gets_nothing(patient: User, story: Story) -> None:
    deliver(story.completed())
    outbox.queue()
    User.objects.update(email="")
    assert send() == []
    assert not Email.objects.unsent().exists()


def test_replays_and_copies_of_an_event_send_nothing_more(story: Story) -> None:
    events = [story.completed(), story.succeeded(), story.charged()]
    for event in [*events, *events]:
        deliver(event)
    assert len(send()) == 1
    call_command("replay_events", "--force")
    assert send() == []


def test_what_is_rolled_back_is_told_to_nobody(story: Story) -> None:
    facts = from_event(story.completed())
    with transaction.atomic():
        ledger.record(facts, Cause(Source.WEBHOOK))
        transaction.set_rollback(True)
    assert send() == []
    ledger.record(facts, Cause(Source.WEBHOOK))
    assert len(send()) == 1


def test_a_webhook_waits_for_no_mail_server(story: Story) -> None:
    mail.outbox.clear()
    assert deliver(story.completed()).status_code == 200
    assert mail.outbox == []
    assert not Email.objects.exists()


def test_what_happened_long_ago_is_told_no_more(story: Story) -> None:
    deliver(story.completed())
    StatusChange.objects.update(created_at=timezone.now() - datetime.timedelta(days=4))
    assert send() == []


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_two_senders_at_once_send_each_e_mail_once(database: str, book: Callable[..., Payment]) -> None:
    for _ in range(10):
        deliver(Story(book()).completed())
    mail.outbox.clear()
    together = threading.Barrier(2)

    def work() -> None:
        try:
            together.wait(60)
            call_command("send_emails")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert len(mail.outbox) == 10
    assert len({message.extra_headers["Message-ID"] for message in mail.outbox}) == 10


def test_a_mail_server_that_is_down_is_tried_again_later_and_later(
    story: Story, settings: Settings, capsys: Capture
) -> None:
    deliver(story.completed())
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", free_port()
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for pause in (60, 120, 240):
            with pytest.raises(CommandError, match="1 e-mails could not be sent"):
                call_command("send_emails")
            email = Email.objects.get()
            assert (email.try_at - timezone.now()).total_seconds() == pause
            call_command("send_emails")  # not due yet
            assert Email.objects.get().tries == email.tries
            clock.shift(pause + 1)
        assert Email.objects.get().error == "ConnectionRefusedError"
        clock.shift(HOUR)
        verdict = email_check.unsent()
        assert (verdict.level, "ConnectionRefusedError" in verdict.what) == (Level.WARNING, True)
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        assert len(send()) == 1
        assert email_check.unsent().level == Level.OK


def test_a_sender_that_dies_in_the_middle_is_made_up_for_with_the_same_message_id(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(story.completed())
    with monkeypatch.context() as crash:  # as if the process ended between sending and recording
        crash.setattr("payments.models.Email.sent", lambda self: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            call_command("send_emails")
    first = mail.outbox[-1].extra_headers["Message-ID"]
    assert send() == [], "another process may be at it"
    with time_machine.travel(timezone.now() + datetime.timedelta(seconds=61)):
        (again,) = send()
    assert again.extra_headers["Message-ID"] == first
    with time_machine.travel(timezone.now() + HOUR):
        assert send() == []


class Refusing:
    """An e-mail backend that refuses camille@example.com as an unknown recipient and accepts every other address."""

    def __init__(self, **options: object) -> None:
        self.real = get_connection("django.core.mail.backends.locmem.EmailBackend")

    def open(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def send_messages(self, messages: list[Any]) -> int:
        for message in messages:
            if message.to == ["camille@example.com"]:
                raise smtplib.SMTPRecipientsRefused({message.to[0]: (550, b"no such user")})
        return int(self.real.send_messages(messages) or 0)


def test_a_wrong_address_stops_nobody_else_and_is_named_by_the_doctor(
    story: Story, book: Callable[..., Payment], patient: User, settings: Settings, capsys: Capture
) -> None:
    other = book(patient=User.objects.create_user("hugo", email="hugo@example.com"))
    deliver(story.completed())
    deliver(Story(other).completed())
    settings.EMAIL_BACKEND = f"{__name__}.Refusing"
    mail.outbox.clear()
    with pytest.raises(CommandError):
        call_command("send_emails")
    assert [message.to for message in mail.outbox] == [["hugo@example.com"]]
    verdict = email_check.unsent()
    assert (verdict.level, "SMTPRecipientsRefused" in verdict.what) == (Level.ERROR, True)
    assert "camille" not in verdict.what + capsys.readouterr().out
    patient.email = "camille.roux@example.com"
    patient.save()
    call_command("send_emails", "--failed")
    assert mail.outbox[-1].to == ["camille.roux@example.com"]
    assert email_check.unsent().level == Level.OK


def test_a_rehearsal_names_payments_and_sends_nothing(story: Story, payment: Payment, capsys: Capture) -> None:
    deliver(story.completed())
    mail.outbox.clear()
    call_command("send_emails", "--dry-run")
    out = capsys.readouterr().out
    assert f"{payment.public_id} receipt" in out
    assert "camille" not in out
    assert mail.outbox == []
    assert not Email.objects.exists()
    assert len(send()) == 1


def test_without_a_mail_server_nothing_is_sent(story: Story, settings: Settings, capsys: Capture) -> None:
    settings.EMAIL_BACKEND = outbox.DUMMY
    deliver(story.completed())
    call_command("send_emails")
    assert "EMAIL_URL is not set" in capsys.readouterr().out
    assert not Email.objects.exists()
    assert email_check.unsent().level == Level.OK
