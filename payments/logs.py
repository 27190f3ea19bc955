"""Formats log records as named events with fields: `logger.info("payment_status_changed", extra={"payment_id": ...})`.

A record is written as JSON for machines or as a line for people. Both contain the request's id, which is also in the
response's X-Request-ID header. No field holds a payload, a secret key or a person's name. The tokens of pay links and
calendars and API keys are masked wherever they stand in a record, because anybody who reads one can open what it opens.
"""

import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

HEADER = "X-Request-ID"
WELL_FORMED = re.compile(r"[A-Za-z0-9_-]{8,64}")
BUILT_IN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# The path of a pay link, an invitation or a calendar, also percent-encoded; and the token of a pay link or a calendar,
# or an API key, wherever they stand. The lookahead comes first, because it skips most characters quickly.
TOKEN = re.compile(
    r"""(?=[/%pc])(?:(?P<path>/(?:p|welcome|calendar)/|%2F(?:p|welcome|calendar)%2F)[^/\s"'\\?&<>]{16,}"""
    r"|(?:pl|cal)-[\w-]{22}|clinic_[a-z0-9]{8}_[\w-]{43})",
    re.ASCII | re.IGNORECASE,
)

request_id: ContextVar[str] = ContextVar("request_id", default="")


def mask(text: str) -> str:
    """Return `text` with "***" in place of each API key and each token of a pay link, an invitation or a calendar."""
    return TOKEN.sub(lambda found: (found["path"] or "") + "***", text)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the current request's id, and those `extra` fields of the record that are plain values, not objects."""
    extra = {name: value for name, value in vars(record).items() if name not in BUILT_IN}
    plain = {name: value for name, value in extra.items() if isinstance(value, str | int | float | bool | None)}
    return ({"request_id": current} if (current := request_id.get()) else {}) | plain


class JsonFormatter(logging.Formatter):
    """Format a log record as one line of JSON: time (UTC), level, logger, event, fields, traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return mask(json.dumps(line, ensure_ascii=False))


class LineFormatter(logging.Formatter):
    """Format a log record for people: `time LEVEL logger event field=value ...`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 logging's name
        line = super().formatMessage(record)
        return " ".join([line, *(f"{name}={value}" for name, value in fields_of(record).items())])


class BriefAboutOthers(logging.Filter):
    """Filter that removes the traceback from records about responses below 500, which aren't this site's own errors."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "status_code", 500) < 500:
            record.exc_info = record.exc_text = None
        return True


@contextmanager
def request(own_id: str) -> Iterator[None]:
    """Add the id `own_id` of an HTTP request to the log records of the `with` block."""
    token = request_id.set(own_id)
    try:
        yield
    finally:
        request_id.reset(token)


def new_id(given: str) -> str:
    """Return `given`, the request id in the header, if it is well formed and the site is behind a proxy; else a new id.

    The proxy has to overwrite the header, so that browsers can't choose the id.
    """
    return given if settings.SECURE_PROXY_SSL_HEADER and WELL_FORMED.fullmatch(given) else uuid.uuid4().hex


@sync_and_async_middleware
def identify_request(
    get_response: Callable[[HttpRequest], Any],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    """Give each request an id, add it to the request's log records, and send it in the X-Request-ID header."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        token = request_id.set(new_id(request.headers.get(HEADER, "")))
        try:
            response: HttpResponseBase = get_response(request)
            response.headers[HEADER] = request_id.get()
        finally:
            request_id.reset(token)
        return response

    async def async_middleware(request: HttpRequest) -> HttpResponseBase:
        token = request_id.set(new_id(request.headers.get(HEADER, "")))
        try:
            response: HttpResponseBase = await get_response(request)
            response.headers[HEADER] = request_id.get()
        finally:
            request_id.reset(token)
        return response

    return async_middleware if iscoroutinefunction(get_response) else middleware
