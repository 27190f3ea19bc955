"""A template filter for commands within text."""

import re

from django import template
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
QUOTED = re.compile(r"`([^`]+)`")


@register.filter
def commands(text: str) -> SafeString:
    """Render parts of the text in backticks as <code>: `{{ finding.fix|commands }}`."""
    return mark_safe(QUOTED.sub(r"<code>\1</code>", conditional_escape(text)))  # noqa: S308 escaped before
