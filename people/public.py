"""Tells Django's LoginRequiredMiddleware, which a project may use, to leave the apps' views alone."""

from collections.abc import Iterable

from django.contrib.auth.decorators import login_not_required
from django.urls import URLPattern, URLResolver


def decide_themselves(patterns: Iterable[URLPattern | URLResolver]) -> None:
    """Mark the views of these URLs as deciding by themselves who may open them.

    Each view has its own decorator for that. Some are for people and programs that never sign in: pay links, webhooks,
    the API, calendars and monitoring.
    """
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            decide_themselves(pattern.url_patterns)
        else:
            login_not_required(pattern.callback)
