"""System checks of how staff of this site sign in."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register  # noqa: A004 Django's name

from people.loopback import is_loopback


@register(Tags.security)
def no_second_factor(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.REQUIRE_MFA or is_loopback(settings.CLINIC_SITE_URL):
        return []
    said = "REQUIRE_MFA is off: a guessed or stolen password of the staff is enough to refund and to read every record."
    hint = "Set REQUIRE_MFA=1; at their next sign-in staff are led to set up an authenticator app or a passkey."
    return [Warning(said, hint=hint, id="clinic_accounts.W001")]


@register(Tags.security)
def uncounted_guesses(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if "locmem" not in settings.CACHES["default"]["BACKEND"] or settings.CLINIC_WEB_PROCESSES == 1:
        return []
    said = "The cache is in each process's memory: wrong passwords are counted for each alone, so more are tried."
    hint = "Leave CACHES as it is in settings, in the database, or use Redis."
    return [Warning(said, hint=hint, id="clinic_accounts.W002")]
