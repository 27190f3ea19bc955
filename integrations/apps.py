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
        from payments import asgi, doctor
        from payments.jobs import Job, register
        from payments.signals import pruning

        from . import checks as checks
        from .models import ImportFile
        from .outgoing import check, dispatch

        asgi.WRAPPERS.append("integrations.api.waiting.waiting_app")
        sender, second = dispatch.Dispatcher(), datetime.timedelta(seconds=1)
        register(Job("send_webhooks", _("Webhooks to other software"), sender.round, every=second, stop=sender.stop))
        register(Job("tidy_webhooks", _("Deleting old webhooks"), dispatch.tidy, hour=3))
        title, quarter = _("Forget files that were not imported"), datetime.timedelta(minutes=15)
        register(Job("forget_imports", title, ImportFile.forget_old, every=quarter))
        doctor.add_quick("webhooks", check.endpoints)
        pruning.connect(prune_api, dispatch_uid="integrations.prune_api")


def prune_api(sender: type, *, logs_before: datetime.datetime, **kwargs: Any) -> str:
    """Receive `pruning`: delete the API's kept answers after a day, and its log of requests before `logs_before`."""
    from .models import ApiUse, StoredAnswer

    answers, _by_model = StoredAnswer.objects.expired().delete()
    uses, _by_model = ApiUse.objects.filter(at__lt=logs_before).delete()
    return f"{answers} answers and {uses} uses of the API"
