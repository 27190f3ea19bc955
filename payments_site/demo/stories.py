"""Stories: functions that take a payment through its life, for example until it is refunded or disputed.

They call the site's code and the Stripe sandbox, which then sends webhooks to the site.
"""

import datetime
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock
from uuid import uuid4

from django.conf import settings
from django.utils import timezone

from accounts.models import User
from appointments.models import Appointment
from payments.desk import till
from payments.desk.giving_back import give_back
from payments.desk.refund_orders import Order
from payments.domain.methods import Method
from payments.gateway import checkout, kept_cards
from payments.models import Payment

DECLINED = "4000000000000002"
SOON = 240  # seconds from one step of a story to the next
real_time = time.time


def stripe(action: str, **body: Any) -> dict[str, Any]:
    """Make the Stripe sandbox act, such as "pay": POST `body` to /_sandbox/<action> and return the JSON answer."""
    return _request(f"/_sandbox/{action}", json.dumps(body).encode())


@contextmanager
def clock(advance: float) -> Iterator[None]:
    """Return a context manager in which Stripe and the front desk act `advance` seconds later, or earlier if negative.

    It moves the sandbox's clock and this process's clock, which dates the entries at the desk.
    """
    before = time.time

    def moved() -> float:
        return before() + advance

    stripe("clock", advance=advance)
    with mock.patch("time.time", moved):
        yield
    stripe("clock", advance=-advance)


def later(seconds: float) -> AbstractContextManager[None]:
    """Return a context manager in which Stripe and the front desk act some seconds later, but never in the future."""
    return clock(min(seconds, real_time() - time.time()))


def wait_for_webhooks() -> None:
    """Wait until the sandbox has delivered all webhooks, but at most 30 seconds."""
    deadline = time.monotonic() + 30
    while _request("/_sandbox/state")["deliveries_waiting"] and time.monotonic() < deadline:
        time.sleep(0.05)


def _request(path: str, body: bytes | None = None) -> dict[str, Any]:
    request = urllib.request.Request(settings.STRIPE_API_HOST + path, body, {"Content-Type": "application/json"})  # noqa: S310 - the sandbox
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        answered: dict[str, Any] = json.load(answer)
    return answered


def open_session(payment: Payment) -> str:
    """Open a Checkout Session for the payment and return the session's id."""
    back = f"{settings.CLINIC_SITE_URL}/payments/{payment.public_id}/return/?session_id={{CHECKOUT_SESSION_ID}}"
    url = checkout.open_checkout(payment, return_url=back, cancel_url=settings.CLINIC_SITE_URL, language="fr")
    return url.rstrip("/").rsplit("/", 1)[-1]


def paid(payment: Payment, clerk: User) -> str:
    opened = open_session(payment)
    stripe("pay", session=opened)
    return opened


def paid_deposit(payment: Payment, clerk: User) -> None:
    """Pay what the clinic asks for first; the rest is left to pay."""
    paid(payment, clerk)


def deposit_asked(payment: Payment, clerk: User) -> None:
    """Leave everything to pay: first the deposit, then the rest."""


def opened(payment: Payment, clerk: User) -> None:
    open_session(payment)


def declined(payment: Payment, clerk: User) -> None:
    stripe("pay", session=open_session(payment), card=DECLINED)


def expired(payment: Payment, clerk: User) -> None:
    stripe("expire", session=open_session(payment))


def debit(payment: Payment, clerk: User) -> None:
    stripe("pay", session=open_session(payment), outcome="processing")


def debit_failed(payment: Payment, clerk: User) -> None:
    opened = open_session(payment)
    stripe("pay", session=opened, outcome="processing")
    stripe("settle", session=opened, success=False)


def debit_returned(payment: Payment, clerk: User) -> None:
    """Pay by direct debit, which succeeds; then the patient's bank takes the money back."""
    opened = open_session(payment)
    stripe("pay", session=opened, outcome="processing")
    stripe("settle", session=opened)
    with later(SOON):
        stripe("dispute", session=opened)


