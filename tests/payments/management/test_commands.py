"""Tests of the management commands, with the sandbox as Stripe."""

import datetime
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from djstripe.models import Charge, PaymentIntent, Refund, Session, WebhookEventTrigger

from accounts.models import User
from payments.desk.giving_back import give_back
from payments.desk.refund_orders import Order
from payments.domain.status import PaymentStatus as S
from payments.domain.status import Review
from payments.gateway import background, djstripe, sweep
from payments.gateway.reading import Reading
from payments.gateway.retrieve import everything_at_stripe
from payments.models import Cursor, EventReceipt, Fact, Feed, FeedEntry, Payment, StatusChange
from tests.payments.faults import broken_ledger
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
DAY = 24 * 3600
Capture = pytest.CaptureFixture[str]


def counts() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Fact, StatusChange, FeedEntry, EventReceipt))


def pay_without_webhooks(payment: Payment, stripe: StripeAtHome) -> None:
    """Pay the payment at Stripe without delivering any webhook."""
    stripe.do("pay", session=open_checkout(payment))


def test_catch_up_brings_what_never_reached_us(payment: Payment, stripe: StripeAtHome, capsys: Capture) -> None:
    pay_without_webhooks(payment, stripe)
    before = counts()
    call_command("catch_up", "--dry-run")
    assert f"{payment.public_id} checkout_open -> paid" in capsys.readouterr().out
    assert counts() == before
    call_command("catch_up")
    payment.refresh_from_db()
    assert payment.status == S.PAID
    assert payment.changes.filter(to_status=S.PAID).get().source == "catch_up"
    before = counts()
    call_command("catch_up")
    assert counts() == before
    assert "0 payments moved" in capsys.readouterr().out


@pytest.mark.parametrize("days", [2, 10])
def test_catch_up_fills_a_gap_also_before_a_later_event(
    payment: Payment, book: Callable[..., Payment], stripe: StripeAtHome, days: int
) -> None:
    """The command catch_up applies a missed event, even if a later event has arrived in the meantime.

    A later one has arrived if the event was missed 2 days ago, and none if it was missed 10 days ago.
    """
    stripe.do("clock", offset=-days * DAY)
    with time_machine.travel(timezone.now() - datetime.timedelta(days=days)):
        pay_without_webhooks(book(), stripe)
        stripe.tell()
        pay_without_webhooks(payment, stripe)
    stripe.do("clock", offset=0)
    if days < 3:
        pay_without_webhooks(book(), stripe)
        deliver(stripe.events()[-1])
    call_command("catch_up")
    payment.refresh_from_db()
    assert payment.status == S.PAID


def test_catch_up_past_thirty_days_asks_object_by_object(
    payment: Payment, stripe: StripeAtHome, capsys: Capture
) -> None:
    stripe.do("clock", offset=-40 * DAY)
    with time_machine.travel(timezone.now() - datetime.timedelta(days=40)):
        pay_without_webhooks(payment, stripe)
    stripe.do("clock", offset=0)
    call_command("catch_up", "--since", (timezone.now() - datetime.timedelta(days=45)).strftime("%Y-%m-%d"))
    payment.refresh_from_db()
    assert payment.status == S.PAID
    assert "30 days" in capsys.readouterr().out


def test_catch_up_says_when_stripe_is_out_of_reach(payment: Payment, stripe: StripeAtHome) -> None:
    stripe.do("api", mode="error500")
    with pytest.raises(CommandError, match="run it again"):
        call_command("catch_up")


def test_reconcile_prints_differences_and_fixes_them_when_told(
    payment: Payment, stripe: StripeAtHome, capsys: Capture
) -> None:
    pay_without_webhooks(payment, stripe)
    before = counts()
    with pytest.raises(CommandError, match="--fix"):
        call_command("reconcile")
    assert f"{payment.public_id} ours: checkout_open 0" in capsys.readouterr().out
    assert counts() == before
    call_command("reconcile", "--fix")
    payment.refresh_from_db()
    assert payment.status == S.PAID
    call_command("reconcile", str(payment.public_id))
    assert "1 compared, 0 differed" in capsys.readouterr().out


