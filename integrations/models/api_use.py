"""The log of requests that other software made to the HTTP API with a key."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .api_key import ApiKey


class ApiUse(models.Model):
    """One request with a valid API key. `manage.py prune` deletes old rows.

    `route` is the pattern of the request's path, so that the log names nobody. `request_id` is also in the site's log
    and in the answer's header X-Request-ID.
    """

    key = models.ForeignKey(ApiKey, models.PROTECT, related_name="uses", verbose_name=_("API key"))
    method = models.CharField(_("method"), max_length=8)
    route = models.CharField(_("route"), max_length=120)
    status = models.PositiveSmallIntegerField(_("status"))
    request_id = models.CharField(_("request id"), max_length=64)
    at = models.DateTimeField(_("when"), default=timezone.now, db_index=True)

    class Meta:
        ordering = ("-pk",)
        verbose_name = _("use of an API key")
        verbose_name_plural = _("uses of API keys")

    def __str__(self) -> str:
        return f"{self.method} {self.route} {self.status}"
