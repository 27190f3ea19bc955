"""A template filter that formats seconds: `{{ leg.median|duration }}`."""

from django import template

from ..dashboard.charts import duration_text

register = template.Library()
register.filter("duration", duration_text)
