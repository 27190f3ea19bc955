import datetime

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class IntegrationsConfig(AppConfig):
    """The clinic's other software: what comes in from it, and what it is told."""

    name = "integrations"
    label = "clinic_integrations"
    verbose_name = _("other software")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from payments import doctor
        from payments.jobs import Job, register

        from .models import ImportFile
        from .outgoing import check, dispatch

        sender, second = dispatch.Dispatcher(), datetime.timedelta(seconds=1)
        register(Job("send_webhooks", _("Webhooks to other software"), sender.round, every=second, stop=sender.stop))
        register(Job("tidy_webhooks", _("Deleting old webhooks"), dispatch.tidy, hour=3))
        title, quarter = _("Forget files that were not imported"), datetime.timedelta(minutes=15)
        register(Job("forget_imports", title, ImportFile.forget_old, every=quarter))
        doctor.add_quick("webhooks", check.endpoints)
