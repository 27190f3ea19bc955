import datetime
from typing import Any

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class IntegrationsConfig(AppConfig):
    """The clinic's other software: what comes in from it, and what it is told."""

    name = "integrations"
    label = "clinic_integrations"
    verbose_name = _("other software")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from payments.signals import pruning

        pruning.connect(prune_api, dispatch_uid="integrations.prune_api")


def prune_api(sender: type, *, logs_before: datetime.datetime, **kwargs: Any) -> str:
    """Receive `pruning`: delete the API's kept answers after a day, and its log of requests before `logs_before`."""
    from .models import ApiUse, StoredAnswer

    answers, _ = StoredAnswer.objects.expired().delete()
    uses, _ = ApiUse.objects.filter(at__lt=logs_before).delete()
    return f"{answers} answers and {uses} uses of the API"
