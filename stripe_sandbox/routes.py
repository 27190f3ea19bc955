"""The table of Stripe's API URLs, each with the function that answers it."""

from stripe_sandbox import balance, calls, endpoints, line_items, methods, params, payouts, refunds, versions
from stripe_sandbox.api import Call
from stripe_sandbox.errors import StripeError, missing_param
from stripe_sandbox.expand import as_list
from stripe_sandbox.lists import PAGING, created_in, listed, page
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json


def retrieve(kind: str) -> Call:
    return lambda sandbox, given, object_id: sandbox.store.get(kind, object_id)


def list_all(kind: str, url: str, *filters: str) -> Call:
    return lambda sandbox, given, _: listed(sandbox, kind, given, url, filters)


def update_metadata(kind: str) -> Call:
    def update(sandbox: Sandbox, given: Json, object_id: str) -> Json:
        found = sandbox.store.get(kind, object_id)
        params.only(given)
        found["metadata"] = refunds.merge_metadata(found["metadata"], params.metadata(given))
        return found

    return update


def retrieve_account(sandbox: Sandbox, given: Json, account_id: str) -> Json:
    if account_id not in ("", sandbox.account["id"]):
        message = f"The provided key does not have access to account '{account_id}' (or that account does not exist)."
        raise StripeError(message, status=403, code="account_invalid")
    return sandbox.account


def list_nothing(url: str) -> Call:
    """Return a function that answers an API call with an empty list, for object types that the sandbox doesn't have."""
    return lambda sandbox, given, _: as_list([], url)


_MOST_TYPES = 20


def list_events(sandbox: Sandbox, given: Json, _: str) -> Json:
    """Return a page of events, optionally filtered by `type` or `types[]` and by `delivery_success`.

    A type may end in `*`, which stands for any ending.
    """
    params.only(given, *PAGING, "delivery_success", "type", "types")
    wanted = given.get("types") or ([given["type"]] if given.get("type") else [])
    if len(wanted) > _MOST_TYPES:
        raise StripeError(f"You may only specify up to {_MOST_TYPES} event types.", param="types")
    found = created_in(sandbox.store.select("event"), given.get("created"))
    found = [event for event in found if versions.is_sent(event["type"], event["api_version"])]
    if wanted:
        found = [event for event in found if any(_matches(event["type"], pattern) for pattern in wanted)]
    success = params.truth(given, "delivery_success")
    if success is not None:
        found = [event for event in found if (event["pending_webhooks"] == 0) is success]
    return page(found, given, "/v1/events")


def _matches(event_type: str, pattern: str) -> bool:
    return event_type.startswith(pattern[:-1]) if pattern.endswith("*") else event_type == pattern


def create_customer(sandbox: Sandbox, given: Json, _: str) -> Json:
    known = {key: given[key] for key in ("name", "email", "phone", "description", "address") if given.get(key)}
    customer = sandbox.new("customer", metadata=params.metadata(given), **known)
    customer["invoice_prefix"] = customer["id"][-8:].upper()
    sandbox.emit("customer.created", customer)
    return customer


def create_endpoint(sandbox: Sandbox, given: Json, _: str) -> Json:
    params.only(given, "url", "enabled_events", "description", "api_version", "connect")
    if not given.get("enabled_events"):
        raise missing_param("enabled_events")
    version = versions.checked(given["api_version"], "api_version") if given.get("api_version") else None
    endpoint = endpoints.create(sandbox, given.get("url", ""), given["enabled_events"])
    endpoint |= {"description": given.get("description"), "api_version": version}
    endpoint["metadata"] = params.metadata(given)
    return endpoints.with_secret(sandbox, endpoint)


def update_endpoint(sandbox: Sandbox, given: Json, endpoint_id: str) -> Json:
    endpoint = sandbox.store.get("webhook_endpoint", endpoint_id)
    params.only(given, "url", "enabled_events", "description", "disabled")
    endpoint |= {key: given[key] for key in ("url", "enabled_events", "description") if key in given}
    if "disabled" in given:
        endpoint["status"] = "disabled" if params.truth(given, "disabled") else "enabled"
    return endpoint


def delete_endpoint(sandbox: Sandbox, given: Json, endpoint_id: str) -> Json:
    endpoint = sandbox.store.get("webhook_endpoint", endpoint_id)
    sandbox.store.remove(endpoint)
    return {"id": endpoint_id, "object": "webhook_endpoint", "deleted": True}


# Clients that mirror everything, such as dj-stripe's sync, request these lists, which stay empty.
UNUSED = (
    *("application_fees", "country_specs", "coupons", "entitlements/active_entitlements", "entitlements/features"),
    *("file_links", "files", "identity/verification_reports", "identity/verification_sessions", "invoiceitems"),
    *("invoices", "issuing/authorizations", "issuing/cardholders", "issuing/cards", "issuing/disputes"),
    *("issuing/transactions", "promotion_codes", "radar/early_fraud_warnings", "reviews"),
    *("shipping_rates", "subscription_schedules", "subscriptions", "tax_codes", "tax_rates", "transfers"),
)