def test_an_interrupted_reconcile_goes_on_where_it_was(
    book: Callable[..., Payment], stripe: StripeAtHome, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A reconcile that is interrupted with Ctrl-C continues in the next run, and counts earlier differences, too.

    Ctrl-C comes at the third of four payments; the first and the last differ. A run for a single payment in between
    doesn't change where the interrupted run continues.
    """
    payments = [book() for _ in range(4)]
    sessions = [open_checkout(payment) for payment in payments]
    for session in (sessions[0], sessions[3]):
        stripe.do("pay", session=session)
    asked: list[Payment] = []

    def reading(payment: Payment) -> Reading:
        asked.append(payment)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return everything_at_stripe(payment)

    monkeypatch.setattr("payments.management.commands.reconcile.everything_at_stripe", reading)
    with pytest.raises(CommandError, match="Interrupted"):
        call_command("reconcile")
    call_command("reconcile", str(payments[1].public_id))
    assert "1 compared, 0 differed" in capsys.readouterr().out
    with pytest.raises(CommandError, match="There are differences"):
        call_command("reconcile")
    assert "Going on after 2 of 4 payments" in (out := capsys.readouterr().out)
    assert "4 compared, 2 differed" in out
    assert asked == [*payments[:3], payments[1], *payments[2:]]
    with pytest.raises(CommandError, match="There are differences"):
        call_command("reconcile")
    assert "Going on" not in capsys.readouterr().out
    assert len(asked) == 10


@pytest.mark.parametrize("way", ["restart", "fix", "old"])
def test_reconcile_begins_again(book: Callable[..., Payment], stripe: StripeAtHome, capsys: Capture, way: str) -> None:
    """An interrupted run isn't resumed with --restart, after more than a week, or with --fix if it had no --fix."""
    for _ in range(2):
        open_checkout(book())
    first = Payment.objects.order_by("pk")[0]
    Cursor.objects.create(run="reconcile", position=first.pk, counts={"differed": 0, "failed": []})
    if way == "old":
        Cursor.objects.update(updated_at=timezone.now() - datetime.timedelta(days=8))
    call_command("reconcile", *([] if way == "old" else [f"--{way}"]))
    assert "Going on" not in (out := capsys.readouterr().out)
    assert "2 compared, 0 differed" in out
    assert Cursor.objects.count() == (way == "fix")


def test_reconcile_names_what_failed_before_it_was_interrupted(
    book: Callable[..., Payment], stripe: StripeAtHome, capsys: Capture
) -> None:
    for _ in range(2):
        open_checkout(book())
    first = Payment.objects.order_by("pk")[0]
    Cursor.objects.create(run="reconcile", position=first.pk, counts={"differed": 0, "failed": [str(first)]})
    with pytest.raises(CommandError, match=f"1 failed: {first}"):
        call_command("reconcile")
    assert "2 compared, 0 differed" in capsys.readouterr().out
    assert not Cursor.objects.exists()


def test_replay_leaves_applied_events_alone_unless_forced(story: Story, capsys: Capture) -> None:
    events = [story.failed(), story.charged()]
    for event in events:
        deliver(event)
    before = counts()
    call_command("replay_events")
    assert "0 replayed" in capsys.readouterr().out
    call_command("replay_events", "--force", "--type", "charge.*")
    out = capsys.readouterr().out
    assert f"{events[1]['id']} charge.succeeded no_change" in out
    assert "1 replayed, 0 moved, 0 failed" in out
    assert counts() == before


def test_replay_applies_a_failed_delivery(story: Story, capsys: Capture) -> None:
    event = story.completed()
    with broken_ledger():
        with pytest.raises(ZeroDivisionError):
            deliver(event)
        with pytest.raises(CommandError, match="1 failed: evt_"):
            call_command("replay_events", "--failed")
    call_command("replay_events", "--failed", "--dry-run")
    assert "unpaid -> paid" in capsys.readouterr().out
    story.payment.refresh_from_db()
    assert story.payment.status == S.UNPAID
    call_command("replay_events", "--failed")
    story.payment.refresh_from_db()
    assert story.payment.status == S.PAID


def test_sweep_settles_what_stands_still(payment: Payment, stripe: StripeAtHome, capsys: Capture) -> None:
    pay_without_webhooks(payment, stripe)
    call_command("sweep", "--quiet-for", "10")
    payment.refresh_from_db()
    assert payment.status == S.CHECKOUT_OPEN  # the payment is too recent for a sweep
    before = counts()
    call_command("sweep", "--quiet-for", "0", "--dry-run")
    assert f"{payment.public_id} checkout_open -> paid" in capsys.readouterr().out
    assert counts() == before
    call_command("sweep", "--quiet-for", "0")
    payment.refresh_from_db()
    assert (payment.status, payment.changes.get(to_status=S.PAID).source) == (S.PAID, "sweep")


def swept(capsys: Capture) -> list[str]:
    """Run the command sweep, and return the public ids of the payments that it found incomplete."""
    capsys.readouterr()
    call_command("sweep", "--quiet-for", "0")
    lines = capsys.readouterr().out.splitlines()
    return [line.removeprefix("incomplete: ") for line in lines if line.startswith("incomplete: ")]


@pytest.mark.postgres
def test_sweep_finds_a_refund_of_which_only_the_charge_tells(
    database: str, paid: Payment, stripe: StripeAtHome, clerk: User, capsys: Capture
) -> None:
    """Sweep fetches a refund made in the Dashboard if only the event about the refund's charge arrived."""
    assert connection.vendor.startswith(database)
    give_back(paid, Order(1000, ""), clerk, key=uuid4().hex)
    stripe.tell()
    assert swept(capsys) == []
    refund = stripe.do("refund", payment_intent=paid.facts.get(kind="intent").stripe_id, amount=2000)
    about_charge = [event for event in stripe.events() if event["type"] == "charge.refunded"]
    deliver(about_charge[-1])
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refunded) == (S.PARTIALLY_REFUNDED, 3000)
    assert swept(capsys) == [str(paid)]
    paid.refresh_from_db()
    assert paid.amount_refunded == 3000
    assert Fact.objects.filter(stripe_id=refund["id"]).exists()
    assert swept(capsys) == []


