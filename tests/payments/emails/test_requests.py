"""Tests of e-mails that ask patients to pay: nobody gets two, and nobody who has paid gets one."""

import datetime
import re
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.core import mail
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from payments.desk import till
from payments.domain.methods import Method
from payments.emails import outbox, requests
from payments.models import Email, Installation, PayLink, Payment
from tests.payments.emails.test_outbox import body_of, send
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
DAY = datetime.timedelta(days=1)
Book = Callable[..., Payment]


def ask(payment: Payment, clerk: User, number: int = 0) -> bool:
    payment.refresh_from_db()
    return requests.ask(payment, number, clerk)


def link_in(message: Any) -> str:
    """Return the path of the pay link in the message's plain text, after checking that its HTML has the same link."""
    (link,) = re.findall(r"http://testserver(/p/pl-[\w-]+/)", message.body)
    assert f'href="http://testserver{link}"' in str(message.alternatives[0][0])
    return str(link)


def test_a_link_by_email_opens_the_payment_without_signing_in(client: Client, payment: Payment, clerk: User) -> None:
    assert ask(payment, clerk)
    (message,) = send()
    assert message.to == ["camille@example.com"]
    assert message.subject == f"Paiement de votre rendez-vous · {payment.appointment.reference}"
    assert "Vous pouvez régler en ligne 50,00 €" in body_of(message)
    for private in ("Camille", "Roux", "Mercier", "Consultation", "Dermatology"):
        assert private not in message.message().as_string()
    page = client.get(link_in(message))
    assert "Payer en ligne · 50,00" in page.content.decode().replace("\xa0", " ")
    assert send() == []


def test_a_patient_is_asked_in_their_language(payment: Payment, patient: User, clerk: User) -> None:
    patient.preferred_language = "en"
    patient.save()
    ask(payment, clerk)
    (message,) = send()
    assert message.subject.startswith("Payment for your appointment")
    assert "You can pay €50.00" in body_of(message)
    assert "The link is valid until" in body_of(message)


def test_a_form_sent_twice_sends_one_link_and_asking_again_sends_another(payment: Payment, clerk: User) -> None:
    assert [ask(payment, clerk), ask(payment, clerk), ask(payment, clerk, 1)] == [True, False, False]
    (first,) = send()
    assert ask(payment, clerk, 1)
    (second,) = send()
    assert link_in(first) == link_in(second), "the link that the patient has still works"
    assert first.extra_headers["Message-ID"] != second.extra_headers["Message-ID"]


def test_who_cannot_pay_online_or_has_no_address_is_not_asked(
    payment: Payment, book: Book, clerk: User, story: Story, patient: User
) -> None:
    deliver(story.completed())
    assert not ask(payment, clerk)
    User.objects.filter(pk=patient.pk).update(email="")
    assert not ask(book(), clerk)
    assert not Email.objects.filter(kind=Email.Kind.PAY_LINK).exists()


def pay(payment: Payment, clerk: User) -> None:
    till.take_payment(payment, 5000, Method.CASH, clerk, key=uuid4().hex)


def pay_by_debit(payment: Payment, clerk: User) -> None:
    deliver(Story(payment).completed(payment_status="unpaid"))


def move(payment: Payment, clerk: User) -> None:
    payment.appointment.start += DAY
    payment.appointment.end += DAY
    payment.appointment.save(actor=clerk)


def cancel(payment: Payment, clerk: User) -> None:
    payment.appointment.status, payment.appointment.fee_amount = "canceled", 5000
    payment.appointment.save(actor=clerk)


def end_the_link(payment: Payment, clerk: User) -> None:
    payment.pay_links.get().end(PayLink.Ending.STAFF, clerk)


def correct_the_patient(payment: Payment, clerk: User) -> None:
    payment.appointment.patient = User.objects.create_user("hugo", email="hugo@example.com")
    payment.appointment.save(actor=clerk)


Change = Callable[[Payment, User], None]
CHANGES = [pay, pay_by_debit, move, cancel, end_the_link, correct_the_patient]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["pay_link", "reminder"])
def test_what_changes_between_queueing_and_sending_is_respected(
    settings: Settings, book: Book, clerk: User, change: Change, kind: str
) -> None:
    """Nobody is asked to pay after paying, and nobody about an appointment that was moved or canceled meanwhile."""
    settings.CLINIC_PAYMENT_REMINDER_DAYS = 1 if kind == "reminder" else 0
    start = timezone.now() - DAY if kind == "reminder" else timezone.now() + DAY
    payment = book(start=start, end=start + datetime.timedelta(minutes=30))
    assert requests.queue_reminders() if kind == "reminder" else ask(payment, clerk)
    change(payment, clerk)
    settings.CLINIC_PAYMENT_REMINDER_DAYS = 0  # a moved appointment gets its own reminder later
    kinds = [message.subject for message in send()]
    assert [subject for subject in kinds if "Paiement" in subject or "Rappel" in subject] == []
    assert not Email.objects.filter(kind=kind).exists()


