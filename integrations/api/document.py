"""The API's OpenAPI document: ninja describes the operations, this module what the guard adds to each of them."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from django.urls import reverse

from ..conf import app_settings
from . import idempotency
from .problems import MEANINGS, MEDIA_TYPE
from .site import api

INTRODUCTION = (
    "For the clinic’s other software. Amounts are whole numbers in the minor unit of their currency, times are RFC 3339"
    " with an offset, errors are problem details (RFC 9457). A superuser makes keys in the administration."
)
EVERYWHERE = (400, 401, 403, 405, 422, 429, 431, 500, 503)
WITH_ID, WITH_BODY, WRITING = (404,), (408, 413, 415), (409,)
PROBLEM = {
    "type": "object",
    "description": "An error, as RFC 9457 describes it.",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "The site’s log names the request by it."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "description": "A wrong value: a JSON pointer into the body, or a parameter’s or header’s name.",
                "required": ["detail"],
                "properties": {name: {"type": "string"} for name in ("pointer", "parameter", "header", "detail")},
            },
        },
        "missing_scope": {"type": "string"},
        "overlaps": {"type": "array", "items": {"type": "string"}},
        "amount_owed": {"type": "integer"},
        "currency": {"type": "string"},
    },
}
KEY_HEADER = {
    "in": "header",
    "name": idempotency.HEADER,
    "required": False,
    "description": "Makes the request safe to repeat: within 24 hours, its first answer is given again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
}
RETRY_AFTER = {"Retry-After": {"description": "How many seconds to wait.", "schema": {"type": "string"}}}


@cache
def document() -> dict[str, Any]:
    """Return the API's OpenAPI document."""
    found: dict[str, Any] = dict(
        api.get_openapi_schema(path_prefix=reverse("integrations:openapi").removesuffix("openapi.json"))
    )
    found["info"] |= {"description": INTRODUCTION}
    found["servers"] = [{"url": app_settings.CLINIC_SITE_URL}]
    found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    found["components"]["schemas"]["Problem"] = PROBLEM
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            _complete(path, method, operation)
    return found


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    """Add to an operation of the document its errors, its security and, if it writes, the header Idempotency-Key."""
    operation["security"] = [{"key": []}]
    for parameter in operation["parameters"]:
        parameter.pop("examples", None)  # ninja's are a list, as in the schema, but OpenAPI wants names for them here
    statuses = {*EVERYWHERE, *(WITH_ID if "{" in path else ()), *(WITH_BODY if "requestBody" in operation else ())}
    if method != "get":
        statuses |= {*WRITING}
        operation["parameters"] = [*operation["parameters"], KEY_HEADER]
    for status in sorted(statuses):
        operation["responses"][status] = {
            "description": MEANINGS[status],
            "headers": RETRY_AFTER if status in (409, 429, 503) else {},
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }


class Field(NamedTuple):
    """A member of a JSON object, or a parameter, as the page shows it."""

    name: str
    kind: str
    required: bool
    description: str


class Operation(NamedTuple):
    """An operation as the page shows it; `scope` is what a key needs for it."""

    name: str
    method: str
    path: str
    summary: str
    description: str
    scope: str
    parameters: list[Field]
    sent: list[Field]
    returned: list[Field]


def described() -> list[Operation]:
    """Return all operations of the document, in its order, for the page."""
    return [
        _described(path, method, operation)
        for path, operations in document()["paths"].items()
        for method, operation in operations.items()
    ]


def _described(path: str, method: str, operation: dict[str, Any]) -> Operation:
    answers = [answer for status, answer in operation["responses"].items() if status < 300]
    return Operation(
        name=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        description=operation["description"],
        scope=operation["x-scope"],
        parameters=[
            Field(each["name"], _kind(each["schema"]), each["required"], each.get("description", ""))
            for each in operation["parameters"]
        ],
        sent=list(_fields(operation.get("requestBody"))),
        returned=list(_fields(answers[0])),
    )


def _fields(content: dict[str, Any] | None) -> Iterator[Field]:
    """Yield the members of the JSON object in a request's or an answer's body."""
    if content is None:
        return
    schema = _resolved(content["content"]["application/json"]["schema"])
    for name, member in schema["properties"].items():
        yield Field(name, _kind(member), name in schema.get("required", []), member.get("description", ""))


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if reference := schema.get("$ref"):
        found: dict[str, Any] = document()["components"]["schemas"][reference.rpartition("/")[2]]
        return found
    return schema


def _kind(schema: dict[str, Any]) -> str:
    """Return a schema's type in a few words, such as "string or null"."""
    if options := schema.get("anyOf"):
        return " or ".join(_kind(option) for option in options)
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if values := schema.get("enum"):
        return ", ".join(map(str, filter(None, values)))
    return str(schema.get("format") or schema.get("type", ""))