@pytest.mark.parametrize("returned", [True, False])
def test_sweep_finds_a_returned_debit_and_a_refund_of_which_all_events_got_lost(
    payment: Payment, book: Callable[..., Payment], stripe: StripeAtHome, capsys: Capture, returned: bool
) -> None:
    for each in (payment, book()):
        session_id = open_checkout(each)
        stripe.do("pay", session=session_id, outcome="processing")
        stripe.do("settle", session=session_id)
    stripe.tell()
    intent = payment.facts.get(kind="intent").stripe_id
    stripe.do("dispute" if returned else "refund", payment_intent=intent)
    capsys.readouterr()
    call_command("sweep", "--quiet-for", "0")
    assert f"not heard of: {intent}" in capsys.readouterr().out
    payment.refresh_from_db()
    assert payment.status == (S.CHARGED_BACK if returned else S.REFUND_PENDING)
    assert payment.reviews == (["taken_back"] if returned else [])
    call_command("sweep", "--quiet-for", "0")
    assert "not heard of" not in capsys.readouterr().out


@pytest.mark.parametrize(("status", "ends_as"), [("won", S.PAID), ("lost", S.CHARGED_BACK)])
def test_sweep_learns_daily_how_a_dispute_ends(
    paid: Payment, stripe: StripeAtHome, capsys: Capture, status: str, ends_as: S
) -> None:
    dispute = stripe.do("dispute", payment_intent=paid.facts.get(kind="intent").stripe_id)
    stripe.tell()
    stripe.do("dispute_status", dispute=dispute["id"], status=status)
    assert swept(capsys) == []
    stripe.do("clock", offset=2 * DAY)
    with time_machine.travel(timezone.now() + datetime.timedelta(days=2)):
        assert swept(capsys) == [str(paid)]
        paid.refresh_from_db()
        assert paid.status == ends_as
        assert swept(capsys) == []
    stripe.do("clock", offset=4 * DAY)
    with time_machine.travel(timezone.now() + datetime.timedelta(days=4)):
        assert swept(capsys) == ([str(paid)] if status == "lost" else [])


def test_sweep_learns_that_a_lost_dispute_was_won_after_all(
    paid: Payment, stripe: StripeAtHome, capsys: Capture
) -> None:
    dispute = stripe.do("dispute", payment_intent=paid.facts.get(kind="intent").stripe_id)
    stripe.do("dispute_status", dispute=dispute["id"], status="lost")
    stripe.tell()
    paid.refresh_from_db()
    assert paid.status == S.CHARGED_BACK
    stripe.do("dispute_status", dispute=dispute["id"], status="won")
    stripe.do("clock", offset=2 * DAY)
    with time_machine.travel(timezone.now() + datetime.timedelta(days=2)):
        assert swept(capsys) == [str(paid)]
    paid.refresh_from_db()
    assert paid.status == S.PAID


