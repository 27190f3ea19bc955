"""Stories: functions that take a payment through its life, for example until it is refunded or disputed.

They call the site's code and the Stripe sandbox, which then sends webhooks to the site.
"""

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.conf import settings

from accounts.models import User
from appointments.models import Appointment
from payments.desk import till
from payments.desk.giving_back import give_back
from payments.desk.refund_orders import Order
from payments.domain.methods import Method
from payments.gateway import checkout
from payments.models import Payment

THREE_D_SECURE, DECLINED = "4000002760003184", "4000000000000002"


def stripe(action: str, **body: Any) -> dict[str, Any]:
    """Make the Stripe sandbox act, such as "pay": POST `body` to /_sandbox/<action> and return the JSON answer."""
    return _request(f"/_sandbox/{action}", json.dumps(body).encode())


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
    back = f"{settings.SITE_URL}/payments/{payment.public_id}/return/?session_id={{CHECKOUT_SESSION_ID}}"
    url = checkout.open_checkout(payment, return_url=back, cancel_url=settings.SITE_URL, language="fr")
    return url.rstrip("/").rsplit("/", 1)[-1]


def paid(payment: Payment, clerk: User) -> str:
    opened = open_session(payment)
    stripe("pay", session=opened)
    return opened


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


def cash(payment: Payment, clerk: User) -> None:
    till.take_payment(payment, payment.amount_due, Method.CASH, clerk, key=uuid4().hex)


def terminal(payment: Payment, clerk: User) -> None:
    till.take_payment(payment, payment.amount_due, Method.TERMINAL, clerk, key=uuid4().hex)


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
    stripe("refund_status", refund=refund.stripe_id, status="failed")


def _refund(payment: Payment, clerk: User, amount: int) -> None:
    paid(payment, clerk)
    wait_for_webhooks()
    payment.refresh_from_db()
    give_back(payment, Order(amount, "requested_by_customer"), clerk, key=uuid4().hex)


def disputed(payment: Payment, clerk: User) -> str:
    dispute = stripe("dispute", session=paid(payment, clerk))
    return str(dispute["id"])


def dispute_won(payment: Payment, clerk: User) -> None:
    stripe("dispute_status", dispute=disputed(payment, clerk), status="won")


def canceled(payment: Payment, clerk: User) -> None:
    payment.appointment.status = Appointment.Status.CANCELED
    payment.appointment.save(actor=clerk)


def paid_then_canceled(payment: Payment, clerk: User) -> None:
    paid(payment, clerk)
    wait_for_webhooks()
    canceled(payment, clerk)


def missed(payment: Payment, clerk: User) -> None:
    payment.appointment.status = Appointment.Status.NO_SHOW
    payment.appointment.save(actor=clerk)


def unpaid(payment: Payment, clerk: User) -> None:
    pass


Story = Callable[[Payment, User], object]
