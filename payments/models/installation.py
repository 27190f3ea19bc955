"""The site's id, which tells it from other sites, and an epoch, which changes when a backup was restored."""

import functools
import secrets
import uuid
from typing import Any

from django.db import connection, models
from django.utils.translation import gettext_lazy as _


def new_epoch() -> str:
    """Return a random id for an epoch of feeds (a new one begins when a feed's numbers are given a second time)."""
    return secrets.token_hex(8)


class Installation(models.Model):
    """The site's ids and what a restore has to remember. The table has exactly one row.

    `site_id` goes into the metadata of what is sent to Stripe, because several sites can share one Stripe account.
    `epoch` is the epoch of feeds that don't exist yet (see models/feed.py). `emails_sent_until` is set after a restore:
    e-mails about what happened until then were sent, but the backup may not know of them.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    site_id = models.UUIDField(_("site id"), default=uuid.uuid4, editable=False)
    epoch = models.CharField(_("epoch"), max_length=16, default=new_epoch, editable=False)
    emails_sent_until = models.DateTimeField(_("e-mails sent until"), null=True, editable=False)

    class Meta:
        verbose_name = _("installation")
        verbose_name_plural = _("installations")
        constraints = (models.CheckConstraint(condition=models.Q(id=1), name="one_installation"),)

    def __str__(self) -> str:
        return str(self.site_id)


@functools.cache
def own_site_id() -> str:
    """Return this site's id as text. Each process reads it from the database only once, because it never changes."""
    return str(Installation.objects.get().site_id)


def make_installation(**kwargs: Any) -> None:
    """Create the Installation row unless it exists. Called after each migration.

    Do nothing if another app was migrated and this app's table doesn't exist yet.
    """
    if Installation._meta.db_table not in connection.introspection.table_names():
        return
    Installation.objects.get_or_create(pk=1)
    own_site_id.cache_clear()
