"""Creates and expires Checkout Sessions, and lets customers pay. https://docs.stripe.com/api/checkout/sessions"""

from typing import Any

from stripe_sandbox import kept_cards, line_items, payments, vouchers
from stripe_sandbox.errors import StripeError, missing_param
from stripe_sandbox.money import MAXIMUM, format_money, minimum
from stripe_sandbox.params import integer, metadata
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

_LIFETIME = 86_400  # seconds
_SHORTEST, _LONGEST = 30 * 60, 86_400
_COPIED = (
    "client_reference_id",
    "customer",
    "customer_email",
    "cancel_url",
    "locale",
    "submit_type",
    "customer_creation",
)
_OF_INTENT = (
    "capture_method",
    "description",
    "receipt_email",
    "setup_future_usage",
    "statement_descriptor",
    "statement_descriptor_suffix",
)


def create(sandbox: Sandbox, params: Json) -> Json:
    _check_params(sandbox, params)
    return _create_setup(sandbox, params) if params.get("mode") == "setup" else _create_payment(sandbox, params)


def _create_payment(sandbox: Sandbox, params: Json) -> Json:
    lines = [line_items.create(sandbox, index, line) for index, line in enumerate(params["line_items"])]
    currency = lines[0]["currency"]
    if any(line["currency"] != currency for line in lines):
        raise StripeError("All line items must have the same currency.", param="line_items")
    total = sum(line["amount_total"] for line in lines)
    _check_total(total, currency)
    status = "unpaid" if total else "no_payment_required"
    session = _new(sandbox, params, amount_subtotal=total, amount_total=total, currency=currency, payment_status=status)
    sandbox.store.private[session["id"]] = {"lines": lines, "intent": params.get("payment_intent_data") or {}}
    return session


def _create_setup(sandbox: Sandbox, params: Json) -> Json:
    """Create a session that keeps a card and takes no payment. Its SetupIntent is created with it, as at Stripe."""
    given = params.get("setup_intent_data") or {}
    kinds = params.get("payment_method_types") or ["card"]
    intent = kept_cards.create(sandbox, params.get("customer"), given.get("metadata") or {}, kinds)
    nothing = {"amount_subtotal": None, "amount_total": None, "payment_status": "no_payment_required"}
    session = _new(sandbox, params, mode="setup", setup_intent=intent["id"], currency=params.get("currency"), **nothing)
    sandbox.store.private[session["id"]] = {"lines": []}
    return session


def _new(sandbox: Sandbox, params: Json, **values: Any) -> Json:
    """Create a session with what both modes share; `values` are its other fields."""
    session = sandbox.new(
        "checkout.session",
        **{key: params[key] for key in _COPIED if params.get(key)},
        expires_at=_expiry(sandbox, params),
        metadata=metadata(params),
        payment_method_types=params.get("payment_method_types") or ["card"],
        success_url=params["success_url"],
        **values,
    )
    session["custom_text"] |= params.get("custom_text") or {}
    session["url"] = f"{sandbox.settings.public_url}/c/pay/{session['id']}"
    if session["customer_email"]:
        _set_customer_details(session, session["customer_email"], None)
    sandbox.later(session["expires_at"] - sandbox.now(), "expire_session", session["id"])
    return session


def _check_params(sandbox: Sandbox, params: Json) -> None:
    mode = params.get("mode", "payment")
    if mode not in ("payment", "setup"):
        raise StripeError("stripe_sandbox knows mode=payment and mode=setup only.", param="mode")
    for name in ("success_url", "line_items" if mode == "payment" else "currency"):
        if not params.get(name):
            raise missing_param(name)
    if mode == "payment" and not isinstance(params["line_items"], list):
        raise StripeError("Invalid array", param="line_items")
    if mode == "setup" and params.get("line_items"):
        raise StripeError("You can not pass `line_items` in `setup` mode.", param="line_items")
    if params.get("customer") and params.get("customer_email"):
        raise StripeError("You may only specify one of these parameters: customer, customer_email.", param="customer")
    if params.get("customer"):
        sandbox.store.get("customer", params["customer"], "customer")
    for name in ("success_url", "cancel_url"):
        if not str(params.get(name, "http://")).startswith(("http://", "https://")):
            raise StripeError("Not a valid URL", code="url_invalid", param=name)


def _check_total(total: int, currency: str) -> None:
    least = minimum(currency)
    if 0 < total < least:
        shown = format_money(least, currency, "en")
        message = f"The Checkout Session's total amount due must add up to at least {shown} {currency}"
        raise StripeError(message, code="amount_too_small", param="line_items")
    if total > MAXIMUM:
        raise StripeError(
            "The Checkout Session's total amount must be no more than 999,999.99", code="amount_too_large"
        )


def _expiry(sandbox: Sandbox, params: Json) -> int:
    now = sandbox.now()
    expires_at = integer(params, "expires_at") or now + _LIFETIME
    # The caller's clock may differ by a minute.
    if not now + _SHORTEST - 60 <= expires_at <= now + _LONGEST + 60:
        message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation."
        raise StripeError(message, param="expires_at")
    return expires_at