def test_sweep_asks_about_no_payment_without_a_gap(
    story: Story, book: Callable[..., Payment], django_assert_num_queries: Any
) -> None:
    """Sweep asks Stripe nothing about a payment whose refunds are all known, although one of them failed.

    It failed after the event about its charge, which therefore says that more was refunded.
    """
    events = [story.succeeded(), story.refund(1000), story.charge_refunded(1000), story.refund(1000, "failed")]
    for event in (*events, story.refund(500, name="2")):
        deliver(event)
    deliver(Story(book()).charged())
    with django_assert_num_queries(4):  # three searches, and the facts of what one of them found
        assert sweep.incomplete(datetime.timedelta()) == []


def test_sweep_sends_an_overdue_bank_debit_to_review(payment: Payment, stripe: StripeAtHome) -> None:
    stripe.do("pay", session=open_checkout(payment), outcome="processing")
    stripe.tell()
    StatusChange.objects.update(created_at=timezone.now() - datetime.timedelta(days=11))
    call_command("sweep")
    payment.refresh_from_db()
    assert (payment.status, payment.reviews) == (S.PROCESSING, [Review.STUCK])


def test_sweep_finds_the_payment_of_a_refund_that_came_first(payment: Payment, stripe: StripeAtHome) -> None:
    session_id = open_checkout(payment)
    stripe.do("pay", session=session_id)
    stripe.do("refund", session=session_id, amount=1000)
    refund_events = [event for event in stripe.events() if event["type"] == "refund.created"]
    assert [deliver(event).content for event in refund_events] == [b"deferred"]
    call_command("sweep")
    payment.refresh_from_db()
    assert (payment.status, payment.amount_refunded) == (S.PARTIALLY_REFUNDED, 1000)
    assert EventReceipt.objects.get(type="refund.created").outcome == "applied"


def test_sweep_drops_a_waiting_refund_of_somebody_else(story: Story, stripe: StripeAtHome) -> None:
    deliver(story.refund(1000))
    call_command("sweep")
    assert EventReceipt.objects.get().outcome == "ignored_foreign"
    assert not Fact.objects.exists()


def test_sweep_expires_a_page_that_must_not_be_paid_any_more(payment: Payment, stripe: StripeAtHome) -> None:
    session_id = open_checkout(payment)
    Payment.objects.update(payable=False)
    call_command("sweep")
    assert stripe.session(session_id)["status"] == "expired"
    assert not sweep.superfluous()


def test_sweep_expires_a_page_that_asks_for_an_earlier_price(payment: Payment, stripe: StripeAtHome) -> None:
    session_id = open_checkout(payment)
    assert not sweep.superfluous()
    Payment.objects.update(amount_owed=4000)
    call_command("sweep")
    assert stripe.session(session_id)["status"] == "expired"
    assert not sweep.superfluous()


def test_mirror_copies_objects_for_djstripes_admin(payment: Payment, stripe: StripeAtHome, clerk: User) -> None:

    djstripe.bootstrap()
    pay_without_webhooks(payment, stripe)
    stripe.tell()
    payment.refresh_from_db()
    give_back(payment, Order(1000, ""), clerk, key=uuid4().hex)
    stripe.tell()
    call_command("mirror")
    assert Session.objects.get().id.startswith("cs_")
    assert PaymentIntent.objects.get().id.startswith("pi_")
    assert Charge.objects.get().stripe_data["amount_refunded"] == 1000
    assert Refund.objects.get().stripe_data["amount"] == 1000
    assert not EventReceipt.objects.unmirrored().exists()


def test_webhooks_are_applied_while_the_api_is_down_and_the_mirror_catches_up(
    payment: Payment, stripe: StripeAtHome, capsys: Capture
) -> None:
    djstripe.bootstrap()
    pay_without_webhooks(payment, stripe)
    events = stripe.events()
    stripe.do("api", mode="error500")
    for event in events:
        deliver(event)
    payment.refresh_from_db()
    assert payment.status == S.PAID
    with pytest.raises(CommandError, match="3 failed"):
        call_command("mirror")
    call_command("mirror", "--dry-run")
    assert "3 objects wait" in capsys.readouterr().out
    stripe.do("api", mode="ok")
    call_command("mirror")
    assert PaymentIntent.objects.exists()


