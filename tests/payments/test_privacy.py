"""Tests that patients' data doesn't leak: unique words are stored as data, then searched for in logs, frames, etc.

The staff's log of viewed payments and the erasure of a patient are tested here, too.
"""

import datetime
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import time_machine
from asgiref.sync import sync_to_async
from channels.layers import channel_layers
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from appointments.models import Appointment
from integrations.models import ApiUse, StoredAnswer
from payments.gateway import djstripe
from payments.logs import JsonFormatter
from payments.models import EventReceipt, Fact, Note, Payment, RecordView
from payments.views.access import READS_A_MINUTE
from tests import services
from tests.integrations.client import ApiClient, make_key
from tests.payments.clients import desk_page_of, page_of, signed_in, text_of
from tests.payments.faults import broken_ledger
from tests.payments.page import Page
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
Capture = pytest.CaptureFixture[str]
CANARIES = {
    "first name": "Quetzalina",
    "last name": "Zyxwvutsky",
    "login": "quokka4711",
    "e-mail": "marmoset@canary.example",
    "phone": "+33 6 47 11 47 11",
    "service": "Xenotransplantation",
    "note": "Wolpertinger",
    "practitioner": "Dr Ornithorhynchus",
}
PAYER = {"name": "Bandicootius Potoroo", "email": "potoroo@payer.example"}  # typed on Stripe's page


def planted(book: Callable[..., Payment]) -> Payment:
    patient = User.objects.create_user(
        CANARIES["login"],
        CANARIES["e-mail"],
        first_name=CANARIES["first name"],
        last_name=CANARIES["last name"],
        phone=CANARIES["phone"],
        preferred_language="fr",
    )
    yesterday = timezone.now() - datetime.timedelta(days=1)
    payment = book(patient=patient, service=CANARIES["service"], start=yesterday, end=timezone.now())
    payment.appointment.practitioner.name = CANARIES["practitioner"]
    payment.appointment.practitioner.save()
    clerk = User.objects.get_or_create(username="clerk", is_staff=True)[0]
    Note.objects.create(payment=payment, author=clerk, text=CANARIES["note"])
    return payment


