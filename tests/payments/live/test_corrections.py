"""Tests that open pages load again when a patient's, practitioner's or service's name is corrected.

They also load again when an appointment turns out to be another patient's.
"""

import datetime
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.test import Client
from django.utils import timezone

from accounts.models import User
from appointments.models import Practitioner
from payments.doctor import database
from payments.doctor.finding import Level
from payments.live import hub
from payments.models import Feed, Payment
from payments.models.feed import Position
from payments.wording import describe
from tests.payments.clients import client_of, desk_page_of, page_of
from tests.payments.page import Page
from tests.payments.stripe_story import Story, deliver
from tests.payments.test_admin import admin_client, manager, save

__all__ = ["admin_client", "manager"]

pytestmark = pytest.mark.django_db
Book = Callable[..., Payment]
DAY = datetime.timedelta(days=1)


@pytest.fixture
def other(db: None) -> User:
    return User.objects.create_user("lou", email="lou@example.com", first_name="Lou", last_name="Petit")


def feed_of(user: User) -> Position:
    return Feed.objects.of("staff" if user.is_staff else f"patient.{user.pk}").position


def yesterday(**fields: Any) -> dict[str, Any]:
    start = timezone.now() - 2 * DAY
    return {"start": start, "end": start + datetime.timedelta(minutes=30), **fields}


def poll(user: User, at: Position, after: int | None = None) -> Any:
    number = at.seq if after is None else after
    return client_of(user).get(f"/payments/live/?epoch={at.epoch}&after={number}")


def test_a_practitioners_new_name_reloads_the_pages_of_the_desk_and_of_coming_patients(
    payment: Payment, patient: User, clerk: User, other: User, book: Book, practitioner: Practitioner
) -> None:
    book(patient=other, **yesterday())
    before = {user: feed_of(user) for user in (patient, clerk, other)}
    practitioner.name = "Dr Anne Martin"
    practitioner.save()
    assert poll(patient, before[patient])["X-Live-Reset"] == "1"
    assert poll(clerk, before[clerk])["X-Live-Reset"] == "1"
    assert feed_of(other) == before[other], "pages about the past are left alone"
    assert feed_of(patient).seq == before[patient].seq, "no payment has changed"


def test_a_patients_new_name_reloads_the_pages_of_the_desk_and_the_patients(
    payment: Payment, patient: User, clerk: User, other: User
) -> None:
    before = {user: feed_of(user) for user in (patient, clerk, other)}
    patient.last_name = "Rousseau"
    patient.save()
    assert feed_of(clerk).epoch != before[clerk].epoch
    assert feed_of(patient).epoch != before[patient].epoch
    assert feed_of(other) == before[other]


def test_what_changes_no_name_reloads_nothing(
    payment: Payment, patient: User, clerk: User, other: User, book: Book, practitioner: Practitioner
) -> None:
    book(patient=other, **yesterday())
    before = {user: feed_of(user) for user in (patient, clerk, other)}
    practitioner.active = False
    practitioner.save()
    patient.phone = "+33 4 00 00 00 00"
    patient.save()
    patient.save(update_fields=["last_login"])
    payment.appointment.save()
    Practitioner.objects.create(name="Dr Louis Blanc", specialty="Cardiology")
    other.first_name = "Louise"  # who has no appointment today or later
    other.save()
    assert {user: feed_of(user) for user in (patient, clerk, other)} == before


def test_a_corrected_service_is_a_change_that_the_history_tells_and_reloads_pages(
    payment: Payment, patient: User, clerk: User
) -> None:
    before = {user: feed_of(user) for user in (patient, clerk)}
    payment.appointment.service = "Follow-up"
    payment.appointment.save(actor=clerk)
    change = payment.changes.last()
    assert change is not None
    assert (change.actor, describe(change, to_staff=True)) == (clerk, "Prestation corrigée")
    assert "Follow-up" not in str(change.booking)
    for user in (patient, clerk):
        assert poll(user, before[user])["X-Live-Reset"] == "1"
        assert feed_of(user).seq == before[user].seq + 1


