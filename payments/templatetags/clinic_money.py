"""Template filters for payment methods and for differences between amounts."""

from django import template

from appointments.money import format_amount

from ..domain.methods import method_label

register = template.Library()
register.filter("method_label", method_label)


@register.filter
def difference(amount: int, currency: str) -> str:
    """Format an amount in minor units with its sign, such as "+2.10": `{{ line.difference|difference:currency }}`."""
    return f"{'+' if amount > 0 else ''}{format_amount(amount, currency)}"
