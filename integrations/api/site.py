"""Puts the operations of the HTTP API together, and answers what they refuse with problem details."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from ninja import NinjaAPI
from ninja.errors import ValidationError, ValidationErrorContext
from ninja.parser import Parser

from . import changes, clinic, money, people, visits
from .problems import Problem, pointer_to
from .strict import Refused


class StrictParser(Parser):
    """Gives ninja the body that the guard has read strictly."""

    def parse_body(self, request: HttpRequest) -> Any:
        return request.body_json  # type: ignore[attr-defined]


class Api(NinjaAPI):
    """Ninja's API, whose validation errors are entries of a problem: a place, and a sentence."""

    def validation_error_from_error_contexts(
        self, error_contexts: list[ValidationErrorContext[Any]]
    ) -> ValidationError:
        return ValidationError(
            [
                _entry(context.model.__ninja_param_source__, error)
                for context in error_contexts
                for error in context.pydantic_validation_error.errors(include_url=False)
            ]
        )


def _entry(source: str, error: Any) -> dict[str, str]:
    """Return the entry of a problem for an error of Pydantic in the body, the query or the path."""
    place, given = error["loc"], error["input"]  # the place begins with the name of the operation's argument
    detail = given.reason if isinstance(given, Refused) else error["msg"]
    named = {"pointer": pointer_to(*place[1:])} if source == "body" else {"parameter": str(place[-1])}
    return named | {"detail": detail}


api = Api(
    title="Clinic API",
    version="1",
    urls_namespace="clinic_api",
    openapi_url=None,
    docs_url=None,
    parser=StrictParser(),
)
api.add_router("/patients", people.router)
api.add_router("/appointments", visits.router)
api.add_router("/payments", money.router)
api.add_router("", changes.router)
api.add_router("", clinic.router)


@api.exception_handler(Problem)
def problem(request: HttpRequest, error: Problem) -> HttpResponse:
    return error.response()


@api.exception_handler(ValidationError)
def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    return Problem(422, errors=error.errors).response()


def urls() -> list[URLPattern]:
    """Return a URL pattern for each path of the API; ninja lists a path once for each method, and its own pages."""
    found = [pattern for pattern in api.urls[0] if isinstance(pattern, URLPattern)]
    return list({pattern.name: pattern for pattern in found if pattern.name != "api-root"}.values())
