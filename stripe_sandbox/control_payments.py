"""The control API's actions on payments: what customers, their banks and Stripe's Dashboard do. See README.md.

Each action's docstring lists the keys of its JSON body: `?` marks an optional key, `|` separates alternatives.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from stripe_sandbox import cards, checkout, control_body, disputes, methods, payments, refunds, vouchers
from stripe_sandbox.control_http import Actions
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

_OUTCOMES = {"paid": "4242424242424242", "declined": "4000000000000002"}
_VOUCHERS = {"multibanco": "multibanco", "bank_transfer": "customer_balance"}  # outcome: type of PaymentMethod
_ANY_IBAN = "ES9121000418450200051332"
# The event that tells of an object's status if the call names no other, by type of object.
_TELLING = {
    "checkout.session": "checkout.session.completed",
    "payment_intent": "payment_intent.processing",
    "charge": "charge.updated",
    "refund": "refund.updated",
    "dispute": "charge.dispute.updated",
}
_EVENT_TYPE = re.compile(r"[a-z_]+(\.[a-z_]+)+")
_CURRENCY = re.compile(r"[a-z]{3}")
_PAYMENT = ("session", "payment_intent", "charge")  # the keys of which one names a payment


@dataclass
class PaymentActions:
    sandbox: Sandbox

    def actions(self) -> Actions:
        return {
            "pay": (self.pay, ("session", "card", "iban", "outcome", "email", "name")),
            "authenticate": (self.authenticate, ("session", "success")),
            "settle": (self.settle, ("session", "payment_intent", "success")),
            "capture": (self.capture, ("session", "payment_intent", "amount")),
            "expire": (self.expire, ("session", "payment_intent")),
            "refund": (self.refund, (*_PAYMENT, "amount", "reason")),
            "refund_status": (self.refund_status, ("refund", "status")),
            "dispute": (self.dispute, (*_PAYMENT, "reason", "amount", "currency", "due_by", "warning")),
            "dispute_status": (self.dispute_status, ("dispute", "status")),
            "status": (self.set_status, ("object", "status", "payment_status", "event")),
        }

    def pay(self, body: Json) -> Json:
        """Pay the Checkout Session as a customer does; if a card is declined, `error` in the answer says why.

        Body: {session, card?|iban?|outcome?, email?, name?}; `outcome` is paid (by default), declined, processing (a
        bank debit), multibanco (a voucher) or bank_transfer.
        """
        session = self._get("checkout.session", body, "session")
        if body.get("outcome") in _VOUCHERS and session["currency"] != "eur":
            raise StripeError(f"{body['outcome']} is for sessions in eur", param="outcome")
        method = self._method(body)
        return self._attempt(session, lambda: checkout.pay(self.sandbox, session, method))

    def _method(self, body: Json) -> Json:
        email = control_body.text(body, "email", "patient@example.com")
        billing = {"email": email, "name": control_body.text(body, "name", "Camille Martin")}
        outcome = control_body.choice(body, "outcome", *_OUTCOMES, "processing", *_VOUCHERS, default="paid")
        if outcome in _VOUCHERS:
            return methods.create_voucher(self.sandbox, _VOUCHERS[outcome], billing)
        iban, number = control_body.text(body, "iban"), control_body.text(body, "card", _OUTCOMES.get(outcome, ""))
        if iban or outcome == "processing":
            return methods.create_sepa_debit(self.sandbox, cards.bank_account(iban or _ANY_IBAN), billing)
        return methods.create_card(self.sandbox, cards.card(number), billing)

    def authenticate(self, body: Json) -> Json:
        """Finish the session's 3-D Secure step; `success` (true by default) is the customer's answer.

        Body: {session, success?}
        """
        session = self._get("checkout.session", body, "session")
        success = control_body.truth(body, "success", default=True)
        return self._attempt(session, lambda: checkout.authenticate(self.sandbox, session, success))

    def _attempt(self, session: Json, act: Callable[[], None]) -> Json:
        error = None
        try:
            act()
        except StripeError as declined:
            if declined.status != 402:
                raise
            error = declined.error
        intent = checkout.intent_of(self.sandbox, session)
        return {"session": session, "payment_intent": intent, "error": error}

    def settle(self, body: Json) -> Json:
        """Let a bank debit, a voucher or a bank transfer succeed or, with `success: false`, fail or expire.

        Body: {session|payment_intent, success?}
        """
        intent = self._intent(body)
        checkout.settle(self.sandbox, intent, control_body.truth(body, "success", default=True))
        return intent

    def capture(self, body: Json) -> Json:
        """Capture `amount` minor units of an authorized payment, or all of it.

        Body: {session|payment_intent, amount?}
        """
        intent = self._intent(body)
        checkout.capture(self.sandbox, intent, control_body.integer(body, "amount"))
        return intent

    def expire(self, body: Json) -> Json:
        """Expire an open Checkout Session, an uncaptured authorization, or a voucher, although its time isn't over.

        Body: {session|payment_intent}; answers with the session or intent that the body names.
        """
        session = self._get("checkout.session", body, "session") if "session" in body else None
        intent = checkout.intent_of(self.sandbox, session) if session else self._intent(body)
        if intent and intent["status"] == "requires_capture":
            payments.expire_authorization(self.sandbox, intent)
        elif intent and vouchers.awaits_money(intent):
            checkout.settle(self.sandbox, intent, success=False)
        elif session:
            checkout.expire(self.sandbox, session)
        else:
            raise StripeError("This PaymentIntent has nothing that can expire.", param="payment_intent")
        return session or self._intent(body)

    def refund(self, body: Json) -> Json:
        """Refund `amount` minor units of the charge, or all that is left, as on Stripe's Dashboard.

        Body: {charge|payment_intent|session, amount?, reason?}
        """
        amount = control_body.integer(body, "amount")
        reason = control_body.choice(body, "reason", *refunds.REASONS) if "reason" in body else None
        return refunds.create(self.sandbox, self._charge(body), amount, reason, {})

    def refund_status(self, body: Json) -> Json:
        """Change a refund's status. Body: {refund, status: succeeded|failed|canceled}"""
        refund = self._get("refund", body, "refund")
        status = control_body.choice(body, "status", "succeeded", "failed", "canceled")
        refunds.finish(self.sandbox, refund, status)
        return refund

    def dispute(self, body: Json) -> Json:
        """Open a chargeback of the charge or, if `warning` is true, an inquiry (the bank only asks).

        Body: {charge|payment_intent|session, reason?, amount?, currency?, due_by?, warning?}; `amount` is in minor
        units of `currency`, which may differ from the charge's; `due_by` is in Unix seconds. A dispute of a bank debit
        is lost from the beginning.
        """
        currency = control_body.text(body, "currency") or None
        if currency and not _CURRENCY.fullmatch(currency):
            raise StripeError("currency has three small letters, such as usd", param="currency")
        claim = disputes.Claim(
            reason=control_body.choice(body, "reason", *disputes.REASONS) if "reason" in body else None,
            amount=control_body.integer(body, "amount"),
            currency=currency,
            due_by=control_body.integer(body, "due_by"),
            inquiry=control_body.truth(body, "warning", default=False),
        )
        return disputes.open_dispute(self.sandbox, self._charge(body), claim)

    def dispute_status(self, body: Json) -> Json:
        """Change a dispute's status; `closed` means `lost` for a chargeback and `warning_closed` for an inquiry.

        Body: {dispute, status: won|lost|under_review|closed|needs_response}; `needs_response` escalates an inquiry.
        """
        dispute = self._get("dispute", body, "dispute")
        status = control_body.choice(body, "status", "won", "lost", "under_review", "closed", "needs_response")
        if status == "under_review":
            disputes.update(self.sandbox, dispute)
        elif status == "needs_response":
            disputes.escalate(self.sandbox, dispute)
        else:
            disputes.close(self.sandbox, dispute, won=status == "won")
        return dispute

    def set_status(self, body: Json) -> Json:
        """Give an object any status, even one that Stripe doesn't have, and send an event about that.

        Body: {object: the id of a session, intent, charge, refund or dispute, status, payment_status?, event?}; `event`
        is the event's type, or "" for no event. `payment_status` is for sessions only.
        """
        object_id, status = control_body.text(body, "object"), control_body.text(body, "status")
        found = self.sandbox.store.find(object_id)
        if found is None or found["object"] not in _TELLING:
            raise StripeError(f"No such session, intent, charge, refund or dispute: '{object_id}'", param="object")
        if not status:
            raise StripeError("status is missing", param="status")
        if "payment_status" in body and found["object"] != "checkout.session":
            raise StripeError("payment_status is for Checkout Sessions only", param="payment_status")
        event = control_body.text(body, "event", _TELLING[found["object"]])
        if event and not _EVENT_TYPE.fullmatch(event):
            raise StripeError("event is an event type, such as charge.updated", param="event")
        found["status"] = status
        if "payment_status" in body:
            found["payment_status"] = control_body.text(body, "payment_status")
        self.sandbox.changed = True
        if event:
            self.sandbox.emit(event, found)
        return found

    def _get(self, kind: str, body: Json, name: str) -> Json:
        return self.sandbox.store.get(kind, control_body.text(body, name), name)

    def _intent(self, body: Json) -> Json:
        if "session" not in body:
            return self._get("payment_intent", body, "payment_intent")
        intent = checkout.intent_of(self.sandbox, self._get("checkout.session", body, "session"))
        if intent is None:
            raise StripeError("This Checkout Session has no PaymentIntent: nobody has tried to pay.", param="session")
        return intent

    def _charge(self, body: Json) -> Json:
        if "charge" in body:
            return self._get("charge", body, "charge")
        latest = self._intent(body)["latest_charge"]
        if latest is None:
            raise StripeError("This payment has no charge yet.", param="payment_intent")
        return self.sandbox.store.get("charge", latest)
