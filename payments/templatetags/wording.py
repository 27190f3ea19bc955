"""Template tags that describe a payment's status, or one of its changes, in words."""

from django import template

from .. import wording
from ..models import Payment, StatusChange

register = template.Library()


@register.simple_tag
def explain(payment: Payment, audience: str) -> str:
    """Return one or two sentences about the payment's status; `audience` is "staff" or "patient"."""
    return wording.explain(payment, to_staff=audience == "staff")


@register.simple_tag
def describe(change: StatusChange, audience: str) -> str:
    """Return the text that the timeline shows for this change; `audience` is "staff" or "patient"."""
    return wording.describe(change, to_staff=audience == "staff")