def test_prune_marks_pruned_feeds(story: Story) -> None:
    deliver(story.failed())
    deliver(story.charged())
    FeedEntry.objects.filter(seq__lte=2).update(created_at=timezone.now() - datetime.timedelta(days=8))
    call_command("prune")
    assert set(Feed.objects.values_list("pruned", "head")) == {(2, 3)}
    assert set(FeedEntry.objects.values_list("seq", flat=True)) == {3}


def test_prune_keeps_the_bodies_that_a_replay_needs_and_no_others(story: Story, capsys: Capture) -> None:
    stored, healed, failed, strange = story.requires_action(), story.charged(), story.completed(), story.succeeded()
    strange["data"]["object"]["amount_received"] = "much"
    other_mode = story.failed() | {"livemode": True}
    with broken_ledger():
        for event in (healed, failed):
            deliver(event, Client(raise_request_exception=False))
    for event in (stored, healed, strange, other_mode):
        deliver(event)
    assert dict(EventReceipt.objects.values_list("stripe_event_id", "outcome")) == {
        stored["id"]: "applied",
        healed["id"]: "applied",
        failed["id"]: "failed",
        strange["id"]: "quarantined",
        other_mode["id"]: "rejected_livemode",
    }
    assert WebhookEventTrigger.objects.count() == 5
    background.store_waiting_events()
    call_command("prune")
    assert WebhookEventTrigger.objects.count() == 5
    WebhookEventTrigger.objects.update(created=timezone.now() - datetime.timedelta(days=8))
    call_command("prune", "--dry-run")
    assert WebhookEventTrigger.objects.count() == 5
    background.store_waiting_events()
    call_command("prune")
    assert {trigger.json_body["id"] for trigger in WebhookEventTrigger.objects.all()} == {failed["id"], strange["id"]}
    capsys.readouterr()
    with pytest.raises(CommandError, match=f"1 failed: {strange['id']}"):
        call_command("replay_events", "--force")
    assert "4 replayed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", ["replay_events", "catch_up", "reconcile", "sweep", "mirror", "prune", "erase_patient"]
)
def test_each_command_explains_itself(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        call_command(command, "--help")
    assert len(capsys.readouterr().out) > 200


def test_a_payments_whole_life_shows_in_its_timeline(payment: Payment, stripe: StripeAtHome, clerk: User) -> None:
    """Each change in a payment's life is stored with its source, and with the person who caused it.

    The payment is declined, needs 3-D Secure, is paid and partly refunded; the refund fails; a dispute is won.
    """

    session_id = open_checkout(payment)
    stripe.do("pay", session=session_id, outcome="declined")
    stripe.tell()
    stripe.do("pay", session=session_id, card="4000002760003184")
    stripe.tell()
    stripe.do("authenticate", session=session_id)
    stripe.tell()
    payment.refresh_from_db()
    give_back(payment, Order(1000, "requested_by_customer"), clerk, key=uuid4().hex)
    stripe.do("clock", offset=4 * DAY)
    refund = Fact.objects.filter(kind="refund").exclude(stripe_id__startswith="request_").get()
    stripe.do("refund_status", refund=refund.stripe_id, status="failed")
    stripe.tell()
    dispute = stripe.do("dispute", session=session_id)
    stripe.tell()
    stripe.do("dispute_status", dispute=dispute["id"], status="won")
    stripe.tell()
    payment.refresh_from_db()
    changes = list(payment.changes.all())
    assert [change.to_status for change in changes if change.moved] == [
        S.CHECKOUT_OPEN,
        S.PAID,
        S.REFUND_PENDING,
        S.PARTIALLY_REFUNDED,
        S.PAID,
        S.DISPUTED,
        S.PAID,
    ]
    assert payment.reviews == [Review.REFUND_FAILED]
    for change in changes:
        assert change.source
        assert change.stripe_event_id or change.source in ("appointment", "checkout", "refund")
        assert (change.actor == clerk) == (
            change.to_status in (S.REFUND_PENDING, S.PARTIALLY_REFUNDED) and change.moved
        )
        assert json.dumps(change.standing)