def test_a_corrected_patient_leaves_nothing_with_the_old_one(
    payment: Payment, patient: User, other: User, clerk: User, book: Book
) -> None:
    kept = book()
    before = {user: feed_of(user) for user in (patient, clerk)}
    payment.appointment.patient = other
    payment.appointment.save(actor=clerk)
    deliver(Story(payment).completed())
    for user in (patient, clerk):
        assert poll(user, before[user])["X-Live-Reset"] == "1"
        assert feed_of(user).epoch != before[user].epoch
    for after in range(before[patient].seq + 1):
        for epoch in (feed_of(patient).epoch, before[patient].epoch):
            answer = poll(patient, Position(epoch, after))
            assert str(payment.public_id).encode() not in answer.content
    found = poll(other, feed_of(other), 0).content.decode()
    assert str(payment.public_id) in found
    assert client_of(patient).get(page_of(payment)).status_code == 404
    assert str(payment.public_id) not in client_of(patient).get(page_of(kept)).content.decode()
    assert "Patient corrigé" in [describe(change, to_staff=True) for change in payment.changes.all()]
    kept.appointment.save()
    deliver(Story(kept).completed())
    assert str(kept.public_id) in poll(patient, feed_of(patient), before[patient].seq).content.decode()
    assert database.feeds().level == Level.OK


def test_what_the_admin_corrects_reloads_pages_and_shuts_the_old_patient_out(
    admin_client: Client, payment: Payment, patient: User, other: User, clerk: User
) -> None:
    before = feed_of(clerk)
    assert save(admin_client, payment.appointment, patient=other.pk, service="Follow-up").status_code == 302
    assert poll(clerk, before)["X-Live-Reset"] == "1"
    assert [client_of(user).get(page_of(payment)).status_code for user in (patient, other)] == [404, 200]


def test_a_correction_that_is_rolled_back_reloads_nothing(payment: Payment, other: User, clerk: User) -> None:
    before, changes = feed_of(clerk), payment.changes.count()
    with transaction.atomic():
        payment.appointment.patient = other
        payment.appointment.save()
        assert feed_of(clerk) != before
        transaction.set_rollback(True)
    assert (feed_of(clerk), payment.changes.count()) == (before, changes)


def test_names_stand_where_a_page_that_loads_again_puts_them(payment: Payment, as_clerk: Client, patient: User) -> None:
    booked = (payment.appointment.service, payment.appointment.practitioner.name)
    for page, end, names in (
        (as_clerk.get(desk_page_of(payment)), "</header>", ("Camille Roux", *booked)),
        (client_of(patient).get(page_of(payment)), "</dl>", booked),
    ):
        region = (
            page.content.decode().split(f'id="payment-{payment.public_id}-facts" data-live-region')[1].split(end)[0]
        )
        for name in names:
            assert name in region


@pytest.mark.django_db(transaction=True)
async def test_open_pages_are_told_within_a_tail(
    payment: Payment, patient: User, clerk: User, other: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "TAIL", 0.1)
    async with Page(patient, "after=1") as old, Page(other, "after=0") as new, Page(clerk, "after=1") as desk:
        for page in (old, new, desk):
            await page.told_until_hello()
        payment.appointment.patient = other
        await sync_to_async(payment.appointment.save)()
        assert (await desk.told())["t"] == "hello"
        assert (await old.told())["t"] == "hello"
        first = await new.told()  # this feed was empty, so its pages go on with its first entry
        assert (first["seq"], str(payment.public_id) in first["html"]) == (1, True)


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_corrections_and_payments_at_once_never_deadlock(book: Book, other: User, practitioner: Practitioner) -> None:
    payments = [book(**({"patient": other} if number % 2 else {})) for number in range(12)]

    def rename(number: int) -> None:
        try:
            Practitioner.objects.get().save()
            found = Practitioner.objects.get()
            found.name = f"Dr {number}"
            found.save()
        finally:
            connections.close_all()

    def pay(payment: Payment) -> int:
        try:
            return int(deliver(Story(payment).completed()).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        renames = [pool.submit(rename, number) for number in range(12)]
        answers = [pool.submit(pay, payment) for payment in payments]
        assert [answer.result(100) for answer in answers] == [200] * 12
        assert [each.result(100) for each in renames] == [None] * 12
