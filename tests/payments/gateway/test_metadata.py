"""Tests of several sites that share one Stripe account: each site ignores the other sites' objects."""

import datetime
import uuid
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone
from djstripe.models import Event as DjstripeEvent

from accounts.models import User
from payments import metrics
from payments.desk.giving_back import give_back
from payments.desk.refund_orders import Order
from payments.domain.status import PaymentStatus as S
from payments.gateway import sweep
from payments.models import EventReceipt, Fact, Installation, Payment
from payments.models.installation import own_site_id
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Event, Story, deliver

pytestmark = pytest.mark.django_db
DAY = datetime.timedelta(days=1)
TOLD: dict[str, Callable[[Story], Event]] = {
    "session": lambda story: story.completed(),
    "intent": lambda story: story.succeeded(),
    "charge": lambda story: story.charge_refunded(1000),
    "refund": lambda story: story.refund(1000),
    "dispute": lambda story: story.dispute("needs_response"),
}


def marked(event: Event, site: str, **metadata: str) -> Event:
    """Return the event after adding the site id `site`, and the keys in `metadata`, to its object's metadata."""
    event["data"]["object"]["metadata"] |= {"site": site, **metadata}
    return event


def asked_stripe() -> list[str]:
    return sweep.waiting_links()


def test_what_is_sent_to_stripe_bears_the_sites_id(paid: Payment, stripe: StripeAtHome, clerk: User) -> None:
    give_back(paid, Order(1000, ""), clerk, key=uuid4().hex)
    ours = {"site": own_site_id(), "payment_id": str(paid.public_id)}
    objects = {event["data"]["object"]["object"]: event["data"]["object"] for event in stripe.events()}
    for kind in ("checkout.session", "payment_intent", "charge", "refund"):
        assert ours.items() <= objects[kind]["metadata"].items(), kind


@pytest.mark.parametrize("kind", TOLD)
def test_an_object_of_another_site_is_ignored_counted_and_stored_nowhere(kind: str, story: Story) -> None:
    counted = metrics.WEBHOOKS.labels("ignored_foreign")._value.get()
    event = marked(TOLD[kind](story), str(uuid4()), payment_id=str(uuid4()))
    assert deliver(event).content == b"ignored_foreign"
    assert metrics.WEBHOOKS.labels("ignored_foreign")._value.get() == counted + 1
    assert not Fact.objects.exists()
    assert not DjstripeEvent.objects.exists()
    assert not asked_stripe()
    assert not EventReceipt.objects.unmirrored().exists()


@pytest.mark.parametrize("payment_id", ["known", "unknown"])
def test_even_a_payment_of_ours_is_not_moved_by_another_site(payment_id: str, story: Story) -> None:
    event = marked(story.completed(), str(uuid4()))
    if payment_id == "unknown":
        event["data"]["object"]["metadata"]["payment_id"] = str(uuid4())
    assert deliver(event).content == b"ignored_foreign"
    story.payment.refresh_from_db()
    assert story.payment.status == S.UNPAID


@pytest.mark.parametrize("site", [5, {"id": "x"}, ["x"], "x" * 500])
def test_a_strange_site_is_another_site(site: Any, story: Story) -> None:
    assert deliver(marked(story.completed(), site)).content == b"ignored_foreign"


def test_a_broken_object_of_another_site_is_not_quarantined(story: Story) -> None:
    event = marked(story.completed(), str(uuid4()))
    event["data"]["object"]["amount_total"] = "much"
    assert deliver(event).content == b"ignored_foreign"


def test_a_payment_of_ours_that_is_not_known_yet_is_waited_for(story: Story) -> None:
    event = marked(story.succeeded(), own_site_id(), payment_id=str(uuid4()))
    assert deliver(event).content == b"deferred"
    assert asked_stripe() == [event["data"]["object"]["id"]]


def test_a_payment_id_without_a_site_counts_only_if_the_payment_is_known(story: Story) -> None:
    story.site = ""
    stranger = story.succeeded("B")
    stranger["data"]["object"]["metadata"]["payment_id"] = str(uuid4())
    assert deliver(stranger).content == b"ignored_foreign"
    assert not Fact.objects.exists()
    assert deliver(story.completed()).content == b"applied"


def dashboard_refund_elsewhere(payment: Payment, stripe: StripeAtHome) -> list[str]:
    """Pay another site's payment, refund it in the Dashboard, and deliver all of its events to this site.

    Return this site's answers to the deliveries.
    """
    session = open_checkout(payment)
    stripe.do("pay", session=session)
    stripe.do("refund", session=session, amount=1000)
    Payment.objects.filter(pk=payment.pk).update(public_id=uuid.uuid4())
    Fact.objects.all().delete()
    Installation.objects.update(site_id=uuid.uuid4())
    own_site_id.cache_clear()
    return stripe.tell()


def test_a_dashboard_refund_of_another_site_waits_until_stripe_says_whose_it_is(
    payment: Payment, stripe: StripeAtHome
) -> None:
    answers = dashboard_refund_elsewhere(payment, stripe)
    assert set(answers) <= {"ignored_foreign", "ignored_type", "deferred"}
    assert [fact.kind for fact in Fact.objects.all()] == ["refund"]
    call_command("sweep")
    assert not Fact.objects.exists()
    assert set(EventReceipt.objects.values_list("outcome", flat=True)) <= {"ignored_foreign", "ignored_type"}
    assert not asked_stripe()


@pytest.mark.parametrize("linked", [True, False])
def test_giving_up_ends_a_wait_and_prune_takes_the_fact(linked: bool, story: Story, stripe: StripeAtHome) -> None:
    stripe.do("api", mode="error500")
    event = story.dispute("needs_response")
    if not linked:
        event["data"]["object"]["payment_intent"] = None
    assert deliver(event).content == b"deferred"
    call_command("prune")
    assert Fact.objects.exists()
    with time_machine.travel(timezone.now() + sweep.GIVE_UP_AFTER + DAY):
        assert not asked_stripe()
        call_command("prune")
        assert Fact.objects.exists(), "not before the sweep has given up"
        with pytest.raises(CommandError):  # because it can't ask Stripe for new refunds and disputes
            call_command("sweep")
        assert EventReceipt.objects.get().outcome == "ignored_foreign"
        call_command("prune", "--dry-run")
        assert Fact.objects.exists()
        call_command("prune")
    assert not Fact.objects.exists()


def test_what_names_a_payment_of_ours_that_never_comes_is_given_up_for_a_person_and_kept(
    story: Story, stripe: StripeAtHome
) -> None:
    deliver(marked(story.succeeded(), own_site_id(), payment_id=str(uuid4())))
    deliver(story.refund(1000))
    with time_machine.travel(timezone.now() + sweep.GIVE_UP_AFTER + DAY):
        assert not asked_stripe()
        call_command("sweep")
        call_command("prune")
    assert set(EventReceipt.objects.values_list("type", "outcome")) == {
        ("payment_intent.succeeded", "dead"),
        ("refund.updated", "dead"),
    }
    assert Fact.objects.count() == 2
