"""A client of the Stripe sandbox: it acts there as payers and banks do, and delivers the events to the site."""

import json
import urllib.request
from typing import Any

from django.test import Client

from payments.gateway import checkout, kept_cards
from payments.models import Payment
from tests.payments.stripe_story import deliver


class StripeAtHome:
    """A running stripe_sandbox. No server listens for its webhooks, so `tell` fetches events and delivers them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.told: set[str] = set()

    def do(self, action: str, **body: Any) -> dict[str, Any]:
        """POST `body` to /_sandbox/<action> and return the JSON response. Raise HTTPError if the sandbox refuses."""
        return self._send(f"{self.url}/_sandbox/{action}", json.dumps(body).encode())

    def events(self) -> list[dict[str, Any]]:
        """Return the sandbox's last 100 events, oldest first."""
        page = self._send(f"{self.url}/v1/events?limit=100", None)
        return list(reversed(page["data"]))

    def listed(self, kind: str) -> list[dict[str, Any]]:
        """Return the newest 100 objects that the sandbox lists under /v1/<kind>, newest first."""
        found: list[dict[str, Any]] = self._send(f"{self.url}/v1/{kind}?limit=100", None)["data"]
        return found

    def session(self, session_id: str) -> dict[str, Any]:
        return self._send(f"{self.url}/v1/checkout/sessions/{session_id}", None)

    def page(self, session_id: str) -> str:
        """Return the HTML of the simulated Stripe page on which the Checkout Session is paid."""
        with urllib.request.urlopen(f"{self.url}/c/pay/{session_id}", timeout=60) as answer:
            return str(answer.read().decode())

    def tell(self, client: Client | None = None) -> list[str]:
        """Deliver the events that were not delivered yet, and return the text of each response."""
        fresh = [event for event in self.events() if event["id"] not in self.told]
        self.told |= {event["id"] for event in fresh}
        return [deliver(event, client).content.decode() for event in fresh]

    def _send(self, url: str, body: bytes | None) -> dict[str, Any]:
        headers = {"Authorization": "Bearer sk_test_000000000000000000000000", "Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            answered: dict[str, Any] = json.load(answer)
        return answered


def open_checkout(payment: Payment, *, language: str = "fr") -> str:
    """Open Checkout for the payment as the site does, and return the id of the Checkout Session."""
    url = checkout.open_checkout(
        payment,
        return_url="http://testserver/return/?session_id={CHECKOUT_SESSION_ID}",
        cancel_url="http://testserver/",
        language=language,
    )
    payment.refresh_from_db()
    return url.rstrip("/").rsplit("/", 1)[-1]


def open_setup(payment: Payment, language: str = "en") -> str:
    """Open the page on which to leave a card as the site does, and return the id of the Checkout Session."""
    url = kept_cards.open_setup(
        payment,
        return_url="http://testserver/?session_id={CHECKOUT_SESSION_ID}",
        cancel_url="http://testserver/",
        language=language,
    )
    return url.rsplit("/", 1)[-1]


def leave_card(payment: Payment, stripe: StripeAtHome, card: str = "4242424242424242") -> None:
    """Leave a card as a patient does, and deliver Stripe's events about it."""
    session = open_setup(payment)
    if stripe.do("pay", session=session, card=card)["session"]["status"] == "open":
        stripe.do("authenticate", session=session)
    stripe.tell()
    kept_cards.read_card(payment, session)
