"""Keeps cards for later: SetupIntents, and PaymentMethods attached to customers. https://docs.stripe.com/payments/save"""

from stripe_sandbox import methods
from stripe_sandbox.cards import DECLINES, TestMethod
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import token
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

_CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


def create(sandbox: Sandbox, customer: str | None, metadata: Json, kinds: list[str]) -> Json:
    """Create a SetupIntent, which keeps a PaymentMethod of one of the types `kinds` for payments off session."""
    intent = sandbox.new("setup_intent", customer=customer, metadata=metadata, payment_method_types=kinds)
    intent["client_secret"] = f"{intent['id']}_secret_{token(25)}"
    sandbox.emit("setup_intent.created", intent)
    return intent


def confirm(sandbox: Sandbox, intent: Json, method: Json) -> None:
    """Set `method` up for later payments; its status becomes succeeded, or requires_action for 3-D Secure.

    Raises a StripeError of type card_error when the card is declined.
    """
    if intent["status"] not in _CONFIRMABLE:
        raise unexpected_state(intent, "confirm")
    intent |= {"payment_method": method["id"], "next_action": None, "last_setup_error": None}
    if methods.test_of(method).authenticate:
        intent |= {"status": "requires_action", "next_action": {"type": "use_stripe_sdk", "use_stripe_sdk": {}}}
        sandbox.emit("setup_intent.requires_action", intent)
        return
    _finish(sandbox, intent, method)


def authenticate(sandbox: Sandbox, intent: Json, success: bool) -> None:
    """Finish the SetupIntent's 3-D Secure step; `success` says whether the customer authenticated.

    Raises a StripeError of type card_error if not, or if the card is declined.
    """
    if intent["status"] != "requires_action":
        raise unexpected_state(intent, "authenticate")
    method = sandbox.store.get("payment_method", intent["payment_method"])
    intent["next_action"] = None
    if not success:
        message = "The provided PaymentMethod has failed authentication. Provide another one."
        raise _failed(sandbox, intent, method, "setup_intent_authentication_failure", message)
    _finish(sandbox, intent, method)


def _finish(sandbox: Sandbox, intent: Json, method: Json) -> None:
    test = methods.test_of(method)
    if test.decline and not test.keepable:
        raise _failed(sandbox, intent, method, *DECLINES[test.decline], test.decline)
    intent["status"] = "succeeded"
    if intent["customer"]:
        attach(sandbox, method, intent["customer"])
    sandbox.emit("setup_intent.succeeded", intent)


def _failed(
    sandbox: Sandbox, intent: Json, method: Json, code: str, message: str, decline: str | None = None
) -> StripeError:
    error = {
        "code": code,
        "decline_code": decline,
        "message": message,
        "payment_method": dict(method),
        "type": "card_error" if decline else "invalid_request_error",
    }
    last_error = {key: value for key, value in error.items() if value is not None}
    intent |= {"status": "requires_payment_method", "payment_method": None, "last_setup_error": last_error}
    sandbox.emit("setup_intent.setup_failed", intent)
    return StripeError(message, status=402, type="card_error", code=code, decline_code=decline)


def cancel(sandbox: Sandbox, intent: Json, reason: str | None) -> None:
    if intent["status"] not in _CONFIRMABLE:
        raise unexpected_state(intent, "cancel")
    intent |= {"status": "canceled", "cancellation_reason": reason, "next_action": None}
    sandbox.emit("setup_intent.canceled", intent)


def attach(sandbox: Sandbox, method: Json, customer: str) -> None:
    """Attach the PaymentMethod to the customer. Raises StripeError if it was detached from one, as at Stripe."""
    if _was_detached(sandbox, method):
        message = "This PaymentMethod was previously detached from a Customer, and may not be used again."
        raise StripeError(message, param="payment_method")
    method |= {"customer": sandbox.store.get("customer", customer, "customer")["id"], "allow_redisplay": "limited"}
    sandbox.emit("payment_method.attached", method)


def detach(sandbox: Sandbox, method: Json) -> None:
    """Detach the PaymentMethod from its customer, after which nothing can be charged to it any more."""
    if not method["customer"]:
        message = "The payment method you provided is not attached to a customer so detachment is impossible."
        raise StripeError(message, param="payment_method")
    previous = {"customer": method["customer"]}
    method["customer"] = None
    sandbox.store.private.setdefault(method["id"], {})["detached"] = True
    sandbox.emit("payment_method.detached", method, previous)


def _was_detached(sandbox: Sandbox, method: Json) -> bool:
    return bool(sandbox.store.private.get(method["id"], {}).get("detached"))


def check_payer(sandbox: Sandbox, method: Json, customer: str | None) -> None:
    """Raise StripeError if a PaymentIntent of this customer may not be paid with the PaymentMethod."""
    if method["customer"] not in (None, customer):
        message = (
            "The payment method you provided is attached to a customer so for security purposes you must provide the"
            " customer in the request."
        )
        raise StripeError(message, param="payment_method")
    if _was_detached(sandbox, method):
        message = "The provided PaymentMethod was detached from a Customer. It may not be used again."
        raise StripeError(message, param="payment_method")


def asks_again(test: TestMethod, method: Json) -> bool:
    """Return whether the bank asks for 3-D Secure although the customer is absent."""
    return test.always or (test.authenticate and not method["customer"])


def unexpected_state(intent: Json, verb: str) -> StripeError:
    return StripeError(
        f"You cannot {verb} this SetupIntent because it has a status of {intent['status']}.",
        code="setup_intent_unexpected_state",
        setup_intent=dict(intent),
    )
