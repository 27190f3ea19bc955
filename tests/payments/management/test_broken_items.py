"""Tests that no command stops because of one Stripe object, event or row that it can't handle.

The simulated Stripe is the sandbox.
"""

import datetime
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from djstripe.models import Charge

from accounts.models import User
from payments import doctor
from payments.desk.giving_back import give_back
from payments.desk.refund_orders import Order
from payments.doctor.finding import Level
from payments.domain.status import PaymentStatus as S
from payments.domain.status import Terms, derive
from payments.gateway import djstripe
from payments.gateway.client import StripeUnavailableError
from payments.models import EventReceipt, Fact, Payment
from tests.payments.clients import text_of
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
Capture = pytest.CaptureFixture[str]
BROKEN_PRICE = 6600


@pytest.fixture
def two(book: Callable[..., Payment], stripe: StripeAtHome) -> tuple[Payment, Payment]:
    """Return two payments that were paid, but whose webhooks got lost; the first one's price is BROKEN_PRICE."""
    payments = book(BROKEN_PRICE), book()
    for payment in payments:
        stripe.do("pay", session=open_checkout(payment))
    return payments


@pytest.fixture
def charge(two: tuple[Payment, Payment], stripe: StripeAtHome) -> str:
    """Give the first payment's charge a status that the site doesn't know, and return the charge's id."""
    charge = next(str(charge["id"]) for charge in stripe.listed("charges") if charge["amount"] == BROKEN_PRICE)
    stripe.do("status", object=charge, status="melting", event="")
    return charge


def break_ledger_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the ledger, which changes payments' status, raise an error for payments whose price is BROKEN_PRICE."""

    def fails(facts: Any, terms: Terms) -> Any:
        if terms.price == BROKEN_PRICE:
            raise KeyError("broken")
        return derive(facts, terms)

    monkeypatch.setattr("payments.ledger.derive", fails)


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def statuses(*payments: Payment) -> list[str]:
    return [Payment.objects.get(pk=payment.pk).status for payment in payments]


def is_named_by_the_doctor(stripe_id: str) -> bool:
    finding = doctor.CHECKS["objects-quarantined"]()
    return finding.level == Level.WARNING and stripe_id in finding.what and "reconcile" in finding.fix


@pytest.mark.parametrize(
    "command", [("sweep", "--quiet-for", "0"), ("reconcile", "--fix"), ("catch_up", "--since", "2020-01-01")]
)
def test_an_object_with_an_unknown_status_stops_no_command(
    two: tuple[Payment, Payment], charge: str, stripe: StripeAtHome, capsys: Capture, command: tuple[str, ...]
) -> None:
    with pytest.raises(CommandError, match=f"1 failed: {two[0].public_id}") as ended:
        call_command(*command)
    assert ended.value.returncode == 1
    assert f"{charge}: charge status 'melting' is unknown" in capsys.readouterr().err
    assert statuses(*two) == [S.PAID, S.PAID]
    assert is_named_by_the_doctor(charge)
    stripe.do("status", object=charge, status="succeeded", event="")
    call_command("reconcile", "--fix")
    assert doctor.CHECKS["objects-quarantined"]().level == Level.OK


@pytest.mark.parametrize("kind", ["checkout/sessions", "payment_intents", "refunds", "disputes"])
@pytest.mark.parametrize("command", [("sweep", "--quiet-for", "0"), ("reconcile", "--fix")])
def test_any_kind_of_object_may_be_unknown(
    paid: Payment, book: Callable[..., Payment], stripe: StripeAtHome, kind: str, command: tuple[str, ...]
) -> None:
    """Commands name an object of any kind that has an unknown status, and go on with the next payment."""
    intent, other = paid.facts.get(kind="intent").stripe_id, book()
    stripe.do("refund", payment_intent=intent, amount=1000)
    stripe.do("dispute", payment_intent=intent)
    stripe.tell()
    strange = next(str(obj["id"]) for obj in stripe.listed(kind) if intent in (obj["id"], obj.get("payment_intent")))
    stripe.do("status", object=strange, status="melting", event="")
    stripe.do("pay", session=open_checkout(other))
    stripe.do("clock", offset=2 * 24 * 3600)
    later = timezone.now() + datetime.timedelta(days=2)
    with time_machine.travel(later), pytest.raises(CommandError, match=f"1 failed: {paid.public_id}"):
        call_command(*command)
    assert statuses(other) == [S.PAID]
    assert is_named_by_the_doctor(strange)


