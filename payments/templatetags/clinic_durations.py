"""The template filter `duration`, which turns seconds into text such as "12 ms": `{{ step.took|duration }}`."""

from django import template

from ..dashboard.charts import duration_text

register = template.Library()
register.filter("duration", duration_text)
