"""Signed links that open one payment without signing in, for a QR code at the desk or a message."""

import base64
import binascii
import datetime
import uuid

from django.core.signing import BadSignature, TimestampSigner

from ..models import Payment

VALID = datetime.timedelta(days=14)
SIGNER = TimestampSigner(salt="payments.pay_link")


def token_of(payment: Payment) -> str:
    """Return the signed part of the payment's link, about 80 characters that hold its public id and the time."""
    return SIGNER.sign(base64.urlsafe_b64encode(payment.public_id.bytes).decode().rstrip("="))


def payment_of(token: str) -> Payment:
    """Return the payment that a link's token opens.

    Raises SignatureExpired when the token is older than VALID, and BadSignature or Payment.DoesNotExist when it was
    never issued.
    """
    name = SIGNER.unsign(token, max_age=VALID)
    try:
        public_id = uuid.UUID(bytes=base64.urlsafe_b64decode(f"{name}=="))
    except (ValueError, binascii.Error) as error:
        raise BadSignature from error
    return Payment.objects.with_appointment().get(public_id=public_id)
