"""Renders objects and events as earlier versions of Stripe's API do. https://docs.stripe.com/changelog

Objects are stored as in the newest version; each change below is undone for the versions before it.
"""

import copy
import re
from collections.abc import Callable
from typing import Any

from stripe_sandbox import API_VERSION
from stripe_sandbox.errors import StripeError
from stripe_sandbox.expand import as_list
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

# Versions to choose on the control page: the newest, and the last one before each change below.
CHOICES = (API_VERSION, "2026-02-25.clover", "2025-02-24.acacia", "2024-09-30.acacia", "2022-08-01")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
# https://docs.stripe.com/changelog/acacia/2024-10-28/refund-webhook-update
_EVENTS_FOR_ALL_REFUNDS = "2024-10-28"


def checked(version: str, param: str | None = None) -> str:
    """Return `version` if it starts with a date, as Stripe's API versions do.

    Otherwise raise a StripeError that names `param` as the wrong parameter.
    """
    if not _DATE.match(version):
        raise StripeError(f"Invalid Stripe API version: {version}", param=param)
    return version


def is_sent(event_type: str, version: str) -> bool:
    """Return whether Stripe sends events of this type in this API version, for refunds that have a charge.

    Early versions send refund.* events only for refunds without a charge; all refunds in the sandbox have one.
    """
    return version >= _EVENTS_FOR_ALL_REFUNDS or not event_type.startswith("refund.")


def rendered(sandbox: Sandbox, answer: Json, version: str) -> Json:
    """Return the answer to an API call as this API version shows it; an event keeps the version of its creation."""
    if answer.get("object") == "event":
        return event_in(sandbox, answer, answer["api_version"])
    if answer.get("object") == "list":
        return answer | {"data": [rendered(sandbox, item, version) for item in answer["data"]]}
    return answer if version >= _NEWEST_CHANGE else _older(sandbox, answer, version)


def event_in(sandbox: Sandbox, event: Json, version: str) -> Json:
    """Return the event as an endpoint with this API version gets it.

    The first call stores the rendered object, so that a later retry shows the object, with its lists, as it was then.
    """
    if version >= _NEWEST_CHANGE:
        return event | {"api_version": version}
    kept = sandbox.store.private.setdefault(event["id"], {})
    if version not in kept:
        kept[version] = copy.deepcopy(_older(sandbox, event["data"]["object"], version))
    return event | {"api_version": version, "data": event["data"] | {"object": kept[version]}}


def _older(sandbox: Sandbox, found: Any, version: str) -> Any:
    if isinstance(found, list):
        return [_older(sandbox, item, version) for item in found]
    if not isinstance(found, dict):
        return found
    made = {key: _older(sandbox, value, version) for key, value in found.items()}
    for changed_in, kind, undo in _CHANGES:
        if version < changed_in and made.get("object") == kind:
            made |= undo(sandbox, made, version)
    return made


def _refunds_of(sandbox: Sandbox, charge: Json, version: str) -> Json:
    found = list(sandbox.store.select("refund", charge=charge["id"]))
    return {"refunds": as_list(_older(sandbox, found, version), f"/v1/charges/{charge['id']}/refunds")}


def _charges_of(sandbox: Sandbox, intent: Json, version: str) -> Json:
    found = list(sandbox.store.select("charge", payment_intent=intent["id"]))
    return {"charges": as_list(_older(sandbox, found, version), f"/v1/charges?payment_intent={intent['id']}")}


_UI_MODES = {"hosted_page": "hosted", "embedded_page": "embedded", "elements": "custom"}
# (the version that made the change, the type of object, a function that returns the properties as they were before)
_CHANGES: tuple[tuple[str, str, Callable[[Sandbox, Json, str], Json]], ...] = (
    # https://docs.stripe.com/changelog/dahlia/2026-03-25/updates-available-checkout-session-ui-modes
    ("2026-03-25", "checkout.session", lambda _, session, version: {"ui_mode": _UI_MODES[session["ui_mode"]]}),
    # https://docs.stripe.com/changelog/basil: the links to invoices went, and the session's shipping details moved
    ("2025-03-31", "charge", lambda *_: {"invoice": None}),
    ("2025-03-31", "payment_intent", lambda *_: {"invoice": None}),
    ("2025-03-31", "checkout.session", lambda *_: {"shipping_details": None}),
    # https://docs.stripe.com/changelog/2022-11-15: lists that are no longer included
    ("2022-11-15", "charge", _refunds_of),
    ("2022-11-15", "payment_intent", _charges_of),
)
_NEWEST_CHANGE = max(changed_in for changed_in, *_ in _CHANGES)
