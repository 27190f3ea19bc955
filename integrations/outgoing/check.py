"""A check for webhook endpoints that are disabled or fail."""

import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from payments.doctor.finding import MAX_NAMED, Verdict, ok, warning

from ..models import WebhookEndpoint

GRACE = datetime.timedelta(minutes=15)


def endpoints() -> Verdict:
    """Report endpoints that were disabled because they failed, and those that have failed for longer than GRACE."""
    disabled = WebhookEndpoint.objects.exclude(disabled_at=None)
    failing = WebhookEndpoint.objects.filter(is_active=True, failing_since__lt=timezone.now() - GRACE)
    named = ", ".join(str(endpoint.pk) for endpoint in [*disabled, *failing][:MAX_NAMED])
    if not named:
        return ok(_("All webhook endpoints accept messages."))
    return warning(
        _("Webhook endpoints that accept no messages: %(named)s (disabled: %(disabled)s, failing: %(failing)s).")
        % {"named": named, "disabled": disabled.count(), "failing": failing.count()},
        _("The admin shows each try with its answer. Repair the receiver, then make the endpoint active again."),
    )
