"""A check for webhook endpoints that are disabled, fail, or have a secret that can't be read."""

import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from payments.doctor.finding import MAX_NAMED, Verdict, error, ok, warning

from ..models import WebhookEndpoint

GRACE = datetime.timedelta(minutes=15)


def endpoints() -> Verdict:
    """Report endpoints with a lost secret; else those that were disabled after failures, or have failed for GRACE."""
    active = WebhookEndpoint.objects.filter(is_active=True)
    if lost := [str(endpoint.pk) for endpoint in active if not endpoint.can_sign]:
        return error(
            _("Webhook endpoints whose secret can’t be read with SECRET_KEY: %(named)s. They get no messages.")
            % {"named": ", ".join(lost[:MAX_NAMED])},
            _("Put the earlier SECRET_KEY into SECRET_KEY_FALLBACKS, or replace these secrets in the admin."),
        )
    disabled = WebhookEndpoint.objects.exclude(disabled_at=None)
    failing = active.filter(failing_since__lt=timezone.now() - GRACE)
    named = ", ".join(str(endpoint.pk) for endpoint in [*disabled, *failing][:MAX_NAMED])
    if not named:
        return ok(_("All webhook endpoints accept messages."))
    return warning(
        _("Webhook endpoints that accept no messages: %(named)s (disabled: %(disabled)s, failing: %(failing)s).")
        % {"named": named, "disabled": disabled.count(), "failing": failing.count()},
        _("The admin shows each try with its answer. Repair the receiver, then make the endpoint active again."),
    )
