"""The system check of this app's settings."""

from typing import Any

from django.core.checks import CheckMessage, register

from people.conf import problems

from .conf import IntegrationsSettings


@register("integrations")
def declared_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return problems(IntegrationsSettings, "clinic_integrations")