def expire(sandbox: Sandbox, session: Json) -> None:
    if session["status"] != "open":
        message = (
            'Only Checkout Sessions with a status in ["open"] can be expired. '
            f"This Checkout Session has a status of {session['status']}."
        )
        raise StripeError(message)
    session |= {"status": "expired", "url": None}
    intent = intent_of(sandbox, session)
    if intent:
        payments.cancel(sandbox, intent, "expired")
    if session["mode"] == "setup":
        kept_cards.cancel(sandbox, setup_of(sandbox, session), "abandoned")
    sandbox.emit("checkout.session.expired", session)


def intent_of(sandbox: Sandbox, session: Json) -> Json | None:
    return sandbox.store.find(session["payment_intent"]) if session["payment_intent"] else None


def setup_of(sandbox: Sandbox, session: Json) -> Json:
    """Return the SetupIntent of a session in setup mode."""
    return sandbox.store.get("setup_intent", session["setup_intent"])


def awaits_authentication(sandbox: Sandbox, session: Json) -> bool:
    """Return whether the customer has to pass 3-D Secure on the session's page."""
    if session["mode"] == "setup":
        return bool(setup_of(sandbox, session)["status"] == "requires_action")
    intent = intent_of(sandbox, session)
    return intent is not None and payments.awaits_authentication(intent)


def needs_method(session: Json) -> bool:
    """Return whether the session's page asks for a card or account: to pay, or to keep it."""
    return bool(session["amount_total"] or session["mode"] == "setup")


def session_of_intent(sandbox: Sandbox, intent_id: str) -> Json | None:
    return next(sandbox.store.select("checkout.session", payment_intent=intent_id), None)


def pay(sandbox: Sandbox, session: Json, method: Json | None) -> None:
    """Pay the session, or keep the card if it is in setup mode, with the PaymentMethod `method`.

    `method` is None if the total is zero.

    Raises a StripeError of type card_error when the payment is declined; the session then stays open.
    """
    if session["status"] != "open":
        raise StripeError(f"This Checkout Session is {session['status']}.", code="checkout_session_not_open")
    if not needs_method(session) or method is None:
        _complete(sandbox, session, "no_payment_required")
        return
    billing = method["billing_details"]
    _set_customer_details(session, billing["email"] or session["customer_email"], billing["name"])
    if session["mode"] == "setup":
        kept_cards.confirm(sandbox, setup_of(sandbox, session), method)
        _follow_setup(sandbox, session)
        return
    intent = intent_of(sandbox, session) or _create_intent(sandbox, session)
    payments.confirm(sandbox, intent, method)
    follow_intent(sandbox, session, intent)


def authenticate(sandbox: Sandbox, session: Json, success: bool) -> None:
    """Finish the session's 3-D Secure step; `success` says whether the customer authenticated.

    Raises a StripeError of type card_error if the customer did not, or if the card is then declined.
    """
    if session["mode"] == "setup":
        kept_cards.authenticate(sandbox, setup_of(sandbox, session), success)
        _follow_setup(sandbox, session)
        return
    intent = sandbox.store.get("payment_intent", session["payment_intent"])
    payments.authenticate(sandbox, intent, success)
    follow_intent(sandbox, session, intent)


def follow_intent(sandbox: Sandbox, session: Json, intent: Json) -> None:
    if intent["status"] in ("succeeded", "processing", "requires_capture") or vouchers.awaits_money(intent):
        _complete(sandbox, session, "paid" if intent["status"] == "succeeded" else "unpaid")


def _follow_setup(sandbox: Sandbox, session: Json) -> None:
    if setup_of(sandbox, session)["status"] == "succeeded":
        _complete(sandbox, session, "no_payment_required")


def _complete(sandbox: Sandbox, session: Json, payment_status: str) -> None:
    session |= {"status": "complete", "payment_status": payment_status, "url": None}
    sandbox.emit("checkout.session.completed", session)


def settle(sandbox: Sandbox, intent: Json, success: bool) -> None:
    """Let a PaymentIntent's bank debit, voucher or transfer succeed or fail, and update its Checkout Session."""
    payments.settle(sandbox, intent, success)
    session = session_of_intent(sandbox, intent["id"])
    if session:
        session["payment_status"] = "paid" if success else "unpaid"
        outcome = "succeeded" if success else "failed"
        sandbox.emit(f"checkout.session.async_payment_{outcome}", session)


def capture(sandbox: Sandbox, intent: Json, amount: int | None) -> None:
    """Take `amount` minor units, or all, of an authorized payment; its Checkout Session, if any, is then paid."""
    payments.capture(sandbox, intent, amount)
    session = session_of_intent(sandbox, intent["id"])
    if session:
        session["payment_status"] = "paid"  # Stripe has no event for it


def _create_intent(sandbox: Sandbox, session: Json) -> Json:
    given = sandbox.store.private[session["id"]]["intent"]
    intent = payments.create(
        sandbox,
        session["amount_total"],
        session["currency"],
        **{key: given[key] for key in _OF_INTENT if key in given},
        customer=session["customer"],
        metadata=given.get("metadata") or {},
        payment_method_types=session["payment_method_types"],
        shipping=given.get("shipping"),
    )
    session["payment_intent"] = intent["id"]
    return intent


def _set_customer_details(session: Json, email: str | None, name: str | None) -> None:
    address = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
    session["customer_details"] = {
        "address": address,
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": name,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
