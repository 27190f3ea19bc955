"""Reads the JSON body of a control call, and refuses a value of the wrong kind with a message that names its key."""

import math

from stripe_sandbox.errors import StripeError
from stripe_sandbox.store import Json


def only(body: Json, allowed: tuple[str, ...]) -> None:
    """Raise StripeError if `body` has a key that isn't in `allowed`, because a misspelt key would be ignored."""
    for name in body:
        if name not in allowed:
            raise StripeError(f"{name} is unknown here; the keys are {', '.join(allowed) or 'none'}", param=name)


def choice(body: Json, name: str, *choices: str, default: str | None = None) -> str:
    """Return the value of the key `name`, or `default`. Raises StripeError unless it is one of `choices`."""
    value = body.get(name, default)
    if value not in choices:
        raise StripeError(f"{name} is one of {', '.join(choices)}", param=name)
    return str(value)


def integer(body: Json, name: str) -> int | None:
    """Return the positive whole number under the key `name`, or None if the key is missing.

    Raises StripeError for any other value.
    """
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise StripeError(f"{name} is a whole number above zero", param=name)
    return value


def number(body: Json, name: str, default: float) -> float:
    """Return the number under the key `name`, or `default`. Raises StripeError if the value is no number."""
    value = body.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise StripeError(f"{name} is a number", param=name)
    return float(value)


def truth(body: Json, name: str, *, default: bool) -> bool:
    """Return true or false, the value of the key `name`, or `default`. Raises StripeError for another value."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise StripeError(f"{name} is true or false", param=name)
    return value


def text(body: Json, name: str, default: str = "") -> str:
    """Return the string under the key `name`, or `default`. Raises StripeError if the value is no string."""
    value = body.get(name, default)
    if not isinstance(value, str):
        raise StripeError(f"{name} is a string", param=name)
    return value


def texts(body: Json, name: str) -> list[str] | None:
    """Return the list of strings under the key `name`, or None if the key is missing.

    Raises StripeError for any other value.
    """
    value = body.get(name)
    if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise StripeError(f"{name} is a list of strings", param=name)
    return value
