from django import template

from ..charts import duration_text

register = template.Library()
register.filter("duration", duration_text)
