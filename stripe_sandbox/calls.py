"""API calls on Checkout Sessions, PaymentIntents, refunds and disputes: check parameters, then change the objects."""

from stripe_sandbox import checkout, disputes, kept_cards, methods, params, payments, refunds
from stripe_sandbox.errors import StripeError, missing_param
from stripe_sandbox.lists import listed, page
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

# `params.only` refuses names that aren't listed here; a parameter's value is checked where it is read.
_SESSION_PARAMS = (
    *("adaptive_pricing", "after_expiration", "allow_promotion_codes", "automatic_tax", "billing_address_collection"),
    *("branding_settings", "cancel_url", "client_reference_id", "consent_collection", "currency", "custom_fields"),
    *("custom_text", "customer", "customer_creation", "customer_email", "customer_update", "expires_at"),
    *("invoice_creation", "line_items", "locale", "mode", "payment_intent_data", "payment_method_collection"),
    *("payment_method_options", "payment_method_types", "phone_number_collection", "setup_intent_data"),
    *("submit_type", "success_url", "ui_mode"),
)
_INTENT_PARAMS = (
    *("amount", "automatic_payment_methods", "capture_method", "confirm", "currency", "customer", "description"),
    *("error_on_requires_action", "mandate_data", "off_session", "payment_method", "payment_method_options"),
    *("payment_method_types", "receipt_email", "return_url", "setup_future_usage", "shipping"),
    *("statement_descriptor", "statement_descriptor_suffix"),
)
_SETUP_PARAMS = ("description", "payment_method_options", "payment_method_types", "return_url", "usage")
_INTENT_COPIED = (
    *("capture_method", "customer", "description", "receipt_email", "shipping", "setup_future_usage"),
    "payment_method_types",
)


def create_session(sandbox: Sandbox, given: Json, _: str) -> Json:
    params.only(given, *_SESSION_PARAMS)
    return checkout.create(sandbox, given)


def expire_session(sandbox: Sandbox, given: Json, session_id: str) -> Json:
    session = sandbox.store.get("checkout.session", session_id)
    checkout.expire(sandbox, session)
    return session


def list_line_items(sandbox: Sandbox, given: Json, session_id: str) -> Json:
    session = sandbox.store.get("checkout.session", session_id)
    url = f"/v1/checkout/sessions/{session_id}/line_items"
    return page(sandbox.store.private[session["id"]]["lines"], given, url)


def confirm_payment_page(sandbox: Sandbox, given: Json, session_id: str) -> Json:
    """Pay the session: POST /v1/payment_pages/{id}/confirm, which the Stripe CLI calls for `stripe trigger`."""
    session = sandbox.store.get("checkout.session", session_id)
    expected = params.integer(given, "expected_amount")
    if expected not in (None, session["amount_total"]):
        raise StripeError("The amount of this Checkout Session has changed.", code="checkout_amount_mismatch")
    method = methods.get_or_create(sandbox, given.get("payment_method", ""))
    checkout.pay(sandbox, session, method)
    return session


def create_intent(sandbox: Sandbox, given: Json, _: str) -> Json:
    params.only(given, *_INTENT_PARAMS)
    amount = params.integer(given, "amount")
    if amount is None:
        raise missing_param("amount")
    if not given.get("currency"):
        raise missing_param("currency")
    values = {key: given[key] for key in _INTENT_COPIED if key in given}
    intent = payments.create(sandbox, amount, given["currency"].lower(), metadata=params.metadata(given), **values)
    if params.truth(given, "confirm"):
        confirm_intent(sandbox, given, intent["id"])
    return intent


def confirm_intent(sandbox: Sandbox, given: Json, intent_id: str) -> Json:
    intent = sandbox.store.get("payment_intent", intent_id)
    if not given.get("payment_method"):
        raise missing_param("payment_method")
    method = methods.get_or_create(sandbox, given["payment_method"])
    if given.get("mandate_data") is None and method["type"] == "sepa_debit":
        raise missing_param("mandate_data")
    kept_cards.check_payer(sandbox, method, intent["customer"])
    absent = bool(params.truth(given, "off_session"))
    payments.confirm(sandbox, intent, method, absent, bool(params.truth(given, "error_on_requires_action")))
    return intent


def capture_intent(sandbox: Sandbox, given: Json, intent_id: str) -> Json:
    params.only(given, "amount_to_capture", "final_capture", "statement_descriptor", "statement_descriptor_suffix")
    intent = sandbox.store.get("payment_intent", intent_id)
    checkout.capture(sandbox, intent, params.integer(given, "amount_to_capture"))
    return intent


