"""The template tag for forms that keep what was typed after a session ends."""

from django import template
from django.template.context import Context
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ..unsent import AUTHOR, author_mark

register = template.Library()


@register.simple_tag(takes_context=True)
def keep_typed(context: Context) -> SafeString:
    """Render the hidden field that lets a form keep what was typed (people/unsent.py).

    Use it in every form in which people type, but never in one with a password or a code.
    """
    return format_html('<input type="hidden" name="{}" value="{}">', AUTHOR, author_mark(context["request"].user))
