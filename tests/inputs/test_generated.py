"""Tests with generated signatures, events and WebSocket messages: each gets one of the answers that are documented."""

import copy
import json
import random
import string
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payments.consumers import BAD_MESSAGE, refusal
from payments.domain.precedence import RANK_OF
from payments.gateway import djstripe
from payments.gateway.event_types import EVENT_READERS, from_event
from payments.gateway.objects import MalformedObjectError
from payments.gateway.signatures import NotAnEventError, parse_event
from payments.live.socket_sessions import NOT_ENTITLED, SIGNED_OUT, SocketSession
from payments.live.traces import Seen
from payments.models import EventReceipt, Payment
from tests.payments.domain.test_order import STEPS, NoDatabase
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Event, Story, deliver

pytestmark = pytest.mark.slow
MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
TEXT = st.text(st.characters(exclude_categories=()), max_size=12)  # including lone surrogates
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | TEXT
    | st.sampled_from(["", "0" * 300, "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.django_db
@given(st.text(string.ascii_letters + string.digits + "=,. vt1é\0", max_size=60) | TEXT, st.binary(max_size=40))
@settings(MANY, max_examples=150)
def test_any_signature_and_any_body_are_refused_and_leave_no_row(header: str, body: bytes) -> None:
    header = header.encode(errors="replace").decode("latin-1")
    said = deliver(body.decode("latin-1"), headers={"Stripe-Signature": header.replace("NOW", str(int(time.time())))})
    assert said.status_code == 400
    assert not EventReceipt.objects.exists()


@given(JSON.map(json.dumps) | st.text(max_size=40))
@MANY
def test_any_text_is_an_event_or_refused(text: str) -> None:
    try:
        event = parse_event(text)
    except NotAnEventError:
        return
    assert event is None or isinstance(event["id"], str)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value inside the JSON value `value`, at any depth.

    A path is a tuple of keys and indexes; it begins with those in `path`.
    """
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*path, name)
        yield from places(inner, (*path, name))


@st.composite
def changed_events(draw: st.DrawFn, payment: Any = None) -> Event:
    """Draw one of Stripe's usual events about `payment`, with one to three values replaced or removed at any depth."""
    step = draw(st.sampled_from(sorted(STEPS)))
    event: Event = copy.deepcopy(STEPS[step](Story(payment or NoDatabase()), "A"))
    for _ in range(draw(st.integers(1, 3))):
        *outer, name = draw(st.sampled_from(sorted(places(event), key=str)))
        at: Any = event
        for each in outer:
            at = at[each]
        if draw(st.booleans()):
            at[name] = draw(JSON)
        else:
            del at[name]
    return event


@given(changed_events())
@MANY
def test_a_changed_event_gives_facts_that_a_row_can_hold_or_is_refused(event: Event) -> None:
    try:
        parsed = parse_event(json.dumps(event))
        facts = from_event(parsed) if parsed else []
    except (NotAnEventError, MalformedObjectError):
        return
    for fact in facts:
        assert 0 < len(fact.stripe_id) <= 255
        assert max(len(fact.payment_intent_id), len(fact.charge_id)) <= 255
        assert len(fact.currency) <= 3
        assert len(fact.attempt) <= 40
        assert fact.status in RANK_OF[fact.kind]
        assert all(0 <= number < 2**53 for number in (fact.amount, fact.amount_refunded, fact.created, fact.as_of))


@pytest.mark.postgres(only=True)
@pytest.mark.django_db
@given(st.data())
@settings(MANY, max_examples=80)
def test_a_changed_event_is_answered_and_never_breaks_the_database(payment: Payment, data: st.DataObject) -> None:
    said = deliver(data.draw(changed_events(payment)))
    assert said.status_code in (200, 400)
    payment.refresh_from_db()
    assert 0 <= payment.amount_refunded <= payment.amount_received


@given(JSON.map(json.dumps) | st.text(max_size=60) | st.builds('{{"seen": {}, "payments": {}}}'.format, JSON, JSON))
@MANY
def test_any_text_of_a_page_is_understood_or_not(text: str) -> None:
    seen = Seen.parse(text)
    assert seen is None or (0 <= seen.seq < 2**60 and len(seen.payments) <= 100)


@given(st.dictionaries(st.sampled_from(["after", "feed", "lang", "try"]), TEXT), st.booleans())
@MANY
def test_any_question_of_a_page_is_answered_with_its_code(query: dict[str, str], known: bool) -> None:
    session = SocketSession(1, "key", "hash", "patient.1", 0, timezone.now()) if known else None
    code = refusal(query, session)
    assert code in (0, SIGNED_OUT, NOT_ENTITLED, BAD_MESSAGE)
    if code == 0:
        assert int(query.get("after", "0")) < 10**18


# Every way in which events come in has to end in one result


def pay(stripe: StripeAtHome, session: str, **how: Any) -> None:
    stripe.do("pay", session=session, **how)


LIVES: dict[str, Callable[[StripeAtHome, str], None]] = {
    "paid": lambda stripe, session: pay(stripe, session),
    "declined": lambda stripe, session: pay(stripe, session, outcome="declined"),
    "a bank debit on its way": lambda stripe, session: pay(stripe, session, outcome="processing"),
}


def refunded(stripe: StripeAtHome, session: str) -> None:
    pay(stripe, session)
    stripe.do("refund", session=session, amount=1200)


def declined_then_paid(stripe: StripeAtHome, session: str) -> None:
    pay(stripe, session, outcome="declined")
    pay(stripe, session)


def disputed(stripe: StripeAtHome, session: str) -> None:
    pay(stripe, session)
    stripe.do("dispute", session=session)


LIVES |= {"partly refunded": refunded, "disputed": disputed, "declined, then paid": declined_then_paid}


def store(events: list[Event]) -> None:
    """Store each event as a failed webhook delivery, of which nothing is applied until replay_events runs."""
    for event in events:
        djstripe.delivery_record(djstripe.find_endpoint(None), json.dumps(event), "127.0.0.1", "Stopped").save()


@pytest.mark.django_db
@pytest.mark.parametrize("life", LIVES)
def test_webhooks_replay_catch_up_and_reconcile_end_in_the_same_row(
    payment: Payment, stripe: StripeAtHome, life: str
) -> None:
    LIVES[life](stripe, open_checkout(payment))
    events = [event for event in stripe.events() if event["type"] in EVENT_READERS]

    def delivered(order: list[Event]) -> None:
        for event in order:
            assert deliver(event).status_code == 200

    def replayed() -> None:
        store(events)
        call_command("replay_events")

    ways: dict[str, Callable[[], object]] = {
        "webhooks": lambda: delivered(events),
        "webhooks backwards, twice": lambda: delivered(events[::-1] * 2),
        "webhooks in any order": lambda: delivered(random.Random(7).sample(events, len(events))),
        "replay": replayed,
        "catch up": lambda: call_command("catch_up"),
        "reconcile": lambda: call_command("reconcile", "--fix"),
    }
    ends = {}
    for name, way in ways.items():
        with transaction.atomic():
            way()
            payment.refresh_from_db()
            ends[name] = payment.standing
            transaction.set_rollback(True)
    assert ends == dict.fromkeys(ways, ends["webhooks"])
    assert ends["webhooks"].status != "unpaid"
