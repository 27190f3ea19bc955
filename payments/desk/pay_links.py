"""Links that open one appointment's payment without signing in: for a QR code at the desk, or a message."""

import base64
import binascii
import datetime
import uuid

from django.core.signing import BadSignature, TimestampSigner

from ..models import Payment

VALID = datetime.timedelta(days=14)
SIGNER = TimestampSigner(salt="payments.pay_link")


def token_of(payment: Payment) -> str:
    """The signed part of the link, about 80 characters; it names the payment and when it was made, nobody's name."""
    return SIGNER.sign(base64.urlsafe_b64encode(payment.public_id.bytes).decode().rstrip("="))


def payment_of(token: str) -> Payment:
    """Raises SignatureExpired when the link is too old, else BadSignature or Payment.DoesNotExist."""
    name = SIGNER.unsign(token, max_age=VALID)
    try:
        public_id = uuid.UUID(bytes=base64.urlsafe_b64decode(f"{name}=="))
    except (ValueError, binascii.Error) as error:
        raise BadSignature from error
    return Payment.objects.with_appointment().get(public_id=public_id)
