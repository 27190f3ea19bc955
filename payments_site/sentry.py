"""Reports errors to Sentry, without anything about patients, staff or payments.

Each report is a new one, with the few fields that are allowed: fields that a later release of the SDK adds are left
out. It has no request, cookie, body, variable or breadcrumb, and neither the text of an exception nor the arguments of
a log record, because both may contain names. The request's id leads to the log, which has the rest.
"""

import logging
import re
from typing import Any

from django.core.exceptions import ImproperlyConfigured

try:
    import sentry_sdk
except ImportError as error:
    raise ImproperlyConfigured(
        "SENTRY_DSN is set, but the package sentry-sdk is missing. Install it, or unset SENTRY_DSN."
    ) from error

from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import BadDsn

from payments.logs import request_id

ABOUT_THE_PROCESS = ("event_id", "timestamp", "level", "platform", "release", "environment", "server_name", "sdk",
                     "logger")  # fmt: skip
ABOUT_A_FRAME = ("filename", "module", "function", "lineno", "in_app", "pre_context", "context_line", "post_context")
EVENT_NAME = re.compile(r"[a-z_.]+")  # such as stripe_event_failed: this site's log records are named, not worded
NOISE = ("django.security.DisallowedHost",)  # loggers of errors that are their senders' own


def start(dsn: str, environment: str) -> None:
    """Report exceptions that nobody caught, and log records of level ERROR, to the Sentry project at `dsn`.

    Raises ImproperlyConfigured if `dsn` isn't the address of a project.
    """
    integrations: list[Integration] = [
        LoggingIntegration(level=None, event_level=logging.ERROR),
        ExcepthookIntegration(),
        ThreadingIntegration(propagate_scope=False),
        DedupeIntegration(),
        AtexitIntegration(callback=lambda pending, timeout: None),
    ]
    try:
        sentry_sdk.init(
            dsn,
            environment=environment,
            before_send=reduced,
            integrations=integrations,
            default_integrations=False,  # others read requests, add headers to requests to Stripe, or report sys.argv
            max_breadcrumbs=0,
            include_local_variables=False,
            max_request_body_size="never",
            auto_session_tracking=False,
            trace_propagation_targets=[],
        )
    except BadDsn as error:
        raise ImproperlyConfigured("SENTRY_DSN is not the address of a Sentry project: https://KEY@HOST/ID.") from error


def reduced(event: Event, hint: Hint) -> Event | None:
    """Return a new report with what may leave this machine, or None for an error that isn't reported."""
    given: dict[str, Any] = {**event}
    record: logging.LogRecord | None = hint.get("log_record")
    if record and record.name in NOISE:
        return None
    report: dict[str, Any] = {key: given[key] for key in ABOUT_THE_PROCESS if key in given}
    report["tags"] = {"request_id": request_id.get()} if request_id.get() else {}
    if record:
        named = isinstance(record.msg, str) and EVENT_NAME.fullmatch(record.msg)
        report["logentry"] = {"message": record.msg if named else record.name}
        if route := _route(record):
            report["transaction"] = route
    if exceptions := given.get("exception"):
        report["exception"] = {"values": [_exception(each) for each in exceptions["values"]]}
    return report  # type: ignore[return-value]


def _route(record: logging.LogRecord) -> str:
    """Return the pattern of the request's URL, such as "p/<str:token>/", or "" if the record is about no request."""
    match = getattr(getattr(record, "request", None), "resolver_match", None)
    return str(match.route) if match else ""


def _exception(found: dict[str, Any]) -> dict[str, Any]:
    """Return the exception's type and the code that it passed through, without its text and any variable."""
    frames = (found.get("stacktrace") or {}).get("frames") or []
    kept = [{key: frame[key] for key in ABOUT_A_FRAME if key in frame} for frame in frames]
    return {"type": found.get("type"), "module": found.get("module"), "stacktrace": {"frames": kept}}
