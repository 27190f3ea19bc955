"""Files that were uploaded to be imported, from the preview to the confirmation."""

import datetime
import secrets
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

KEPT = datetime.timedelta(hours=1)


def new_token() -> str:
    return secrets.token_urlsafe(16)


class ImportFile(models.Model):
    """An uploaded file, which any web process can read again when `owner` confirms the import.

    It holds patients' data, so it is deleted with the import, or if nobody has confirmed it after KEPT.
    """

    token = models.CharField(max_length=32, unique=True, default=new_token)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    content = models.BinaryField()
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"#{self.pk}"

    @classmethod
    def keep(cls, content: bytes, owner: Any) -> str:
        """Store the content, and return the new file's token."""
        cls.forget_old()
        return cls.objects.create(content=content, owner=owner).token

    @classmethod
    def forget_old(cls) -> None:
        """Delete the files that nobody has confirmed in time."""
        cls.objects.filter(made_at__lt=timezone.now() - KEPT).delete()
