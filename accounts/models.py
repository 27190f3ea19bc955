"""The user model; the clinic's staff and its patients have accounts of this one kind."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _


def languages() -> list[tuple[str, Any]]:
    """Return settings.LANGUAGES, as the choices of a model field.

    The field gets this function instead of a list, so that adding a language to the settings needs no migration.
    """
    return list(settings.LANGUAGES)


class User(AbstractUser):
    """A person's login, with a phone number and a language for e-mails. Each e-mail address belongs to one account."""

    phone = models.CharField(_("phone"), max_length=32, blank=True)
    preferred_language = models.CharField(
        _("preferred language"),
        max_length=7,
        choices=languages,
        blank=True,
        help_text=_("E-mails are written in this language or, if it is empty, in that of the last payment."),
    )

    class Meta(AbstractUser.Meta):
        constraints = (
            models.UniqueConstraint(
                Lower("email"),
                name="one_account_per_email",
                condition=~models.Q(email=""),
                violation_error_message=_("Another account has this e-mail address."),
            ),
        )