def test_a_mail_server_that_was_down_asks_nobody_who_paid_meanwhile(
    payment: Payment, clerk: User, settings: Settings
) -> None:
    ask(payment, clerk)
    settings.EMAIL_BACKEND, settings.EMAIL_PORT = "django.core.mail.backends.smtp.EmailBackend", 1
    assert outbox.send_due() == (0, 1, 0)
    pay(payment, clerk)
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    with time_machine.travel(timezone.now() + datetime.timedelta(minutes=2)):
        assert [message.subject.partition(" · ")[0] for message in send()] == ["Votre reçu"]


def test_a_cancellation_fee_is_asked_for_as_such(payment: Payment, clerk: User) -> None:
    payment.appointment.fee_amount = 2000
    payment.appointment.status = "canceled"
    payment.appointment.save(actor=clerk)
    assert ask(payment, clerk)
    (message,) = send()
    assert "Des frais d’annulation de 20,00 € sont dus." in body_of(message)


def test_a_deposit_is_asked_for_as_such(payment: Payment, clerk: User) -> None:
    payment.appointment.deposit_amount = 2000
    payment.appointment.save(actor=clerk)
    ask(payment, clerk)
    (message,) = send()
    assert "Un acompte de 20,00 €" in body_of(message)
    assert "Payer en ligne · 20,00 €" in body_of(message)


# Reminders


@pytest.fixture
def visited(book: Book) -> Payment:
    """Return the unpaid payment of an appointment that began two days ago."""
    start = timezone.now() - 2 * DAY
    return book(start=start, end=start + datetime.timedelta(minutes=30))


def test_there_are_no_reminders_unless_the_clinic_wants_them(visited: Payment) -> None:
    assert send() == []


def test_an_unpaid_appointment_is_reminded_of_once(
    visited: Payment, settings: Settings, client: Client, payment: Payment
) -> None:
    settings.CLINIC_PAYMENT_REMINDER_DAYS, settings.CLINIC_CONTACT = 2, "04 78 00 00 00"
    (message,) = send()
    assert message.subject == f"Rappel : paiement de votre rendez-vous · {visited.appointment.reference}"
    assert "Il reste 50,00 € à régler" in body_of(message)
    assert "Pour joindre l’établissement : 04 78 00 00 00" in body_of(message)
    assert client.get(link_in(message)).status_code == 200
    for days in (0, 1, 5):
        with time_machine.travel(timezone.now() + days * DAY):
            assert visited.appointment.reference not in str([each.subject for each in send()])


@pytest.mark.parametrize("days", [1, 6, 30])
def test_a_reminder_is_sent_on_its_day_or_soon_after_and_never_much_later(
    visited: Payment, settings: Settings, days: int
) -> None:
    """Switching reminders on writes to nobody about long ago, and a worker that was away for days does not either."""
    settings.CLINIC_PAYMENT_REMINDER_DAYS = 2
    with time_machine.travel(timezone.now() + datetime.timedelta(days=days)):
        assert len(send()) == (1 if days < 3 else 0)


@pytest.mark.parametrize("status", ["canceled", "no_show"])
def test_who_did_not_come_is_not_reminded_by_itself(
    visited: Payment, settings: Settings, clerk: User, status: str
) -> None:
    settings.CLINIC_PAYMENT_REMINDER_DAYS = 2
    visited.appointment.status, visited.appointment.fee_amount = status, 2000
    visited.appointment.save(actor=clerk)
    assert send() == []


def test_a_restored_backup_repeats_no_reminder(visited: Payment, settings: Settings) -> None:
    settings.CLINIC_PAYMENT_REMINDER_DAYS = 2
    Installation.objects.update(emails_sent_until=timezone.now())
    assert send() == []


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_remind_once(database: str, book: Book, settings: Settings) -> None:
    settings.CLINIC_PAYMENT_REMINDER_DAYS = 2
    start = timezone.now() - 2 * DAY
    for _ in range(5):
        book(start=start, end=start + datetime.timedelta(minutes=30))
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
    assert len(mail.outbox) == Email.objects.count() == 5


@contextmanager
def paid_before_sending(payment: Payment, clerk: User, patch: pytest.MonkeyPatch) -> Any:
    """Have the payment paid after its e-mail was claimed, as by a webhook that comes while the worker runs."""
    claim = Email.claim

    def claim_then_pay(email: Email) -> bool:
        claimed = claim(email)
        pay(payment, clerk)
        return claimed

    with patch.context() as patched:
        patched.setattr(Email, "claim", claim_then_pay)
        yield


def test_a_payment_while_the_worker_runs_is_respected(
    payment: Payment, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(payment, clerk)
    mail.outbox.clear()
    with paid_before_sending(payment, clerk, monkeypatch):
        assert outbox.send_due() == (0, 0, 1)
    assert mail.outbox == []
