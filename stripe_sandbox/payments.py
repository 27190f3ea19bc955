"""Creates, confirms, settles and cancels PaymentIntents. https://docs.stripe.com/payments/paymentintents/lifecycle"""

from typing import Any

from stripe_sandbox import charges, disputes, kept_cards, methods, vouchers
from stripe_sandbox.cards import DECLINES
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import token
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

_SLOW_SECONDS = 180  # Stripe's "slowly" IBANs take at least this long
_RESERVED_SECONDS = 7 * 86_400  # how long an authorized amount can be captured
_CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


def create(sandbox: Sandbox, amount: int, currency: str, **values: Any) -> Json:
    intent = sandbox.new("payment_intent", amount=amount, currency=currency, **values)
    intent["client_secret"] = f"{intent['id']}_secret_{token(25)}"
    sandbox.emit("payment_intent.created", intent)
    return intent


def confirm(sandbox: Sandbox, intent: Json, method: Json, absent: bool = False, no_action: bool = False) -> None:
    """Pay the intent with `method`. Raises a StripeError of type card_error when the card is declined.

    `absent` is whether the customer isn't there (`off_session`): if the bank then asks for 3-D Secure, the card is
    declined. `no_action` is whether this holds for present customers too (`error_on_requires_action`).

    The intent's status becomes succeeded, requires_capture, processing (bank debit) or requires_action (3-D Secure, or
    a voucher or bank transfer that the customer pays later).
    """
    if intent["status"] not in _CONFIRMABLE:
        raise unexpected_state(intent, "confirm")
    intent |= {"payment_method": method["id"], "next_action": None, "last_payment_error": None}
    if method["type"] == "sepa_debit":
        _start_debit(sandbox, intent, method)
    elif method["type"] in vouchers.KINDS:
        _wait_for_money(sandbox, intent, method)
    elif absent and not kept_cards.asks_again(methods.test_of(method), method):
        _charge_card(sandbox, intent, method)
    elif methods.test_of(method).authenticate and (absent or no_action):
        charge = charges.create(sandbox, intent, method)
        charges.decline(sandbox, charge, "authentication_required")
        code, message = DECLINES["authentication_required"]
        raise _failed(sandbox, intent, method, charge, code, message, "authentication_required")
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
    if not awaits_authentication(intent):
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
    if intent["capture_method"] == "manual" and method["type"] == "card":
        charges.succeed(sandbox, charge, captured=False)
        intent |= {"status": "requires_capture", "amount_capturable": charge["amount"]}
        sandbox.emit("payment_intent.amount_capturable_updated", intent)
        sandbox.later(_RESERVED_SECONDS, "expire_authorization", intent["id"])
        return
    charges.succeed(sandbox, charge)
    _receive(sandbox, intent, charge, method)


def _receive(sandbox: Sandbox, intent: Json, charge: Json, method: Json) -> None:
    intent |= {"status": "succeeded", "amount_received": charge["amount_captured"]}
    if intent["setup_future_usage"] and intent["customer"] and not method["customer"]:
        kept_cards.attach(sandbox, method, intent["customer"])
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


def _wait_for_money(sandbox: Sandbox, intent: Json, method: Json) -> None:
    intent |= {"status": "requires_action", "next_action": vouchers.next_action(sandbox, intent, method)}
    sandbox.emit("payment_intent.requires_action", intent)
    if method["type"] == "multibanco":
        sandbox.later(vouchers.LIFETIME, "settle", intent["id"], False)


def awaits_authentication(intent: Json) -> bool:
    """Return whether the customer has to pass 3-D Secure."""
    return intent["status"] == "requires_action" and not vouchers.awaits_money(intent)


def settle(sandbox: Sandbox, intent: Json, success: bool) -> None:
    """Let a bank debit, a voucher or a bank transfer that is on its way succeed or, if `success` is false, fail.

    Raises StripeError if nothing is on its way.
    """
    if intent["status"] == "processing":
        _settle_debit(sandbox, intent, success)
    elif vouchers.awaits_money(intent):
        _settle_voucher(sandbox, intent, success)
    else:
        raise unexpected_state(intent, "settle")


def _settle_voucher(sandbox: Sandbox, intent: Json, success: bool) -> None:
    method = sandbox.store.get("payment_method", intent["payment_method"])
    intent["next_action"] = None
    if success:
        _succeed(sandbox, intent, charges.create(sandbox, intent, method), method)
        return
    message = "The payment attempt has expired."
    _failed(sandbox, intent, method, None, "payment_intent_payment_attempt_expired", message)


def _settle_debit(sandbox: Sandbox, intent: Json, success: bool) -> None:
    charge = sandbox.store.get("charge", intent["latest_charge"])
    method = sandbox.store.get("payment_method", intent["payment_method"])
    if success:
        _succeed(sandbox, intent, charge, method)
        return
    charges.fail_debit(sandbox, charge)
    _failed(sandbox, intent, method, charge, "payment_intent_payment_attempt_failed", charge["failure_message"])


def capture(sandbox: Sandbox, intent: Json, amount: int | None) -> None:
    """Take `amount` minor units of an authorized payment, or all if it is None; the rest is no longer reserved.

    Raises StripeError if nothing is authorized, or less than `amount`.
    """
    if intent["status"] != "requires_capture":
        raise unexpected_state(intent, "capture")
    most = intent["amount_capturable"]
    if amount is not None and amount <= 0:
        raise StripeError("Invalid positive integer", code="parameter_invalid_integer", param="amount_to_capture")
    if amount is not None and amount > most:
        message = f"The amount to capture ({amount}) is greater than the capturable amount ({most})."
        raise StripeError(message, code="amount_too_large", param="amount_to_capture")
    charge = sandbox.store.get("charge", intent["latest_charge"])
    charges.capture(sandbox, charge, most if amount is None else amount)
    intent["amount_capturable"] = 0
    _receive(sandbox, intent, charge, sandbox.store.get("payment_method", intent["payment_method"]))


def expire_authorization(sandbox: Sandbox, intent: Json) -> None:
    """Release an authorization that isn't captured, as Stripe does after a week.

    Raises StripeError if there is none.
    """
    if intent["status"] != "requires_capture":
        raise unexpected_state(intent, "expire")
    sandbox.emit("charge.expired", sandbox.store.get("charge", intent["latest_charge"]))
    cancel(sandbox, intent, "expired")


def cancel(sandbox: Sandbox, intent: Json, reason: str | None) -> None:
    if intent["status"] in ("succeeded", "canceled", "processing"):
        raise unexpected_state(intent, "cancel")
    intent |= {
        "status": "canceled",
        "amount_capturable": 0,
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
