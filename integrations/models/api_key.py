"""Keys with which the clinic's other software signs in to the HTTP API."""

import datetime
import re
import secrets
from enum import StrEnum

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import constant_time_compare, get_random_string
from django.utils.translation import gettext_lazy as _

from people.digests import digest_of

TEXT = re.compile(r"clinic_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")  # payments/logs.py masks keys, and knows this form too
NOTE_EVERY = datetime.timedelta(minutes=1)  # between two writes of `last_used_at`


class Scope(StrEnum):
    """What a key may be used for."""

    READ = "read"
    APPOINTMENTS = "appointments"
    MONEY = "money"


class WrongKeyError(Exception):
    """Raised when a key opens nothing; the text says why, to somebody who knows the key's secret."""


def new_prefix() -> str:
    return get_random_string(8, "abcdefghijklmnopqrstuvwxyz0123456789")


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def find(self, text: str) -> "ApiKey":
        """Return the valid key with this text, and with it the person for whom it acts. Raises WrongKeyError.

        The row is looked up by the key's public part, and the secret part's hash is compared in constant time.
        """
        parts = TEXT.fullmatch(text)
        key = self.select_related("acts_as").filter(prefix=parts[1]).first() if parts else None
        if parts is None or key is None or not constant_time_compare(digest_of(parts[2]), key.digest):
            raise WrongKeyError("This API key doesn’t exist.")
        key.require_valid()
        return key


class ApiKey(models.Model):
    """A key of other software; changes that it makes are recorded as made by the member of staff `acts_as`.

    A key's text is "clinic_", the public part `prefix`, "_" and a secret of 256 random bits, of which only the hash
    `digest` is stored. Keys are revoked instead of deleted, because the log of their uses refers to them.
    """

    name = models.CharField(_("name"), max_length=80, unique=True, help_text=_("Which software uses the key."))
    prefix = models.CharField(_("public part"), max_length=8, unique=True, default=new_prefix, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    acts_as = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        limit_choices_to={"is_staff": True, "is_active": True},
        verbose_name=_("acts as"),
        help_text=_(
            "History and journal name this member of staff for all that the software does. Make an account for the"
            " software, without a password, so that they name the software."
        ),
    )
    may_read = models.BooleanField(_("may read"), default=True)
    may_book = models.BooleanField(_("may enter patients and appointments"), default=False)
    may_take_money = models.BooleanField(_("may take money and make pay links"), default=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    made_at = models.DateTimeField(_("made"), default=timezone.now, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")

    def __str__(self) -> str:
        return self.name

    @property
    def scopes(self) -> set[Scope]:
        given = {Scope.READ: self.may_read, Scope.APPOINTMENTS: self.may_book, Scope.MONEY: self.may_take_money}
        return {scope for scope, allowed in given.items() if allowed}

    def new_text(self) -> str:
        """Give the unsaved key a new secret, and return the key's whole text, which is stored nowhere."""
        secret = secrets.token_urlsafe(32)
        self.digest = digest_of(secret)
        return f"clinic_{self.prefix}_{secret}"

    def require_valid(self) -> None:
        """Raise WrongKeyError if the key was revoked, has expired, or acts as somebody who isn't on the staff now."""
        if self.revoked_at:
            raise WrongKeyError("This API key was revoked.")
        if self.expires_at and self.expires_at <= timezone.now():
            raise WrongKeyError("This API key has expired.")
        if not (self.acts_as.is_active and self.acts_as.is_staff):
            raise WrongKeyError("The account as which this API key acts is not an active account of staff.")

    def note_use(self) -> None:
        """Store that the key is used now, at most once in NOTE_EVERY."""
        now = timezone.now()
        if self.last_used_at and self.last_used_at > now - NOTE_EVERY:
            return
        due = Q(last_used_at=None) | Q(last_used_at__lte=now - NOTE_EVERY)
        ApiKey.objects.filter(due, pk=self.pk).update(last_used_at=now)

    def revoke(self) -> None:
        """End the key now, unless it was revoked before."""
        ApiKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=timezone.now())
