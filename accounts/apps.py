from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.management import call_command
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "accounts"
    label = "clinic_accounts"
    verbose_name = _("accounts")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from allauth.account.decorators import secure_admin_login
        from allauth.account.signals import password_reset
        from allauth.mfa.signals import authenticator_added, authenticator_used
        from django.contrib import admin
        from django.contrib.auth.signals import user_logged_in, user_logged_out
        from django.views.generic import RedirectView

        from . import addresses, middleware, second_factor, sessions
        from . import checks as checks

        post_migrate.connect(make_cache_table, sender=self)
        user_logged_in.connect(sessions.begin)
        user_logged_out.connect(middleware.signed_out)
        password_reset.connect(addresses.proved)
        authenticator_added.connect(second_factor.added)
        authenticator_used.connect(second_factor.used)
        admin.site.site_header = admin.site.site_title = settings.CLINIC_NAME
        admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
        # The site's own page limits attempts and tells the person by e-mail; Django's page does neither.
        own_page = RedirectView.as_view(pattern_name="account_change_password")
        admin.site.password_change = own_page  # type: ignore[method-assign,assignment]


def make_cache_table(**kwargs: Any) -> None:
    """Create the database table of Django's cache.

    Sign-in attempts are counted there, so that all processes share the counts and Redis isn't needed.
    """
    call_command("createcachetable", verbosity=0)