def cash(payment: Payment, clerk: User) -> None:
    _take(payment, payment.amount_due, Method.CASH, clerk)


def terminal(payment: Payment, clerk: User) -> None:
    _take(payment, payment.amount_due, Method.TERMINAL, clerk)


def cheque(payment: Payment, clerk: User) -> None:
    taken = datetime.datetime.fromtimestamp(time.time(), timezone.get_current_timezone())
    deposited = (taken.date() + datetime.timedelta(days=1)).isoformat()
    _take(payment, payment.amount_due, Method.CHEQUE, clerk, note="Chèque n° 0004213", deposited=deposited)


def transfer(payment: Payment, clerk: User) -> None:
    _take(payment, payment.amount_due, Method.TRANSFER, clerk, note="Virement reçu, libellé au nom du patient")


def insured(payment: Payment, clerk: User) -> None:
    """Pay in two parts: the insurer pays 70 percent, and the patient pays the rest at the terminal."""
    share = payment.amount_due * 70 // 100
    _take(payment, share, Method.INSURER, clerk, note="Tiers payant, mutuelle")
    _take(payment, payment.amount_due - share, Method.TERMINAL, clerk)


def cash_and_card(payment: Payment, clerk: User) -> None:
    """Pay in two parts: a banknote at the desk, then the rest online."""
    _take(payment, 2000, Method.CASH, clerk)
    payment.refresh_from_db()
    with later(SOON):
        paid(payment, clerk)


def mistyped(payment: Payment, clerk: User) -> None:
    """Enter cash by mistake, undo the entry, then record what the patient really paid with."""
    entry = _take(payment, payment.amount_due, Method.CASH, clerk)
    with later(SOON):
        till.reverse(payment, entry, "Payé par carte, pas en espèces", clerk)
    with later(2 * SOON):
        terminal(payment, clerk)


def given_back(payment: Payment, clerk: User) -> None:
    """Pay in cash, then get a part of it back at the desk."""
    cash(payment, clerk)
    payment.refresh_from_db()
    with later(SOON):
        give_back(payment, Order(1000, "goodwill", through=Method.CASH), clerk, key=uuid4().hex)


def _take(payment: Payment, amount: int, method: Method, clerk: User, **details: str) -> str:
    """Take `amount` minor units at the desk, and return the entry's fact id."""
    key = uuid4().hex
    till.take_payment(payment, amount, method, clerk, key=key, **details)
    return f"offline_{key}"


def double(payment: Payment, clerk: User) -> None:
    """Pay twice: the front desk takes cash for a payment that the patient has just made online."""
    stripe("delivery", mode="delay", seconds=2)
    paid(payment, clerk)
    cash(payment, clerk)
    stripe("delivery", mode="normal")


def refunded(payment: Payment, clerk: User) -> None:
    _refund(payment, clerk, payment.amount_due)