def cancel_intent(sandbox: Sandbox, given: Json, intent_id: str) -> Json:
    intent = sandbox.store.get("payment_intent", intent_id)
    session = checkout.session_of_intent(sandbox, intent_id)
    if session and session["status"] == "open":
        message = "You cannot cancel the PaymentIntent of a Checkout Session. Expire the Checkout Session instead."
        raise StripeError(message, code="payment_intent_unexpected_state")
    payments.cancel(sandbox, intent, given.get("cancellation_reason"))
    return intent


def create_setup_intent(sandbox: Sandbox, given: Json, _: str) -> Json:
    params.only(given, "automatic_payment_methods", "confirm", "customer", "payment_method", *_SETUP_PARAMS)
    kinds = given.get("payment_method_types") or ["card"]
    intent = kept_cards.create(sandbox, given.get("customer"), params.metadata(given), kinds)
    if params.truth(given, "confirm"):
        confirm_setup_intent(sandbox, given, intent["id"])
    return intent


def confirm_setup_intent(sandbox: Sandbox, given: Json, intent_id: str) -> Json:
    intent = sandbox.store.get("setup_intent", intent_id)
    if not given.get("payment_method"):
        raise missing_param("payment_method")
    kept_cards.confirm(sandbox, intent, methods.get_or_create(sandbox, given["payment_method"]))
    return intent


def cancel_setup_intent(sandbox: Sandbox, given: Json, intent_id: str) -> Json:
    intent = sandbox.store.get("setup_intent", intent_id)
    kept_cards.cancel(sandbox, intent, given.get("cancellation_reason"))
    return intent


def attach_method(sandbox: Sandbox, given: Json, method_id: str) -> Json:
    params.only(given, "customer")
    method = methods.get_or_create(sandbox, method_id)
    kept_cards.attach(sandbox, method, given.get("customer", ""))
    return method


def detach_method(sandbox: Sandbox, given: Json, method_id: str) -> Json:
    method = sandbox.store.get("payment_method", method_id)
    kept_cards.detach(sandbox, method)
    return method


def list_customers_methods(sandbox: Sandbox, given: Json, customer_id: str) -> Json:
    customer = sandbox.store.get("customer", customer_id)
    url = f"/v1/customers/{customer_id}/payment_methods"
    return listed(sandbox, "payment_method", given | {"customer": customer["id"]}, url, ("customer", "type"))


def create_refund(sandbox: Sandbox, given: Json, _: str) -> Json:
    params.only(given, "amount", "charge", "payment_intent", "reason", "refund_application_fee", "reverse_transfer")
    reason = given.get("reason")
    if reason not in (None, *refunds.REASONS):
        raise StripeError(f"Invalid reason: must be one of {', '.join(refunds.REASONS)}", param="reason")
    charge = _charge_to_refund(sandbox, given)
    return refunds.create(sandbox, charge, params.integer(given, "amount"), reason, params.metadata(given))


def _charge_to_refund(sandbox: Sandbox, given: Json) -> Json:
    if given.get("charge"):
        return sandbox.store.get("charge", given["charge"], "charge")
    if not given.get("payment_intent"):
        message = "One of the following params should be provided for this request: payment_intent or charge."
        raise StripeError(message, code="parameter_missing")
    intent = sandbox.store.get("payment_intent", given["payment_intent"], "payment_intent")
    if not intent["latest_charge"] or intent["status"] == "requires_capture":
        message = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
        raise StripeError(message, param="payment_intent")
    return sandbox.store.get("charge", intent["latest_charge"])


def update_refund(sandbox: Sandbox, given: Json, refund_id: str) -> Json:
    refund = sandbox.store.get("refund", refund_id)
    params.only(given)
    refunds.update_metadata(sandbox, refund, params.metadata(given))
    return refund


def cancel_refund(sandbox: Sandbox, given: Json, refund_id: str) -> Json:
    refund = sandbox.store.get("refund", refund_id)
    refunds.cancel(sandbox, refund)
    return refund


def update_dispute(sandbox: Sandbox, given: Json, dispute_id: str) -> Json:
    dispute = sandbox.store.get("dispute", dispute_id)
    dispute["evidence"] |= {
        key: given["evidence"][key] for key in given.get("evidence", {}) if key in dispute["evidence"]
    }
    disputes.update(sandbox, dispute)
    return dispute


def close_dispute(sandbox: Sandbox, given: Json, dispute_id: str) -> Json:
    """Close the dispute without contesting it: a chargeback becomes `lost`, an inquiry `warning_closed`."""
    dispute = sandbox.store.get("dispute", dispute_id)
    disputes.close(sandbox, dispute, won=False)
    return dispute