def found_in(text: str) -> list[str]:
    return [what for what, word in (CANARIES | PAYER).items() if word.lower() in text.lower()]


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Yield a list that receives everything logged at any level, as production's lines of JSON."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(JsonFormatter().format(record))

    handler, root = Kept(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


def live_through(payment: Payment, stripe: StripeAtHome) -> None:
    """View, search for, pay and partly refund the payment, and send its e-mails.

    Also make a sign-in fail, request a new password, and refund while Stripe can't be reached.
    """
    patient, desk = Client(), signed_in("desk2", "accountant")
    patient.force_login(payment.appointment.patient)
    patient.get(page_of(payment))
    patient.post(f"/payments/{payment.public_id}/pay/")
    stripe.do("pay", session=open_checkout(payment), **PAYER)
    stripe.tell()
    patient.post(f"/payments/{payment.public_id}/confirm/")
    patient.get(f"/payments/{payment.public_id}/receipt/")
    for path in (
        "/desk/?q=" + CANARIES["last name"],
        desk_page_of(payment),
        f"{desk_page_of(payment)}why/",
        "/review/",
    ):
        desk.get(path)
    desk.post(f"{desk_page_of(payment)}attendance/", {"status": "completed"})
    desk.post(f"{desk_page_of(payment)}notes/", {"text": CANARIES["note"], "key": "0" * 32})
    refund = {"through": "stripe", "amount": "10", "reason": "duplicate", "confirmed": "1"}
    desk.post(f"{desk_page_of(payment)}refund/", refund)
    stripe.tell()
    Client().post("/login/", {"login": CANARIES["login"], "password": CANARIES["e-mail"]})
    Client().post("/password/reset/", {"email": CANARIES["e-mail"]})
    stripe.do("api", mode="down")
    desk.post(f"{desk_page_of(payment)}refund/", refund)
    stripe.do("api", mode="ok")
    call_command("send_emails")


def test_no_name_reaches_logs_metrics_subjects_or_stripe(
    book: Callable[..., Payment], stripe: StripeAtHome, logged: list[str]
) -> None:
    payment = planted(book)
    live_through(payment, stripe)
    ours = [line for line in logged if '"django.db.backends"' not in line]  # production doesn't log SQL
    assert len(ours) > 5
    assert [line for line in ours if found_in(line)] == []
    assert found_in(Client().get("/metrics").content.decode()) == []
    assert mail.outbox
    assert [letter.subject for letter in mail.outbox if found_in(str(letter.subject))] == []
    told = json.dumps(
        [stripe.events(), [stripe.session(row.stripe_id) for row in payment.facts.filter(kind="session")]]
    )
    assert set(found_in(told)) <= {*PAYER, "e-mail"}  # shown on Stripe's page for the patient


def test_no_name_reaches_logs_through_the_api(book: Callable[..., Payment], logged: list[str]) -> None:
    """Neither what other software sends, right or wrong, nor its key is logged; the log of uses names nobody."""
    payment = planted(book)
    software = User.objects.create_user("agenda", is_staff=True)
    text = make_key(software)[1]
    api = ApiClient(text)
    patient = {
        "first_name": CANARIES["first name"],
        "last_name": CANARIES["last name"],
        "email": f"x{CANARIES['e-mail']}",
        "phone": CANARIES["phone"],
    }
    assert api.put("/api/patients/p-1", patient, **{"Idempotency-Key": CANARIES["note"]}).status_code == 201
    assert api.put("/api/patients/p-2", patient).status_code == 409
    assert api.put("/api/patients/p-2", patient | {CANARIES["note"]: CANARIES["phone"]}).status_code == 422
    assert api.put("/api/patients/p-2", json.dumps(patient).encode()[:-1]).status_code == 400
    assert api.get(f"/api/services?key={text}").status_code == 400
    path = f"/api/payments/{payment.public_id}"
    entry = {"amount": 1000, "currency": "eur", "method": "cash", "note": CANARIES["note"]}
    assert api.post(f"{path}/entries", entry).status_code == 201
    with pytest.MonkeyPatch.context() as fault:
        fault.setattr("payments.desk.till.take_payment", _fail)
        fault.setattr("integrations.api.people._save", _fail)
        assert api.post(f"{path}/entries", entry).status_code == 500
        assert api.put("/api/patients/p-1", patient).status_code == 500
    assert api.get(path).status_code == 200
    assert api.get("/api/patients/p-1").status_code == 200
    assert api.get("/api/changes").status_code == 200
    link = api.post(f"{path}/pay-links").json()["url"]
    ours = [line for line in logged if '"django.db.backends"' not in line]
    assert len(ours) > 10
    assert [line for line in ours if found_in(line) or text in line or link in line] == []
    uses = json.dumps(list(ApiUse.objects.values_list("route", "method", "request_id")))
    assert found_in(uses) == []
    assert "p-1" not in uses
    assert found_in(json.dumps(list(StoredAnswer.objects.values_list("name", "fingerprint")))) == []


def _fail(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError


@pytest.mark.redis
@pytest.mark.django_db(transaction=True)
async def test_no_name_is_in_frames_or_in_redis(
    book: Callable[..., Payment], redis_server: services.Service, settings: Settings
) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [{"address": redis_server.url, "socket_timeout": 15}], "prefix": "payments"},
        }
    }
    channel_layers.backends.clear()
    payment = await sync_to_async(planted)(book)
    clerk = await sync_to_async(User.objects.get)(username="clerk")
    frames: list[Any] = []
    with redis.Redis.from_url(redis_server.url, socket_timeout=60).monitor() as monitor:  # type: ignore[no-untyped-call]
        async with Page(payment.appointment.patient) as patient, Page(clerk) as desk:
            for page in (patient, desk):
                frames += await page.told_until_hello()
            await sync_to_async(deliver)(Story(payment).completed())
            for page in (patient, desk):
                frames.append(await page.told())
        commands = [monitor.next_command()["command"]]
        while "PUBLISH" not in commands[-1].upper():
            commands.append(monitor.next_command()["command"])
    channel_layers.backends.clear()
    assert [frame for frame in frames if found_in(json.dumps(frame))] == []
    assert any("html" in frame for frame in frames)
    assert [command for command in commands if found_in(command)] == []


# The log of payments that staff viewed


def test_that_staff_looked_at_a_record_is_noted_once_and_seen_by_the_manager(payment: Payment) -> None:
    desk, manager = signed_in("desk2", "front desk"), signed_in("boss", "manager")
    for _ in range(3):
        desk.get(desk_page_of(payment))
    (look,) = RecordView.objects.all()
    assert (look.payment, look.user.username) == (payment, "desk2")
    assert "desk2" in manager.get("/admin/clinic_payments/recordview/").content.decode()
    assert desk.get("/admin/clinic_payments/recordview/").status_code == 403


def test_that_patients_look_at_their_own_is_nobodys_business(payment: Payment, patient: User) -> None:
    client = Client()
    client.force_login(patient)
    assert client.get(page_of(payment)).status_code == 200
    assert not RecordView.objects.exists()


