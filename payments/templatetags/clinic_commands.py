"""The template filter `commands`, which renders the shell commands in a text as <code>."""

import re

from django import template
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
QUOTED = re.compile(r"`([^`]+)`")


@register.filter
def commands(text: str) -> SafeString:
    """Escape the text as HTML, and turn commands between backticks into <code>: `{{ finding.fix|commands }}`."""
    return mark_safe(QUOTED.sub(r"<code>\1</code>", conditional_escape(text)))  # noqa: S308 - the text is escaped
