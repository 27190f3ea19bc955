"""Implements `expand[]`: replaces ids in an answer by their objects. https://docs.stripe.com/api/expanding_objects"""

from typing import Any

from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json


def expanded(sandbox: Sandbox, answer: Json, params: Json) -> Json:
    """Return a copy of the answer with objects instead of ids at each path in the parameter `expand`.

    Raises StripeError for a path that cannot be expanded.
    """
    copied = dict(answer)
    for path in params.get("expand") or []:
        _fill(sandbox, copied, path.split("."), path)
    return copied


def _fill(sandbox: Sandbox, node: Json, parts: list[str], path: str) -> None:
    name, rest = parts[0], parts[1:]
    if name == "data" and node.get("object") == "list":
        node["data"] = [dict(found) for found in node["data"]]
        for found in node["data"]:
            _fill(sandbox, found, rest, path)
        return
    value = _included(sandbox, node, name) if (node.get("object"), name) in _INCLUDABLE else node.get(name, _MISSING)
    if value is _MISSING or isinstance(value, (bool, int)):
        raise StripeError(f"This property cannot be expanded ({path}).", param="expand")
    if isinstance(value, str):
        value = sandbox.store.find(value)
        if value is None:
            raise StripeError(f"This property cannot be expanded ({path}).", param="expand")
    node[name] = dict(value) if isinstance(value, dict) else value
    if isinstance(value, dict) and rest:
        _fill(sandbox, node[name], rest, path)


_MISSING: Any = object()
# Includable properties, which an object has only if the request expands them: (object type, property).
_INCLUDABLE = {
    ("charge", "refunds"),
    ("checkout.session", "line_items"),
    ("customer", "sources"),
    ("customer", "subscriptions"),
    ("item", "discounts"),
    ("price", "currency_options"),
    ("price", "tiers"),
    (None, "breakdown"),  # a session's total_details, which has no object type
}


def _included(sandbox: Sandbox, node: Json, name: str) -> Any:
    match name:
        case "line_items":
            url = f"/v1/checkout/sessions/{node['id']}/line_items"
            return as_list(sandbox.store.private[node["id"]]["lines"], url)
        case "refunds":
            return as_list(list(sandbox.store.select("refund", charge=node["id"])), f"/v1/charges/{node['id']}/refunds")
        case "sources" | "subscriptions":
            return as_list([], f"/v1/customers/{node['id']}/{name}")
        case "currency_options":
            return {}
        case "breakdown":
            return {"discounts": [], "taxes": []}
    return []


def as_list(found: list[Json], url: str, has_more: bool = False) -> Json:
    return {"object": "list", "data": found, "has_more": has_more, "url": url}
