"""What other software is told of a change of a payment, by the HTTP API and by webhooks."""

from typing import Any

from payments.domain.status import Amounts
from payments.models import Payment, StatusChange

SUMS = ("due", "received", "refunded", "refund_pending", "lost", "waived", "on_its_way", "owed", "overpaid")


def change_data(payment: Payment, change: StatusChange) -> dict[str, Any]:
    """Return the ids of the payment and its appointment, and status and sums after the change, in minor units.

    No value is personal. `payment` is the change's payment, which the caller has loaded with its appointment.
    """
    amounts = Amounts(**change.standing["amounts"])
    return {
        "payment_id": str(payment.public_id),
        "appointment_reference": payment.appointment.reference,
        "appointment_external_id": payment.appointment.external_id,
        "version": change.version,
        "status_before": change.from_status,
        "status": change.to_status,
        "currency": payment.currency,
        **{f"amount_{name}": getattr(amounts, name) for name in SUMS},
    }
