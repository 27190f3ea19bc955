"""The types of outgoing events, and which type a change of a payment has."""

from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from payments.domain.status import PaymentStatus
from payments.models import StatusChange

CREATED, UPDATED = "payment.created", "payment.updated"
TEST, RESTORED = "endpoint.test", "site.restored"

# By type: what has happened. An endpoint can choose among these types; TEST and RESTORED go to every endpoint.
CHOICES: dict[str, str | Promise] = {
    CREATED: _("An appointment was booked, and with it its payment"),
    UPDATED: _("Sums, price, time or attendance changed, but not the status"),
    **{f"payment.{status}": status.label for status in PaymentStatus},
}


def type_of(change: StatusChange) -> str:
    """Return the event type of a payment's change."""
    if change.version == 1:
        return CREATED
    return f"payment.{change.to_status}" if change.moved else UPDATED


def check_event_types(value: Iterable[str]) -> None:
    """Raise ValidationError if `value` isn't a list of types in CHOICES."""
    unknown = set(value) - CHOICES.keys() if isinstance(value, list) else {str(value)}
    if unknown:
        raise ValidationError(_("Unknown event types: %(names)s."), params={"names": ", ".join(sorted(unknown))})