@pytest.mark.parametrize("step", ["completed", "succeeded", "charged", "refund", "dispute"])
def test_a_webhook_with_an_unknown_status_is_set_aside_and_changes_nothing(story: Story, step: str) -> None:
    deliver(story.charged())
    arguments: dict[str, tuple[Any, ...]] = {"refund": (1000,), "dispute": ("lost",)}
    event = getattr(story, step)(*arguments.get(step, ()))
    event["data"]["object"]["status"] = "melting"
    assert deliver(event).status_code == 200
    assert statuses(story.payment) == [S.PAID]
    assert doctor.CHECKS["events-quarantined"]().level == Level.WARNING


def test_a_comparison_without_fix_names_the_object_too(two: tuple[Payment, Payment], charge: str) -> None:
    with pytest.raises(CommandError, match=f"1 failed: {two[0].public_id}"):
        call_command("reconcile")
    assert statuses(*two) == [S.CHECKOUT_OPEN, S.CHECKOUT_OPEN]
    assert is_named_by_the_doctor(charge)


def test_check_with_stripe_says_that_an_object_is_not_understood(
    two: tuple[Payment, Payment], charge: str, as_patient: Client
) -> None:
    address = reverse("clinic:confirm_payment", args=[two[0].public_id])
    answer = as_patient.post(address, follow=True, headers={"Accept-Language": "en"})
    assert answer.status_code == 200
    assert "Stripe reports something about this payment that this site doesn’t understand" in text_of(answer)
    assert statuses(two[0]) == [S.PAID]
    assert is_named_by_the_doctor(charge)


def test_a_made_refund_with_an_unknown_status_is_not_made_again(
    paid: Payment, stripe: StripeAtHome, clerk: User
) -> None:
    stripe.do("api", mode="error500", processed=True, drop_webhooks=True, match="/v1/refunds", method="POST")
    with pytest.raises(StripeUnavailableError):
        give_back(paid, Order(2000, ""), clerk, key="c0ffee")
    stripe.do("api", mode="ok")
    (refund,) = stripe.listed("refunds")
    stripe.do("status", object=refund["id"], status="melting", event="")
    Fact.objects.update(recorded_at="2020-01-01T00:00:00Z")
    with pytest.raises(CommandError, match="request_c0ffee"):
        call_command("sweep")
    assert len(stripe.listed("refunds")) == 1
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refund_pending) == (S.REFUND_PENDING, 2000)
    assert is_named_by_the_doctor(refund["id"])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("command", [("sweep", "--quiet-for", "0"), ("reconcile", "--fix"), ("catch_up",)])
def test_a_payment_that_raises_stops_no_command(
    two: tuple[Payment, Payment], monkeypatch: pytest.MonkeyPatch, capsys: Capture, command: tuple[str, ...]
) -> None:
    break_ledger_for_one(monkeypatch)
    with pytest.raises(CommandError, match=r"\d failed: "):
        call_command(*command)
    assert "KeyError: 'broken'" in capsys.readouterr().err
    assert statuses(*two) == [S.CHECKOUT_OPEN, S.PAID]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("command", [("sweep", "--quiet-for", "0"), ("reconcile", "--fix"), ("catch_up",)])
