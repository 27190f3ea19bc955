"""Tests of traces, which record when a change was applied, pushed to the patient's page and seen there.

A page may report only its own user's payments as seen.
"""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from accounts.models import User
from payments.desk import till
from payments.domain.methods import Method
from payments.live.traces import AT_ONCE, Seen, traces
from payments.models import EventReceipt, FeedEntry, Payment
from tests.payments.clients import client_of
from tests.payments.page import Page
from tests.payments.stripe_story import Story, deliver
from tests.waits import wait_until

Book = Callable[..., Payment]


def seen(seq: int, *payments: Payment) -> str:
    return json.dumps({"seen": seq, "payments": [str(payment.public_id) for payment in payments]})


async def until_answered(page: Page) -> None:
    """Send a ping and wait for its answer; the server has then handled all earlier messages of the page, too."""
    await page.socket.send_to("ping")
    while (await page.told()).get("t") != "hb":
        pass


@pytest.mark.django_db(transaction=True)
async def test_what_a_page_shows_is_seen_and_only_that(book: Book, patient: User, clerk: User) -> None:
    shown, elsewhere, later = [await sync_to_async(book)() for _ in range(3)]
    async with Page(patient) as page:
        await page.told_until_hello()
        for payment in (shown, elsewhere, later):
            await sync_to_async(till.take_payment)(payment, 5000, Method.CASH, clerk, key=uuid4().hex)
            await page.told()
        await page.socket.send_to(seen(5, shown, later))
        await until_answered(page)
        entries = FeedEntry.objects.filter(feed__audience=f"patient.{patient.pk}", seq__gt=3).order_by("seq")
        await sync_to_async(wait_until)(lambda: not entries.filter(pushed_at=None).exists(), "the pushes are noted")
        await sync_to_async(wait_until)(entries.exclude(seen_at=None).exists, "what is seen is noted")
    assert [row.seen_at is not None async for row in entries] == [True, False, False]
    assert not await FeedEntry.objects.filter(feed__audience="staff", pushed_at__isnull=False).aexists()


@pytest.mark.django_db(transaction=True)
async def test_nobody_sees_for_somebody_else(book: Book, payment: Payment, patient: User, clerk: User) -> None:
    await sync_to_async(till.take_payment)(payment, 5000, Method.CASH, clerk, key=uuid4().hex)
    other = await sync_to_async(User.objects.create_user)("lou")
    for somebody in (other, clerk):
        async with Page(somebody) as page:
            await page.told_until_hello()
            await page.socket.send_to(seen(5, payment))
            await until_answered(page)
    assert not await FeedEntry.objects.filter(seen_at__isnull=False).aexists()


@pytest.mark.django_db(transaction=True)
async def test_the_staffs_timeline_tells_the_whole_way(payment: Payment, patient: User, clerk: User) -> None:
    async with Page(patient) as page:
        await page.told_until_hello()
        event = Story(payment).completed()
        await sync_to_async(deliver)(event)
        await page.told()
        await page.socket.send_to(seen(2, payment))
        await until_answered(page)
        pushed = FeedEntry.objects.filter(feed__audience=f"patient.{patient.pk}", seq=2, pushed_at__isnull=False)
        await sync_to_async(wait_until)(pushed.exclude(seen_at=None).exists, "the push and the look are noted")
    change = await payment.changes.alatest("version")
    trace = (await sync_to_async(traces)([change]))[change.pk]
    receipt = await EventReceipt.objects.aget(stripe_event_id=event["id"])
    assert trace.received == receipt.received_at
    assert trace.created == change.occurred_at
    assert trace.pushed
    assert trace.seen
    assert trace.created <= trace.received <= trace.applied <= trace.pushed  # type: ignore[operator]
    desk_page, own_page = [
        await sync_to_async(page_of)(user, f"/{where}/{payment.appointment.reference}/")
        for user, where in ((clerk, "desk"), (patient, "appointments"))
    ]
    assert timezone.localtime(trace.seen).strftime("%H:%M:%S</time></strong>") in desk_page
    assert 'class="trace' not in own_page


def page_of(user: User, path: str) -> str:
    return client_of(user).get(path).content.decode()


@pytest.mark.parametrize(
    "text",
    ["", "5", "null", "[]", "{}", '{"seen":1}', '{"seen":"1","payments":[]}', '{"seen":true,"payments":[]}',
     '{"seen":-1,"payments":[]}', '{"seen":1e400,"payments":[]}', '{"seen":1,"payments":"x"}',
     '{"seen":1,"payments":[1]}', '{"seen":1,"payments":["../x"]}', "[" * 5000,
     json.dumps({"seen": 1, "payments": ["0" * 32] * (AT_ONCE + 1)})],
)  # fmt: skip
def test_anything_else_is_not_a_receipt(text: str) -> None:
    assert Seen.parse(text) is None
