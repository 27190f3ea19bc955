"""Builds the events that Stripe would send about a payment, and delivers them signed to the webhook.

Each event contains its object, such as a charge, in the state that the object had at the time of the event.
"""

import hashlib
import hmac
import json
import time
import uuid
from typing import Any

from django.conf import settings
from django.test import Client

from payments.gateway.signatures import Delivery

Event = dict[str, Any]
START = int(time.time()) - 30 * 24 * 3600


def sign(body: str, secret: str, at: float | None = None) -> str:
    """Return the Stripe-Signature header for `body`, signed at Unix time `at` (now by default)."""
    stamp = int(time.time() if at is None else at)
    return f"t={stamp},v1={hmac.new(secret.encode(), f'{stamp}.{body}'.encode(), hashlib.sha256).hexdigest()}"


def deliver(
    event: Any, client: Client | None = None, *, secret: str = "", headers: dict[str, str] | None = None
) -> Any:
    """POST an event (a dict or its JSON text) with a signature to the webhook, and return the response."""
    body = event if isinstance(event, str) else json.dumps(event)
    headers = {"Stripe-Signature": sign(body, secret or settings.STRIPE_WEBHOOK_SECRETS[0])} | (headers or {})
    return (client or Client()).post("/stripe/webhook/", body, content_type="application/json", headers=headers)


def delivery(event: Any, secret: str = "") -> Delivery:
    """Return a signed delivery of an event (a dict or its JSON text), as an ASGI server passes it to the lane."""
    body = event if isinstance(event, str) else json.dumps(event)
    return Delivery(body.encode(), sign(body, secret or settings.STRIPE_WEBHOOK_SECRETS[0]), "127.0.0.1")