ROUTES: tuple[tuple[str, str, Call], ...] = (
    ("GET", "/v1/account", retrieve_account),
    ("GET", "/v1/accounts", list_nothing("/v1/accounts")),
    ("GET", "/v1/accounts/{id}", retrieve_account),
    ("GET", "/v1/balance_transactions", balance.list_transactions),
    ("GET", "/v1/balance_transactions/{id}", retrieve("balance_transaction")),
    ("GET", "/v1/charges", list_all("charge", "/v1/charges", "payment_intent", "customer")),
    ("GET", "/v1/charges/{id}", retrieve("charge")),
    ("POST", "/v1/charges/{id}", update_metadata("charge")),
    (
        "GET",
        "/v1/checkout/sessions",
        list_all("checkout.session", "/v1/checkout/sessions", "payment_intent", "customer", "status"),
    ),
    ("POST", "/v1/checkout/sessions", calls.create_session),
    ("GET", "/v1/checkout/sessions/{id}", retrieve("checkout.session")),
    ("POST", "/v1/checkout/sessions/{id}", update_metadata("checkout.session")),
    ("POST", "/v1/checkout/sessions/{id}/expire", calls.expire_session),
    ("GET", "/v1/checkout/sessions/{id}/line_items", calls.list_line_items),
    ("GET", "/v1/customers", list_all("customer", "/v1/customers", "email")),
    ("POST", "/v1/customers", create_customer),
    ("GET", "/v1/customers/{id}", retrieve("customer")),
    ("POST", "/v1/customers/{id}", update_metadata("customer")),
    ("GET", "/v1/customers/{id}/payment_methods", calls.list_customers_methods),
    ("GET", "/v1/customers/{id}/sources", list_nothing("/v1/customers/sources")),
    ("GET", "/v1/customers/{id}/tax_ids", list_nothing("/v1/customers/tax_ids")),
    ("GET", "/v1/disputes", list_all("dispute", "/v1/disputes", "payment_intent", "charge")),
    ("GET", "/v1/disputes/{id}", retrieve("dispute")),
    ("POST", "/v1/disputes/{id}", calls.update_dispute),
    ("POST", "/v1/disputes/{id}/close", calls.close_dispute),
    ("GET", "/v1/events", list_events),
    ("GET", "/v1/events/{id}", retrieve("event")),
    ("GET", "/v1/payment_intents", list_all("payment_intent", "/v1/payment_intents", "customer")),
    ("POST", "/v1/payment_intents", calls.create_intent),
    ("GET", "/v1/payment_intents/{id}", retrieve("payment_intent")),
    ("POST", "/v1/payment_intents/{id}", update_metadata("payment_intent")),
    ("POST", "/v1/payment_intents/{id}/cancel", calls.cancel_intent),
    ("POST", "/v1/payment_intents/{id}/capture", calls.capture_intent),
    ("POST", "/v1/payment_intents/{id}/confirm", calls.confirm_intent),
    ("GET", "/v1/payment_methods", list_all("payment_method", "/v1/payment_methods", "customer", "type")),
    ("POST", "/v1/payment_methods", lambda sandbox, given, _: methods.create_from_params(sandbox, given)),
    ("GET", "/v1/payment_methods/{id}", retrieve("payment_method")),
    ("POST", "/v1/payment_methods/{id}/attach", calls.attach_method),
    ("POST", "/v1/payment_methods/{id}/detach", calls.detach_method),
    ("GET", "/v1/payment_pages/{id}", retrieve("checkout.session")),
    ("POST", "/v1/payment_pages/{id}/confirm", calls.confirm_payment_page),
    ("GET", "/v1/payouts", list_all("payout", "/v1/payouts", "destination", "status")),
    ("POST", "/v1/payouts", payouts.create),
    ("GET", "/v1/payouts/{id}", retrieve("payout")),
    ("POST", "/v1/payouts/{id}", payouts.update),
    ("POST", "/v1/payouts/{id}/cancel", payouts.cancel),
    ("GET", "/v1/prices", list_all("price", "/v1/prices", "product")),
    ("POST", "/v1/prices", lambda sandbox, given, _: line_items.create_price(sandbox, given)),
    ("GET", "/v1/prices/{id}", retrieve("price")),
    ("GET", "/v1/products", list_all("product", "/v1/products")),
    ("POST", "/v1/products", lambda sandbox, given, _: line_items.create_product(sandbox, given)),
    ("GET", "/v1/products/{id}", retrieve("product")),
    ("GET", "/v1/products/{id}/features", list_nothing("/v1/products/features")),
    ("GET", "/v1/refunds", list_all("refund", "/v1/refunds", "payment_intent", "charge")),
    ("POST", "/v1/refunds", calls.create_refund),
    ("GET", "/v1/refunds/{id}", retrieve("refund")),
    ("POST", "/v1/refunds/{id}", calls.update_refund),
    ("POST", "/v1/refunds/{id}/cancel", calls.cancel_refund),
    ("GET", "/v1/setup_intents", list_all("setup_intent", "/v1/setup_intents", "customer", "payment_method")),
    ("POST", "/v1/setup_intents", calls.create_setup_intent),
    ("GET", "/v1/setup_intents/{id}", retrieve("setup_intent")),
    ("POST", "/v1/setup_intents/{id}", update_metadata("setup_intent")),
    ("POST", "/v1/setup_intents/{id}/cancel", calls.cancel_setup_intent),
    ("POST", "/v1/setup_intents/{id}/confirm", calls.confirm_setup_intent),
    ("GET", "/v1/webhook_endpoints", list_all("webhook_endpoint", "/v1/webhook_endpoints")),
    ("POST", "/v1/webhook_endpoints", create_endpoint),
    ("GET", "/v1/webhook_endpoints/{id}", retrieve("webhook_endpoint")),
    ("POST", "/v1/webhook_endpoints/{id}", update_endpoint),
    ("DELETE", "/v1/webhook_endpoints/{id}", delete_endpoint),
    *(("GET", f"/v1/{name}", list_nothing(f"/v1/{name}")) for name in UNUSED),
)
