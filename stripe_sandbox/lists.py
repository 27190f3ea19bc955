"""Answers the API's list calls with filtered pages, newest objects first. https://docs.stripe.com/api/pagination"""

from collections.abc import Iterable

from stripe_sandbox.errors import StripeError
from stripe_sandbox.expand import as_list
from stripe_sandbox.params import integer, only
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

PAGING = ("limit", "starting_after", "ending_before", "created")
_COMPARE = {
    "gt": int.__gt__,
    "gte": int.__ge__,
    "lt": int.__lt__,
    "lte": int.__le__,
}


def listed(sandbox: Sandbox, kind: str, params: Json, url: str, filters: tuple[str, ...] = ()) -> Json:
    """Return a page of the objects of type `kind`, as the answer to a list call at the path `url`.

    `filters` names the fields that `params` may filter by. Raises StripeError if `params` has any other parameter.
    """
    only(params, *PAGING, *filters)
    equal = {name: params[name] for name in filters if name in params}
    found = sandbox.store.select(kind, **equal)
    return page(created_in(found, params.get("created")), params, url)


def created_in(found: Iterable[Json], bounds: Json | str | None) -> list[Json]:
    """Return the objects of `found` whose `created` is within `bounds`, newest first.

    `bounds` is a dict such as {"gte": Unix seconds}, the exact time in Unix seconds, or None for all objects.
    """
    newest_first = sorted(found, key=lambda item: -item.get("created", 0))
    if not bounds:
        return newest_first
    if not isinstance(bounds, dict):
        bounds = {"gte": bounds, "lte": bounds}
    limits = [(_COMPARE[name], integer(bounds, name) or 0) for name in bounds if name in _COMPARE]
    return [item for item in newest_first if all(compare(item["created"], limit) for compare, limit in limits)]


def page(found: list[Json], params: Json, url: str) -> Json:
    given = integer(params, "limit")
    limit = 10 if given is None else given
    if not 1 <= limit <= 100:
        raise StripeError("This value must be between 1 and 100.", code="parameter_invalid_integer", param="limit")
    if after := params.get("starting_after"):
        found = found[_position(found, after, "starting_after") + 1 :]
    if before := params.get("ending_before"):
        found = found[: _position(found, before, "ending_before")]
        return as_list(found[-limit:], url, len(found) > limit)
    return as_list(found[:limit], url, len(found) > limit)


def _position(found: list[Json], object_id: str, param: str) -> int:
    for position, item in enumerate(found):
        if item["id"] == object_id:
            return position
    raise StripeError(f"No such object: '{object_id}'", code="resource_missing", param=param)
