"""Parses and checks the parameters of API calls."""

from stripe_sandbox.errors import StripeError
from stripe_sandbox.store import Json

_EVERYWHERE = ("expand", "metadata")


def integer(params: Json, name: str) -> int | None:
    """Return the parameter `name` as an integer, or None if it is missing or empty.

    Raises StripeError parameter_invalid_integer if it is something else.
    """
    value = params.get(name)
    if value in (None, ""):
        return None
    try:
        return int(str(value))
    except ValueError:
        raise StripeError(f"Invalid integer: {value}", code="parameter_invalid_integer", param=name) from None


def truth(params: Json, name: str) -> bool | None:
    value = params.get(name)
    return None if value in (None, "") else str(value).lower() == "true"


def only(params: Json, *allowed: str) -> None:
    """Raise StripeError parameter_unknown if `params` has a name that isn't in `allowed`, "expand" or "metadata"."""
    for name in params:
        if name not in allowed and name not in _EVERYWHERE:
            raise StripeError(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)


def metadata(params: Json) -> Json:
    """Return the parameter `metadata`, by default {}.

    Raises StripeError above Stripe's limits: 50 keys, 40 characters for a key, 500 characters for a value.
    """
    found = params.get("metadata") or {}
    if not isinstance(found, dict):
        raise StripeError("Invalid object", param="metadata")
    if len(found) > 50:
        raise StripeError("Metadata can have at most 50 keys.", param="metadata")
    for key, value in found.items():
        if len(key) > 40 or len(str(value)) > 500:
            message = "Metadata keys can have up to 40 characters and values up to 500."
            raise StripeError(message, param=f"metadata[{key}]")
    return found