def test_who_opens_more_payments_than_anybody_reads_is_stopped_for_a_minute(
    payment: Payment, caplog: pytest.LogCaptureFixture
) -> None:
    hasty, other = signed_in("hasty", "front desk"), signed_in("other", "front desk")
    looks = [RecordView(payment=payment, user=User.objects.get(username="hasty")) for _ in range(READS_A_MINUTE)]
    RecordView.objects.bulk_create(looks)
    assert hasty.get(desk_page_of(payment)).status_code == 200
    RecordView.objects.bulk_create([RecordView(payment=payment, user=looks[0].user)])
    refused = hasty.get(desk_page_of(payment))
    assert (refused.status_code, refused["Retry-After"]) == (429, "60")
    assert "Trop de paiements" in text_of(refused)
    assert payment.appointment.reference not in refused.content.decode()
    assert "TooManyReads" in str([record.name for record in caplog.records])
    assert hasty.get("/desk/").status_code == other.get(desk_page_of(payment)).status_code == 200
    with time_machine.travel(timezone.now() + datetime.timedelta(seconds=61)):
        assert hasty.get(desk_page_of(payment)).status_code == 200


def test_looks_are_forgotten_after_a_year(payment: Payment, clerk: User) -> None:
    for days in (300, 400):
        RecordView.objects.create(payment=payment, user=clerk, at=timezone.now() - datetime.timedelta(days=days))
    call_command("prune")
    assert RecordView.objects.count() == 1


# Erasure


def whole_database() -> str:
    """Return every value of every table, as one text."""
    with connection.cursor() as cursor:
        rows = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - our own tables
            rows += cursor.fetchall()
    return str(rows)


def test_an_erased_patient_is_nowhere_and_their_money_still_is(
    book: Callable[..., Payment], stripe: StripeAtHome, capsys: Capture
) -> None:
    djstripe.bootstrap()
    payment = planted(book)
    live_through(payment, stripe)
    Fact.objects.update(recorded_at=timezone.now() - datetime.timedelta(minutes=5))
    call_command("sweep")  # retries the refund that Stripe didn't answer
    stripe.tell()
    call_command("mirror")
    payment.appointment.practitioner.name = "Dr Mercier"
    payment.appointment.practitioner.save()

    call_command("erase_patient", CANARIES["login"], "--dry-run")
    call_command("erase_patient", CANARIES["login"])
    assert "Nothing was changed" in capsys.readouterr().out
    assert CANARIES["last name"] in whole_database()

    payment.refresh_from_db()
    before = (payment.status, payment.amount_received, payment.amount_refunded, payment.changes.count())
    call_command("erase_patient", CANARIES["login"], "--yes")
    assert found_in(whole_database()) == []
    patient = User.objects.get(pk=payment.appointment.patient_id)
    assert (patient.email, patient.phone, patient.preferred_language) == ("", "", "")
    call_command("replay_events", "--force")
    payment.refresh_from_db()
    assert (payment.status, payment.amount_received, payment.amount_refunded, payment.changes.count()) == before
    assert signed_in("books", "accountant").get(desk_page_of(payment)).status_code == 200


def test_a_payer_is_forgotten_in_deliveries_that_were_not_applied_and_can_still_be(
    book: Callable[..., Payment],
) -> None:
    payment, others = planted(book), book()
    story, failing = Story(payment), Client(raise_request_exception=False)
    failed, strange, other_mode = story.completed(), story.refund(500), story.succeeded()
    for event in (failed, strange, other_mode):
        event["data"]["object"]["billing_details"] = PAYER
    strange["data"]["object"]["created"] = -1
    other_mode["livemode"] = True
    somebodys = Story(others).completed() | {"livemode": True}
    somebodys["data"]["object"]["billing_details"] = {"name": "Someone Else"}
    deliver(story.charged())
    with broken_ledger():
        told = [deliver(event, failing).content for event in (failed, strange, other_mode, somebodys)]
    assert told[1:] == [b"quarantined", b"rejected_livemode", b"rejected_livemode"]
    payment.appointment.practitioner.name = "Dr Mercier"
    payment.appointment.practitioner.save()
    assert PAYER["name"] in whole_database()
    call_command("erase_patient", CANARIES["login"], "--yes")
    assert found_in(whole_database()) == []
    assert "Someone Else" in whole_database()
    call_command("replay_events", "--failed")
    assert not EventReceipt.objects.failed().exists()


def test_who_is_still_needed_is_not_erased(payment: Payment, patient: User, clerk: User) -> None:
    for name, reason in (
        ("camille", "appointments to come"),
        ("desk", "is staff"),
        ("nobody", "Nobody has the user name"),
    ):
        with pytest.raises(CommandError, match=reason):
            call_command("erase_patient", name, "--yes")
    over = timezone.now() - datetime.timedelta(days=1)
    Appointment.objects.update(start=over - datetime.timedelta(hours=1), end=over)
    Payment.objects.update(status="processing")
    with pytest.raises(CommandError, match="on their way"):
        call_command("erase_patient", "camille", "--yes")
    patient.refresh_from_db()
    assert patient.email
