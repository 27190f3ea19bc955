"""Signed links that open one payment without signing in; patients get them as a QR code at the desk or in a message."""

import base64
import binascii
import datetime
import uuid

from django.core.signing import BadSignature, TimestampSigner

from ..models import Payment

VALID = datetime.timedelta(days=14)
SIGNER = TimestampSigner(salt="payments.pay_link")


def token_of(payment: Payment) -> str:
    """Return the token of a link to the payment: the payment's public id and the current time, signed.

    It has about 80 characters.
    """
    return SIGNER.sign(base64.urlsafe_b64encode(payment.public_id.bytes).decode().rstrip("="))


def payment_of(token: str) -> Payment:
    """Return the payment that the link with this token opens.

    Raises SignatureExpired when the token is older than VALID, BadSignature when this site didn't sign the token, and
    Payment.DoesNotExist when the payment doesn't exist.
    """
    name = SIGNER.unsign(token, max_age=VALID)
    try:
        public_id = uuid.UUID(bytes=base64.urlsafe_b64decode(f"{name}=="))
    except (ValueError, binascii.Error) as error:
        raise BadSignature from error
    return Payment.objects.with_appointment().get(public_id=public_id)
