"""Tests of staff's notes about a payment, and of the page where staff apply a stored Stripe event again."""

import logging
import re
import uuid
from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from djstripe.models import Event, WebhookEventTrigger

from accounts.models import User
from payments.domain.status import PaymentStatus
from payments.live.feeds import entries_after
from payments.live.rendering import render_entry
from payments.models import EventReceipt, Feed, FeedEntry, Note, Payment, StatusChange
from tests.payments.clients import desk_page_of, page_of, text_of
from tests.payments.faults import broken_ledger
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
SECRET = "Maman appelle lundi; <b>rappeler</b>"


def notes_of(payment: Payment) -> str:
    return f"{desk_page_of(payment)}notes/"


def write(client: Client, payment: Payment, text: str = SECRET, key: str = "") -> int:
    return int(client.post(notes_of(payment), {"text": text, "key": key or uuid.uuid4().hex}).status_code)


def test_staff_find_a_note_in_the_timeline_where_it_was_written(
    as_clerk: Client, payment: Payment, story: Story
) -> None:
    deliver(story.failed())
    assert write(as_clerk, payment) == 302
    deliver(story.completed("B"))
    page = as_clerk.get(desk_page_of(payment)).content.decode()
    places = [page.index(f'id="{name}"') for name in timeline_of(payment)]
    assert places == sorted(places)
    assert "&lt;b&gt;rappeler" in page
    assert "Note · Inès Faure" in text_of(as_clerk.get(desk_page_of(payment)))


def timeline_of(payment: Payment) -> list[str]:
    first, *_, last = (f"change-{payment.public_id}-{change.version}" for change in payment.changes.order_by("version"))
    return [first, f"note-{payment.notes.get().pk}", last]


def test_a_note_stays_among_staff(
    as_clerk: Client, as_patient: Client, payment: Payment, story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        write(as_clerk, payment)
        deliver(story.completed())
    for path in (page_of(payment), "/appointments/", f"/payments/{payment.public_id}/receipt/"):
        assert "Maman" not in as_patient.get(path).content.decode()
    assert as_patient.post(notes_of(payment), {"text": "x", "key": uuid.uuid4().hex}).status_code == 403
    for audience in ("staff", f"patient.{payment.appointment.patient_id}"):
        for entry in entries_after(audience, 0, Feed.objects.of(audience).epoch).entries:
            assert "Maman" not in render_entry(entry, "fr")
    assert "Maman" not in " ".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)


def test_a_note_that_is_sent_twice_is_kept_once(as_clerk: Client, payment: Payment) -> None:
    key = re.search(r'name="key" value="([^"]+)"', as_clerk.get(desk_page_of(payment)).content.decode())
    assert key
    assert [write(as_clerk, payment, key=key[1]) for _ in range(2)] == [302, 302]
    assert Note.objects.count() == 1


@pytest.mark.parametrize("text", ["", "   ", "x" * 1001])
def test_an_empty_or_endless_note_is_refused_with_what_was_typed(as_clerk: Client, payment: Payment, text: str) -> None:
    answer = as_clerk.post(notes_of(payment), {"text": text, "key": uuid.uuid4().hex})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()
    assert text.strip() in answer.content.decode()
    assert not Note.objects.exists()


def test_nobody_changes_a_note_in_the_admin(as_clerk: Client, payment: Payment) -> None:
    write(as_clerk, payment)
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    note = f"/admin/clinic_payments/note/{Note.objects.get().pk}/change/"
    assert "Maman" in client.get(note).content.decode()
    assert client.post(note, {"text": "other"}).status_code == 403
    assert client.post(note.replace("change", "delete")).status_code == 403


def replay_page(payment: Payment, event_id: str) -> str:
    return f"{desk_page_of(payment)}events/{event_id}/"


def test_an_event_that_failed_is_applied_from_its_payments_page(
    as_accountant: Client, clerk: User, story: Story
) -> None:
    payment = story.payment
    deliver(story.charged("A", amount=2000))
    event = story.charge_refunded(500)
    with broken_ledger():
        with pytest.raises(ZeroDivisionError):
            deliver(event)
        EventReceipt.objects.filter(stripe_event_id=event["id"]).update(object_id=event["data"]["object"]["id"])
        answer = as_accountant.post(replay_page(payment, event["id"]), follow=True)
        assert "échoué à nouveau (ZeroDivisionError)" in text_of(answer)
    assert "Appliquer à nouveau" in text_of(as_accountant.get(desk_page_of(payment)))
    asked = text_of(as_accountant.get(replay_page(payment, event["id"])))
    assert "charge.refunded" in asked
    assert event["id"] in asked
    answer = as_accountant.post(replay_page(payment, event["id"]), follow=True)
    assert "Appliqué à nouveau : appliqué" in text_of(answer)
    payment.refresh_from_db()
    assert payment.amount_refunded == 500
    change = StatusChange.objects.get(stripe_event_id=event["id"])
    assert (change.source, change.actor) == ("replay", clerk)
    assert [entry.change_message for entry in LogEntry.objects.order_by("pk")] == ["replay: failed", "replay: applied"]


def test_applying_an_applied_event_again_changes_nothing_and_says_so(as_accountant: Client, story: Story) -> None:
    event = story.completed()
    deliver(event)
    before = StatusChange.objects.count(), FeedEntry.objects.count()
    answer = as_accountant.post(replay_page(story.payment, event["id"]), follow=True)
    assert "rien de nouveau" in text_of(answer)
    assert (StatusChange.objects.count(), FeedEntry.objects.count()) == before
    assert "Inès Faure" in text_of(as_accountant.get(desk_page_of(story.payment)))


def test_only_who_may_applies_events_again_and_only_those_of_this_payment(
    as_clerk: Client, as_patient: Client, book: Callable[..., Payment], story: Story
) -> None:
    event = story.completed()
    deliver(event)
    assert "Appliquer à nouveau" not in text_of(as_clerk.get(desk_page_of(story.payment)))
    for client in (as_clerk, as_patient):
        assert client.post(replay_page(story.payment, event["id"])).status_code == 403
    manager = Client()
    manager.force_login(User.objects.create_superuser("root"))
    assert manager.post(replay_page(book(), event["id"])).status_code == 404
    assert manager.get(replay_page(story.payment, "evt_other")).status_code == 404


def test_an_event_whose_content_is_gone_leads_to_asking_stripe(as_accountant: Client, story: Story) -> None:
    event = story.completed()
    deliver(event)
    Event.objects.all().delete()
    WebhookEventTrigger.objects.all().delete()
    answer = as_accountant.post(replay_page(story.payment, event["id"]))
    assert answer.status_code == 409
    assert "Interroger Stripe" in text_of(answer)
    story.payment.refresh_from_db()
    assert story.payment.status == PaymentStatus.PAID