def part_refunded(payment: Payment, clerk: User) -> None:
    _refund(payment, clerk, payment.amount_due // 5)


def refund_failed(payment: Payment, clerk: User) -> None:
    refunded(payment, clerk)
    refund = payment.facts.filter(kind="refund").exclude(stripe_id__startswith="request_").get()
    with later(2 * SOON):
        stripe("refund_status", refund=refund.stripe_id, status="failed")


def _refund(payment: Payment, clerk: User, amount: int) -> None:
    paid(payment, clerk)
    wait_for_webhooks()
    payment.refresh_from_db()
    with later(SOON):
        give_back(payment, Order(amount, "requested_by_customer"), clerk, key=uuid4().hex)


def refund_to_approve(payment: Payment, clerk: User) -> None:
    """Pay, then ask for a refund so high that a second person has to approve it."""
    accountant = User.objects.get(username="compta")
    _refund(payment, accountant, payment.amount_due)


def overpaid(payment: Payment, clerk: User) -> None:
    """Pay, then get a lower price, because the visit was shorter than booked."""
    paid(payment, clerk)
    wait_for_webhooks()
    payment.appointment.price_amount -= 1000
    payment.appointment.save(actor=clerk)


def disputed(payment: Payment, clerk: User) -> str:
    dispute = stripe("dispute", session=paid(payment, clerk))
    return str(dispute["id"])


def dispute_won(payment: Payment, clerk: User) -> None:
    stripe("dispute_status", dispute=disputed(payment, clerk), status="won")


def lost_in_part(payment: Payment, clerk: User) -> None:
    """Pay, then dispute a part of the money; the bank takes that part back."""
    opened = paid(payment, clerk)
    with later(SOON):
        dispute = stripe("dispute", session=opened, amount=2000)
        stripe("dispute_status", dispute=dispute["id"], status="lost")


def inquiry(payment: Payment, clerk: User) -> None:
    """Pay, then let the bank ask what the payment was for; no money moves."""
    stripe("dispute", session=paid(payment, clerk), warning=True)


def canceled(payment: Payment, clerk: User) -> None:
    payment.appointment.status = Appointment.Status.CANCELED
    payment.appointment.save(actor=clerk)


def fee_kept(payment: Payment, clerk: User) -> None:
    """Pay, then cancel: the clinic keeps a fee and gives the rest back."""
    paid(payment, clerk)
    wait_for_webhooks()
    fee_due(payment, clerk)
    payment.refresh_from_db()
    with later(SOON):
        give_back(payment, Order(payment.amount_overpaid, "canceled"), clerk, key=uuid4().hex)


def fee_due(payment: Payment, clerk: User) -> None:
    """Cancel an unpaid appointment so late that the clinic asks for a fee."""
    payment.appointment.fee_amount = 1500
    canceled(payment, clerk)


def paid_then_canceled(payment: Payment, clerk: User) -> None:
    paid(payment, clerk)
    wait_for_webhooks()
    canceled(payment, clerk)


def missed(payment: Payment, clerk: User) -> None:
    payment.appointment.status = Appointment.Status.NO_SHOW
    payment.appointment.save(actor=clerk)


def card_asked(payment: Payment, clerk: User) -> None:
    """Leave no card yet, although the clinic asks for one."""


def card_kept(payment: Payment, clerk: User) -> None:
    page = f"{settings.CLINIC_SITE_URL}/payments/{payment.public_id}/card/"
    back = f"{page}?session_id={{CHECKOUT_SESSION_ID}}"
    url = kept_cards.open_setup(payment, return_url=back, cancel_url=page, language="fr")
    session = url.rsplit("/", 1)[-1]
    stripe("pay", session=session)
    kept_cards.read_card(payment, session)


def no_show_fee(payment: Payment, clerk: User) -> None:
    """Keep a card and miss the appointment, so that the front desk can charge the fee."""
    payment.appointment.status = Appointment.Status.BOOKED
    payment.appointment.save()
    payment.refresh_from_db()
    card_kept(payment, clerk)
    missed(payment, clerk)


def unpaid(payment: Payment, clerk: User) -> None:
    pass


def transfers() -> None:
    """Let Stripe transfer what was paid to the bank: once by hand, which the bank returns, and twice automatically.

    The first automatic one was made yesterday evening; the second holds the returned money, and is on its way.
    """
    with clock(SOON):  # by then, every charge has a balance transaction
        pass
    yesterday = timezone.localtime().replace(hour=21, minute=0, second=0, microsecond=0) - datetime.timedelta(days=1)
    with clock(yesterday.timestamp() - real_time()):
        by_hand = stripe("payout", amount=2000)["data"]
        automatic = stripe("payout")["data"]
        with clock(2 * SOON):  # by then, what they contain can be listed
            for payout in (*by_hand, *automatic):
                stripe("payout_status", payout=payout["id"], status="paid")
            stripe("payout_status", payout=by_hand[0]["id"], status="failed")
    for payout in stripe("payout")["data"]:
        stripe("payout_status", payout=payout["id"], status="in_transit")


Story = Callable[[Payment, User], object]
