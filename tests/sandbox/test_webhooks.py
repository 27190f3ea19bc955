"""Tests of the sandbox's webhooks: signatures, retries, and deliveries that are late, repeated, reversed or lost."""

from pathlib import Path

import pytest

from tests.sandbox.stripe_account import SECRET, Receiver, Refused, StripeAccount, receiving, running
from tests.waits import wait_until

FOUR = {"payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "checkout.session.completed"}


def test_every_delivery_is_signed_and_recorded_with_its_answer(account: StripeAccount) -> None:
    account.paid()
    account.wait_for(*FOUR)
    wait_until(lambda: [found["state"] for found in account.deliveries()] == ["delivered"] * 4, "all are delivered")
    assert account.receiver.forged == []
    assert all(found["attempts"][0]["status"] == 200 for found in account.deliveries())
    assert account.v1.events.list().data[0].pending_webhooks == 0
    assert account.receiver.headers[0]["User-Agent"].startswith("Stripe/1.0")


@pytest.mark.parametrize("answers", [[500], [400, 503], [302], [301, 404]])
def test_it_is_sent_again_until_2xx_and_a_redirect_is_a_failure(account: StripeAccount, answers: list[int]) -> None:
    account.control("webhook_endpoints", url=account.receiver.url, events=["checkout.session.completed"])
    account.receiver.answers.extend(answers)
    account.paid()
    wait_until(lambda: account.deliveries(state="delivered"), "an event is delivered")
    attempts = account.deliveries()[0]["attempts"]
    assert [attempt["status"] for attempt in attempts] == [*answers, 200]
    assert len({event.id for event in account.receiver.events}) == 1


def test_a_site_that_is_away_gets_its_events_once_it_is_back(account: StripeAccount) -> None:
    with receiving(Receiver()) as away:
        pass
    account.control("webhook_endpoints", url=away.url, secret=SECRET)
    account.paid()
    wait_until(lambda: len(account.deliveries(url=away.url, state="retrying")) == 4, "four events are tried again")
    assert account.deliveries(url=away.url)[0]["attempts"][0]["error"] == "Connection refused"
    assert account.v1.events.list({"delivery_success": False}).data


def test_while_a_secret_is_rotated_both_verify(account: StripeAccount) -> None:
    account.control("webhook_endpoints", url=account.receiver.url, secrets=["whsec_new", SECRET])
    account.paid()
    account.wait_for(*FOUR)
    account.control("webhook_endpoints", url=account.receiver.url, secrets=["whsec_new"])
    account.session()
    account.paid()
    wait_until(lambda: account.receiver.forged, "a forged event comes")


def test_events_can_be_held_back_and_let_go(account: StripeAccount) -> None:
    account.control("delivery", mode="hold")
    account.paid()
    assert [found["state"] for found in account.deliveries()] == ["held"] * 4
    assert account.receiver.types == []
    account.control("delivery", mode="normal")
    account.wait_for(*FOUR)


def test_events_can_be_late(account: StripeAccount) -> None:
    account.control("delivery", mode="delay", seconds=0.5, types=["checkout.session.completed"])
    account.paid()
    account.wait_for(*FOUR)
    wait_until(lambda: account.deliveries(type="checkout.session.completed", state="delivered"), "it is delivered")
    slow = account.deliveries(type="checkout.session.completed")[0]
    assert slow["attempts"][0]["at"] - slow["created"] >= 0.5


def test_events_can_come_twice(account: StripeAccount) -> None:
    account.control("delivery", mode="duplicate", times=3, types=["charge.succeeded"])
    account.paid()
    wait_until(lambda: account.receiver.types.count("charge.succeeded") == 3, "it is told three times")
    account.wait_for(*FOUR)
    assert len({event.id for event in account.receiver.events}) == 4


def test_events_can_come_in_reverse(account: StripeAccount) -> None:
    account.control("delivery", mode="reverse", seconds=0.2)
    account.paid()
    account.wait_for(*FOUR)
    happened = [event.id for event in account.v1.events.list().data]  # newest first
    assert [event.id for event in account.receiver.events] == happened


def test_events_can_get_lost_and_be_resent_by_hand(account: StripeAccount) -> None:
    account.control("delivery", mode="drop")
    account.paid()
    lost = account.deliveries(type="charge.succeeded")[0]
    assert (lost["state"], account.receiver.types) == ("dropped", [])
    account.control("delivery", mode="normal")
    account.control("resend", delivery=lost["id"])
    account.wait_for("charge.succeeded")
    assert account.receiver.types == ["charge.succeeded"]


def test_endpoints_are_made_through_the_api_too(account: StripeAccount) -> None:
    with receiving(Receiver()) as other:
        made = account.v1.webhook_endpoints.create({"url": other.url, "enabled_events": ["charge.succeeded"]})
        other.secret = made.secret
        account.paid()
        wait_until(lambda: other.types == ["charge.succeeded"], "the other endpoint is told")
        assert "secret" not in account.v1.webhook_endpoints.retrieve(made.id)
        account.v1.webhook_endpoints.delete(made.id)
        account.paid()
        account.wait_for(*FOUR)
        assert other.types == ["charge.succeeded"]


def test_what_the_control_api_does_not_know_it_says(account: StripeAccount) -> None:
    with pytest.raises(Refused, match="mode is one of normal, delay"):
        account.control("delivery", mode="sideways")
    with pytest.raises(Refused, match="No such delivery"):
        account.control("resend", delivery="whd_none")
    with pytest.raises(Refused, match="colour is unknown here; the keys are mode, count"):
        account.control("api", mode="ok", colour="blue")


def test_a_state_file_keeps_everything_and_what_was_undelivered(tmp_path: Path) -> None:
    state = str(tmp_path / "sandbox.json")
    with receiving(Receiver()) as receiver:
        with running("--state-file", state) as url:
            before = StripeAccount(url, receiver)
            before.control("webhook_endpoints", url="http://127.0.0.1:9/", secret=SECRET)
            paid = before.paid()
            open_session = before.session().id
            wait_until(lambda: len(before.deliveries(state="retrying")) == 4, "four events are tried again")
        with running("--state-file", state) as url:
            after = StripeAccount(url, receiver)
            session = after.v1.checkout.sessions.retrieve(paid["session"]["id"], {"expand": ["line_items"]})
            assert (session.payment_status, session.line_items.data[0].amount_total) == ("paid", 6000)
            assert after.control("pay", session=open_session)["session"]["payment_status"] == "paid"
            assert len(after.deliveries(state="retrying")) >= 4
