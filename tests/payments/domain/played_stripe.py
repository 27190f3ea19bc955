"""Plays Stripe for one payment: keeps its objects, changes them as Stripe does, and sends the events about it.

Objects are plain dictionaries with the fields that the site reads.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from payments.domain.facts import StripeFact
from payments.gateway.event_types import from_event
from payments.gateway.objects import from_object

Object = dict[str, Any]
START = 1_780_000_000
MADE = ("pending", "requires_action", "succeeded")  # refunds that count in a charge's amount_refunded
OPEN_DISPUTE = ("needs_response", "under_review")
ENDED_BADLY = {"type": "card_error", "code": "card_declined"}


class PlayedStripe:
    """One payment's objects at Stripe, by id, and what Stripe has sent about them.

    `attempts` maps each attempt's name to its stage: open, instructions, authorized, processing, paid, failed, expired
    or free.
    `old_endpoint` is whether the webhook endpoint has an API version that knows no `refund.*` events.
    """

    def __init__(self, *, old_endpoint: bool) -> None:
        self.old_endpoint = old_endpoint
        self.now = START
        self.objects: dict[str, Object] = {}
        self.attempts: dict[str, str] = {}
        self.sent: list[list[StripeFact]] = []
        self.missed: set[str] = set()  # ids of refunds of which no object was sent
        self.charge_seen: dict[str, int] = {}  # when Stripe last sent each charge

    def of(self, kind: str, attempt: str = "") -> list[Object]:
        return [obj for obj in self.objects.values() if obj["object"] == kind and attempt in ("", obj["of"])]

    def only(self, kind: str, attempt: str) -> Object:
        """Return the newest object of this kind of the attempt."""
        return self.of(kind, attempt)[-1]

    def at_stage(self, *stages: str) -> list[str]:
        return [attempt for attempt, stage in self.attempts.items() if stage in stages]

    def left(self, attempt: str) -> int:
        """Return how much of the attempt Stripe would refund, in minor units."""
        disputes = self.of("dispute", attempt)
        if self.attempts[attempt] != "paid" or any(dispute["status"] in OPEN_DISPUTE for dispute in disputes):
            return 0
        charge = self.only("charge", attempt)
        taken = [d["amount"] for d in disputes if d["status"] == "lost" and d["currency"] == charge["currency"]]
        return max(0, int(charge["amount_captured"] - charge["amount_refunded"] - sum(taken)))

    def tell(self, event_type: str, obj: Object) -> None:
        """Send an event about the present state of an object, if the endpoint knows such events."""
        if self.old_endpoint and event_type.startswith("refund."):
            return
        facts = from_event({"type": event_type, "created": self.now, "data": {"object": obj}})
        self._keep(obj, facts)

    def answer(self, obj: Object) -> None:
        """Answer the site's request with the present state of an object."""
        self._keep(obj, from_object(self._expanded(obj), self.now))

    def answer_all(self, attempts: Iterable[str]) -> list[list[StripeFact]]:
        """Answer the site's request for all objects of these attempts, and return the answers."""
        before = len(self.sent)
        for obj in self.objects.values():
            if obj["of"] in attempts:
                self.answer(obj)
        return self.sent[before:]

    def _keep(self, obj: Object, facts: list[StripeFact]) -> None:
        if facts:
            self.sent.append(facts)
            self.missed.discard(obj["id"])
            if obj["object"] == "charge":
                self.charge_seen[obj["id"]] = self.now

    def _expanded(self, obj: Object) -> Object:
        """Return a session with its PaymentIntent in it, as the site asks for it; any other object as it is."""
        if obj["object"] != "checkout.session" or not obj["payment_intent"]:
            return obj
        return obj | {"payment_intent": self.objects[obj["payment_intent"]]}

    def _make(self, kind: str, prefix: str, attempt: str, **fields: Any) -> Object:
        number = len(self.of(kind)) + 1
        obj = {
            "id": f"{prefix}_{attempt}{number}",
            "object": kind,
            "of": attempt,
            "created": self.now,
            "livemode": False,
            "metadata": {},
            **fields,
        }
        self.objects[obj["id"]] = obj
        return obj

    # Checkout

    def open(self, attempt: str, amount: int, currency: str, *, manual: bool = False, free: bool = False) -> None:
        self.attempts[attempt] = "free" if free else "open"
        session = self._make(
            "checkout.session",
            "cs",
            attempt,
            status="open",
            payment_status="no_payment_required" if free else "unpaid",
            amount_total=0 if free else amount,
            currency=currency,
            payment_intent=None,
            manual=manual,
            metadata={"attempt": attempt},
        )
        self.answer(session)
        if free:
            session["status"] = "complete"
            self.tell("checkout.session.completed", session)

    def _intent(self, attempt: str, status: str, **fields: Any) -> Object:
        session = self.only("checkout.session", attempt)
        if not self.of("payment_intent", attempt):
            self._make(
                "payment_intent",
                "pi",
                attempt,
                amount=session["amount_total"],
                amount_received=0,
                currency=session["currency"],
                latest_charge=None,
                metadata={"attempt": attempt},
            )
        intent = self.only("payment_intent", attempt)
        intent |= {"status": status, "last_payment_error": None} | fields
        session["payment_intent"] = intent["id"]
        return intent

    def _charge(self, attempt: str, status: str, method: str, captured: int = 0) -> Object:
        intent = self.only("payment_intent", attempt)
        charge = self._make(
            "charge",
            "ch",
            attempt,
            status=status,
            amount=intent["amount"],
            amount_captured=captured,
            amount_refunded=0,
            captured=captured > 0,
            currency=intent["currency"],
            payment_intent=intent["id"],
            payment_method_details={"type": method},
            failure_code="card_declined" if status == "failed" else None,
            metadata={"attempt": attempt},
        )
        intent["latest_charge"] = charge["id"]
        return charge

    def _session(self, attempt: str, event: str, **fields: Any) -> None:
        session = self.only("checkout.session", attempt)
        session |= fields
        self.tell(f"checkout.session.{event}", session)

    def decline(self, attempt: str) -> None:
        intent = self._intent(attempt, "requires_payment_method", last_payment_error=ENDED_BADLY)
        self._charge(attempt, "failed", "card")
        self.tell("payment_intent.payment_failed", intent)

    def ask_action(self, attempt: str) -> None:
        self.tell("payment_intent.requires_action", self._intent(attempt, "requires_action"))

    def expire(self, attempt: str) -> None:
        self.attempts[attempt] = "expired"
        if self.of("payment_intent", attempt):
            self.tell("payment_intent.canceled", self._intent(attempt, "canceled"))
        self._session(attempt, "expired", status="expired")

    def pay(self, attempt: str) -> None:
        """Pay by card, or only authorize the amount if the session says so."""
        session = self.only("checkout.session", attempt)
        if session["manual"]:
            self.attempts[attempt] = "authorized"
            self._intent(attempt, "requires_capture")
            self.tell("charge.succeeded", self._charge(attempt, "succeeded", "card"))
            self._session(attempt, "completed", status="complete")
            return
        amount = session["amount_total"]
        intent = self._intent(attempt, "succeeded", amount_received=amount)
        self.tell("charge.succeeded", self._charge(attempt, "succeeded", "card", amount))
        self._paid(attempt, intent, "completed")

    def _paid(self, attempt: str, intent: Object, session_event: str) -> None:
        self.attempts[attempt] = "paid"
        self.tell("payment_intent.succeeded", intent)
        self._session(attempt, session_event, status="complete", payment_status="paid")

    def capture(self, attempt: str, amount: int) -> None:
        intent = self._intent(attempt, "succeeded", amount_received=amount)
        charge = self.only("charge", attempt)
        charge |= {"captured": True, "amount_captured": amount}
        self.attempts[attempt] = "paid"
        self.only("checkout.session", attempt)["payment_status"] = "paid"
        self.tell("charge.captured", charge)
        self.tell("payment_intent.succeeded", intent)

    def release(self, attempt: str) -> None:
        """Let an authorization end without a capture."""
        self.attempts[attempt] = "failed"
        self.tell("payment_intent.canceled", self._intent(attempt, "canceled"))

    def submit_debit(self, attempt: str) -> None:
        self.attempts[attempt] = "processing"
        intent = self._intent(attempt, "processing")
        self._charge(attempt, "pending", "sepa_debit")
        self.tell("payment_intent.processing", intent)
        self._session(attempt, "completed", status="complete")

    def give_instructions(self, attempt: str) -> None:
        """Complete the session, and leave it to the patient to transfer the money."""
        self.attempts[attempt] = "instructions"
        self.tell("payment_intent.requires_action", self._intent(attempt, "requires_action"))
        self._session(attempt, "completed", status="complete")

    def settle(self, attempt: str, *, succeeds: bool) -> None:
        """End a debit or a transfer."""
        charge = self.only("charge", attempt) if self.attempts[attempt] == "processing" else None
        if succeeds:
            intent = self._intent(attempt, "succeeded")
            intent["amount_received"] = intent["amount"]
            charge = charge or self._charge(attempt, "pending", "customer_balance")
            charge |= {"status": "succeeded", "captured": True, "amount_captured": intent["amount"]}
            self.tell("charge.succeeded", charge)
            self._paid(attempt, intent, "async_payment_succeeded")
            return
        self.attempts[attempt] = "failed"
        if charge:
            charge |= {"status": "failed", "failure_code": "debit_not_authorized"}
        intent = self._intent(attempt, "requires_payment_method", last_payment_error=ENDED_BADLY)
        self.tell("payment_intent.payment_failed", intent)
        self._session(attempt, "async_payment_failed")

    # Refunds

    def refund(self, attempt: str, amount: int, status: str, request: str = "") -> Object:
        """Make a refund; `request` is the site's request for it, or "" if the refund was made in the Dashboard."""
        charge = self.only("charge", attempt)
        charge["amount_refunded"] += amount
        refund = self._make(
            "refund",
            "re",
            attempt,
            status=status,
            amount=amount,
            currency=charge["currency"],
            charge=charge["id"],
            payment_intent=charge["payment_intent"],
            metadata={"refund_request": request} if request else {},
        )
        self.missed.add(refund["id"])
        self.tell("refund.created", refund)
        self.tell("charge.refunded", charge)
        return refund

    def change_refund(self, refund: Object, status: str) -> None:
        if status not in MADE:
            self.objects[refund["charge"]]["amount_refunded"] -= refund["amount"]
        refund["status"] = status
        self.tell("refund.failed" if status == "failed" else "refund.updated", refund)
        self.tell("charge.refund.updated", refund)

    # Disputes

    def dispute(self, attempt: str, amount: int, currency: str, status: str) -> Object:
        charge = self.only("charge", attempt)
        dispute = self._make(
            "dispute",
            "du",
            attempt,
            status=status,
            amount=amount,
            currency=currency,
            charge=charge["id"],
            payment_intent=charge["payment_intent"],
            reason="fraudulent",
            evidence_details={"due_by": self.now + 7 * 86400},
            balance_transactions=[],
        )
        if not status.startswith("warning"):
            self._move(dispute, -amount)
        self.tell("charge.dispute.created", dispute)
        if status == "lost":
            self.tell("charge.dispute.closed", dispute)
        return dispute

    def change_dispute(self, dispute: Object, status: str) -> None:
        was_question = dispute["status"].startswith("warning")
        dispute["status"] = status
        if was_question and status == "needs_response":
            self._move(dispute, -dispute["amount"])
        if status == "won":
            self._move(dispute, dispute["amount"])
        ended = status in ("won", "lost", "warning_closed")
        self.tell(f"charge.dispute.{'closed' if ended else 'updated'}", dispute)

    def _move(self, dispute: Object, amount: int) -> None:
        dispute["balance_transactions"] = [
            *dispute["balance_transactions"],
            {"object": "balance_transaction", "amount": amount, "created": self.now},
        ]

    def seen(self, kind: str) -> Iterator[Object]:
        """Yield the objects of this kind that the site can know of, with "seen_at" in each charge."""
        for obj in self.of(kind):
            if obj["id"] not in self.missed:
                yield obj | {"seen_at": self.charge_seen.get(obj["id"], 0)}