def test_a_row_that_the_database_refuses_stops_no_command(
    database: str, two: tuple[Payment, Payment], capsys: Capture, command: tuple[str, ...]
) -> None:
    before = f"BEFORE UPDATE ON clinic_payments_payment FOR EACH ROW WHEN (NEW.amount_due = {BROKEN_PRICE})"
    if database == "sqlite":
        execute(f"CREATE TRIGGER refuse {before} BEGIN SELECT RAISE(ABORT, 'row refused'); END")
    else:
        body = "BEGIN RAISE EXCEPTION 'row refused'; END"
        execute(f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        execute(f"CREATE TRIGGER refuse {before} EXECUTE FUNCTION refuse()")
    try:
        with pytest.raises(CommandError, match=r"\d failed: "):
            call_command(*command)
    finally:
        execute("DROP TRIGGER refuse" if database == "sqlite" else "DROP FUNCTION refuse CASCADE")
    assert "Error: row refused" in capsys.readouterr().err
    assert statuses(*two) == [S.CHECKOUT_OPEN, S.PAID]


@pytest.mark.django_db(transaction=True)
def test_catch_up_marks_an_event_that_raises_as_failed_and_a_replay_applies_it(
    two: tuple[Payment, Payment], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        break_ledger_for_one(patch)
        with pytest.raises(CommandError, match=r"\d failed: evt_"):
            call_command("catch_up")
        assert statuses(*two) == [S.CHECKOUT_OPEN, S.PAID]
        assert EventReceipt.objects.filter(outcome="failed", detail="KeyError").count() == 3
        with pytest.raises(CommandError, match=r"\d failed: evt_"):
            call_command("replay_events", "--failed")
    call_command("replay_events", "--failed")
    assert statuses(*two) == [S.PAID, S.PAID]


def test_catch_up_and_replay_name_an_event_that_is_not_understood(
    two: tuple[Payment, Payment], charge: str, stripe: StripeAtHome, capsys: Capture
) -> None:
    stripe.do("status", object=charge, status="melting", event="charge.succeeded")
    with pytest.raises(CommandError, match=r"\d failed: evt_"):
        call_command("catch_up")
    assert "charge status 'melting' is unknown" in capsys.readouterr().err
    assert statuses(*two) == [S.PAID, S.PAID]
    call_command("catch_up")  # the event is quarantined, and no longer new
    with pytest.raises(CommandError, match="1 failed: evt_"):
        call_command("replay_events", "--force")
    assert doctor.CHECKS["events-quarantined"]().level == Level.WARNING


def test_a_broken_event_stops_no_replay(
    book: Callable[..., Payment], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    broken, whole = Story(book(BROKEN_PRICE)), Story(book())
    with monkeypatch.context() as patch:
        patch.setattr("payments.ledger.derive", lambda *facts_and_terms: 1 / 0)
        for story in (broken, whole):
            deliver(story.completed(), Client(raise_request_exception=False))
    break_ledger_for_one(monkeypatch)
    with pytest.raises(CommandError, match="1 failed: evt_"):
        call_command("replay_events", "--failed")
    assert statuses(broken.payment, whole.payment) == [S.UNPAID, S.PAID]
    assert "2 replayed, 1 moved" in capsys.readouterr().out


def test_mirror_goes_on_after_an_object_that_it_cannot_copy(
    two: tuple[Payment, Payment], charge: str, stripe: StripeAtHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    djstripe.bootstrap()
    stripe.tell()
    copy = Charge.sync_from_stripe_data

    def fails(data: Any, **options: Any) -> Any:
        if data["status"] == "melting":
            raise ValueError("unknown status")
        return copy(data, **options)

    monkeypatch.setattr(Charge, "sync_from_stripe_data", fails)
    with pytest.raises(CommandError, match=f"1 failed: {charge}"):
        call_command("mirror")
    assert set(EventReceipt.objects.unmirrored().values_list("object_id", flat=True)) == {charge}
    assert Charge.objects.get().amount == 50
    EventReceipt.objects.update(received_at="2020-01-01T00:00:00Z")
    assert charge in doctor.CHECKS["mirror"]().what


def test_a_command_gives_up_when_stripe_is_down(book: Callable[..., Payment], stripe: StripeAtHome) -> None:
    for _ in range(8):
        open_checkout(book())
    stripe.do("api", mode="error500")
    with pytest.raises(CommandError, match=r"5 failed: .* Stripe or the database doesn't answer: 3 not tried"):
        call_command("reconcile")
