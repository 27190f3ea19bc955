"""Middleware that keeps what was typed into a form when a step of signing in comes before the form is sent."""

from . import unsent
from .view_hooks import after_view

keep_unsent_forms = after_view(unsent.lead_back, when=unsent.was_stopped)
