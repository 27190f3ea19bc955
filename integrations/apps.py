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
        from payments import jobs

        from .models import ImportFile

        title = _("Forget files that were not imported")
        jobs.register(jobs.Job("forget_imports", title, ImportFile.forget_old, every=datetime.timedelta(minutes=15)))
