from django import template

from .. import wording
from ..models import Payment, StatusChange

register = template.Library()


@register.simple_tag
def explain(payment: Payment, audience: str) -> str:
    """Where the payment stands, in a sentence for "staff" or "patient"."""
    return wording.explain(payment, to_staff=audience == "staff")


@register.simple_tag
def describe(change: StatusChange, audience: str) -> str:
    """What a line of the timeline says to "staff" or "patient"."""
    return wording.describe(change, to_staff=audience == "staff")