class Story:
    """Builds a payment's events, dated a minute apart in the order of the calls. Tests may deliver them in any order.

    `attempt` ("A", "B") names one attempt to pay through Checkout, with its Checkout Session, PaymentIntent and charge.
    `site` is the site's id in the metadata; without it, the site accepts events only about payments that it knows.
    """

    def __init__(self, payment: Any, *, metadata: bool = True, livemode: bool = False, site: str = "") -> None:
        self.payment = payment
        self.now = START
        self.refunded_at: dict[str, int] = {}  # when each refund was first mentioned
        self.livemode = livemode
        self.tag = uuid.uuid4().hex[:12]
        self.amount = payment.amount_due
        self.currency = payment.currency
        self.metadata = metadata
        self.site = site

    def _event(self, event_type: str, obj: dict[str, Any]) -> Event:
        self.now += 60
        return {
            "id": f"evt_{uuid.uuid4().hex}",
            "object": "event",
            "api_version": "2026-08-26.dahlia",
            "created": self.now,
            "livemode": self.livemode,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": event_type,
            "data": {"object": obj},
        }

    def _object(self, kind: str, prefix: str, name: str, **fields: Any) -> dict[str, Any]:
        metadata = {"payment_id": str(self.payment.public_id), "attempt": name[0]} if self.metadata else {}
        metadata |= {"site": self.site} if self.site else {}
        return {
            "id": f"{prefix}_{self.tag}{name}",
            "object": kind,
            "created": START + ord(name[0]),
            "currency": self.currency,
            "livemode": self.livemode,
            "metadata": metadata,
            **fields,
        }

    def session(self, attempt: str, status: str, payment_status: str, amount: int | None = None) -> dict[str, Any]:
        return self._object(
            "checkout.session",
            "cs_test",
            attempt,
            status=status,
            payment_status=payment_status,
            amount_total=self.amount if amount is None else amount,
            payment_intent=f"pi_{self.tag}{attempt}" if status == "complete" else None,
            url=f"https://checkout.stripe.com/c/pay/cs_test_{self.tag}{attempt}" if status == "open" else None,
        )

    def intent(self, attempt: str, status: str, received: int = 0, **fields: Any) -> dict[str, Any]:
        fields.setdefault("last_payment_error", None)
        return self._object(
            "payment_intent", "pi", attempt, status=status, amount=self.amount, amount_received=received, **fields
        )

    def charge(self, attempt: str, refunded: int = 0, amount: int | None = None) -> dict[str, Any]:
        amount = self.amount if amount is None else amount
        return self._object(
            "charge",
            "ch",
            attempt,
            status="succeeded",
            paid=True,
            captured=True,
            amount=amount,
            amount_captured=amount,
            amount_refunded=refunded,
            refunded=refunded >= amount,
            payment_intent=f"pi_{self.tag}{attempt}",
            payment_method_details={"type": "card"},
        )

    def completed(self, attempt: str = "A", payment_status: str = "paid", amount: int | None = None) -> Event:
        return self._event("checkout.session.completed", self.session(attempt, "complete", payment_status, amount))

    def expired(self, attempt: str = "A") -> Event:
        return self._event("checkout.session.expired", self.session(attempt, "expired", "unpaid"))

    def async_succeeded(self, attempt: str = "A") -> Event:
        return self._event("checkout.session.async_payment_succeeded", self.session(attempt, "complete", "paid"))

    def async_failed(self, attempt: str = "A") -> Event:
        return self._event("checkout.session.async_payment_failed", self.session(attempt, "complete", "unpaid"))

    def succeeded(self, attempt: str = "A", amount: int | None = None) -> Event:
        received = self.amount if amount is None else amount
        return self._event("payment_intent.succeeded", self.intent(attempt, "succeeded", received))

    def failed(self, attempt: str = "A", code: str = "card_declined") -> Event:
        error = {"type": "card_error", "code": code}
        intent = self.intent(attempt, "requires_payment_method", last_payment_error=error)
        return self._event("payment_intent.payment_failed", intent)

    def requires_action(self, attempt: str = "A") -> Event:
        return self._event("payment_intent.requires_action", self.intent(attempt, "requires_action"))

    def processing(self, attempt: str = "A") -> Event:
        return self._event("payment_intent.processing", self.intent(attempt, "processing"))

    def canceled(self, attempt: str = "A") -> Event:
        return self._event("payment_intent.canceled", self.intent(attempt, "canceled"))

    def charged(self, attempt: str = "A", amount: int | None = None) -> Event:
        return self._event("charge.succeeded", self.charge(attempt, amount=amount))

    def charge_refunded(self, cumulative: int, attempt: str = "A") -> Event:
        return self._event("charge.refunded", self.charge(attempt, refunded=cumulative))

    def refund(self, amount: int, status: str = "succeeded", *, attempt: str = "A", name: str = "1") -> Event:
        event_type = {"pending": "refund.created", "failed": "refund.failed"}.get(status, "refund.updated")
        fields = {"failure_reason": "expired_or_canceled_card"} if status == "failed" else {}
        refund = self._object(
            "refund",
            "re",
            attempt + name,
            status=status,
            amount=amount,
            charge=f"ch_{self.tag}{attempt}",
            payment_intent=f"pi_{self.tag}{attempt}",
            **fields,
        )
        created = self.refunded_at.setdefault(attempt + name, self.now + 60)
        return self._event(event_type, refund | {"metadata": {}, "created": created})

    def dispute(
        self, status: str, step: str = "created", amount: int | None = None, attempt: str = "A", **fields: Any
    ) -> Event:
        dispute = self._object(
            "dispute",
            "du",
            attempt,
            status=status,
            amount=self.amount if amount is None else amount,
            charge=f"ch_{self.tag}{attempt}",
            payment_intent=f"pi_{self.tag}{attempt}",
            reason="fraudulent",
            evidence_details={"due_by": START + 7 * 24 * 3600},
        )
        return self._event(f"charge.dispute.{step}", dispute | {"metadata": {}} | fields)
