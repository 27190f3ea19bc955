"""Creates, confirms, settles and cancels PaymentIntents. https://docs.stripe.com/payments/paymentintents/lifecycle"""

from typing import Any

from stripe_sandbox import charges, disputes, methods
from stripe_sandbox.cards import DECLINES
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import token
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

_SLOW_SECONDS = 180  # Stripe's "slowly" IBANs take at least this long
_CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


def create(sandbox: Sandbox, amount: int, currency: str, **values: Any) -> Json:
    intent = sandbox.new("payment_intent", amount=amount, currency=currency, **values)
    intent["client_secret"] = f"{intent['id']}_secret_{token(25)}"
    sandbox.emit("payment_intent.created", intent)
    return intent


def confirm(sandbox: Sandbox, intent: Json, method: Json) -> None:
    """Pay the intent with `method`. Raises a StripeError of type card_error when the card is declined.

    The intent's status becomes succeeded, processing (bank debit) or requires_action (3-D Secure).
    """
    if intent["status"] not in _CONFIRMABLE:
        raise unexpected_state(intent, "confirm")
    intent |= {"payment_method": method["id"], "next_action": None, "last_payment_error": None}
    if method["type"] == "sepa_debit":
        _start_debit(sandbox, intent, method)
    elif methods.test_of(method).authenticate:
        _ask_authentication(sandbox, intent)
    else:
        _charge_card(sandbox, intent, method)


def _ask_authentication(sandbox: Sandbox, intent: Json) -> None:
    session = next(sandbox.store.select("checkout.session", payment_intent=intent["id"]), None)
    intent["status"] = "requires_action"
    intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
    if session:
        redirect = {"return_url": session["success_url"], "url": f"{session['url']}/authenticate"}
        intent["next_action"] = {"redirect_to_url": redirect, "type": "redirect_to_url"}
    sandbox.emit("payment_intent.requires_action", intent)


def authenticate(sandbox: Sandbox, intent: Json, success: bool) -> None:
    """Finish the intent's 3-D Secure step: if the customer authenticated (`success`), charge the card.

    Raises a StripeError of type card_error if not, or if the card is declined.
    """
    if intent["status"] != "requires_action":
        raise unexpected_state(intent, "authenticate")
    method = sandbox.store.get("payment_method", intent["payment_method"])
    intent["next_action"] = None
    if not success:
        raise _failed(sandbox, intent, method, None, *DECLINES["authentication_failed"])
    _charge_card(sandbox, intent, method, authenticated=True)


def _charge_card(sandbox: Sandbox, intent: Json, method: Json, authenticated: bool = False) -> None:
    test = methods.test_of(method)
    charge = charges.create(sandbox, intent, method, authenticated)
    if test.decline:
        charges.decline(sandbox, charge, test.decline)
        code, message = DECLINES[test.decline]
        raise _failed(sandbox, intent, method, charge, code, message, test.decline)
    _succeed(sandbox, intent, charge, method)


def _succeed(sandbox: Sandbox, intent: Json, charge: Json, method: Json) -> None:
    charges.succeed(sandbox, charge)
    intent |= {"status": "succeeded", "amount_received": charge["amount"]}
    sandbox.emit("payment_intent.succeeded", intent)
    test = methods.test_of(method)
    if test.dispute:
        disputes.open_dispute(sandbox, charge, disputes.Claim(reason=test.dispute, inquiry=test.inquiry))


def _failed(
    sandbox: Sandbox,
    intent: Json,
    method: Json,
    charge: Json | None,
    code: str,
    message: str,
    decline: str | None = None,
) -> StripeError:
    error = {
        "charge": charge["id"] if charge else None,
        "code": code,
        "decline_code": decline,
        "message": message,
        "payment_method": dict(method),
        "type": "card_error" if method["type"] == "card" else "invalid_request_error",
    }
    last_error = {key: value for key, value in error.items() if value is not None}
    intent |= {"status": "requires_payment_method", "payment_method": None, "last_payment_error": last_error}
    sandbox.emit("payment_intent.payment_failed", intent)
    extra: dict[str, Any] = {"charge": error["charge"], "decline_code": decline, "payment_intent": dict(intent)}
    return StripeError(message, status=402, type="card_error", code=code, payment_method=dict(method), **extra)


def _start_debit(sandbox: Sandbox, intent: Json, method: Json) -> None:
    charge = charges.create(sandbox, intent, method)
    intent["status"] = "processing"
    sandbox.emit("charge.pending", charge)
    sandbox.emit("payment_intent.processing", intent)
    settles = methods.test_of(method).settles
    if settles:
        seconds = _SLOW_SECONDS if "slowly" in settles else sandbox.settings.settle_seconds
        sandbox.later(seconds, "settle", intent["id"], settles.startswith("succeeds"))


def settle_debit(sandbox: Sandbox, intent: Json, success: bool) -> None:
    """Let the intent's bank debit succeed or fail, as `success` says. Raises StripeError if no debit is processing."""
    if intent["status"] != "processing":
        raise unexpected_state(intent, "settle")
    charge = sandbox.store.get("charge", intent["latest_charge"])
    method = sandbox.store.get("payment_method", intent["payment_method"])
    if success:
        _succeed(sandbox, intent, charge, method)
        return
    charges.fail_debit(sandbox, charge)
    _failed(sandbox, intent, method, charge, "payment_intent_payment_attempt_failed", charge["failure_message"])


def cancel(sandbox: Sandbox, intent: Json, reason: str | None) -> None:
    if intent["status"] in ("succeeded", "canceled", "processing"):
        raise unexpected_state(intent, "cancel")
    intent |= {
        "status": "canceled",
        "canceled_at": sandbox.now(),
        "cancellation_reason": reason,
        "next_action": None,
    }
    sandbox.emit("payment_intent.canceled", intent)


def unexpected_state(intent: Json, verb: str) -> StripeError:
    return StripeError(
        f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}.",
        code="payment_intent_unexpected_state",
        payment_intent=dict(intent),
    )
