"""Errors in Stripe's shape. https://docs.stripe.com/api/errors"""

from typing import Any


class StripeError(Exception):
    """An error answer of the API: its HTTP status, headers and JSON. `extra` holds more JSON keys."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",  # noqa: A002  (Stripe's word)
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        found = {"code": code, "message": message, "param": param, "type": type, **extra}
        self.error = {key: value for key, value in sorted(found.items()) if value is not None}
        if code:
            self.error["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"

    def body(self, request_id: str) -> dict[str, Any]:
        return {"error": self.error | {"request_log_url": f"https://dashboard.stripe.com/test/logs/{request_id}"}}


def missing_param(name: str) -> StripeError:
    return StripeError(f"Missing required param: {name}.", code="parameter_missing", param=name)


def no_such(kind: str, object_id: str, param: str = "id") -> StripeError:
    status = 404 if param == "id" else 400
    return StripeError(f"No such {kind}: '{object_id}'", status=status, code="resource_missing", param=param)
