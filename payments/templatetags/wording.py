"""Template tags that put a payment's status and changes into sentences."""

from django import template

from .. import wording
from ..models import Payment, StatusChange

register = template.Library()


@register.simple_tag
def explain(payment: Payment, audience: str) -> str:
    """Return a sentence on where the payment stands, for the audience "staff" or "patient"."""
    return wording.explain(payment, to_staff=audience == "staff")


@register.simple_tag
def describe(change: StatusChange, audience: str) -> str:
    """Return the text of a change in the timeline, for the audience "staff" or "patient"."""
    return wording.describe(change, to_staff=audience == "staff")
