from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class PeopleConfig(AppConfig):
    name = "people"
    label = "clinic_people"
    verbose_name = _("people")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in

        from . import access, names, unsent
        from . import checks as checks

        post_migrate.connect(names.prepare_search, sender=self)
        post_migrate.connect(access.prepare_triggers, sender=self)
        user_logged_in.connect(unsent.forget_others)
