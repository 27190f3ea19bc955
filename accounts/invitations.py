"""Invites people for whom the clinic made an account: an e-mail with a link, by which they choose a password.

The front desk invites patients; a new account without a password is invited when it is made in the admin.

A link is valid for VALID, and until the password or the e-mail address changes, or a patient joins the staff. Opening
it changes nothing, because programs that check e-mails open links; the button on its page leads to allauth's page for
a new password.
"""

import datetime
import hashlib

from allauth.account.adapter import get_adapter
from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from allauth.core.context import request_context
from django.conf import settings
from django.core.cache import cache
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import override

from people.models import PatientFields
from people.sign_in import NotInvitableError

from .models import User

VALID = datetime.timedelta(days=7)
AGAIN_AFTER = 5 * 60  # seconds between two invitations of one person
SIGNER = TimestampSigner(salt="accounts.invitation")


def may_invite(user: PatientFields) -> bool:
    """Return whether the person can be invited: a patient with an e-mail address who has never signed in."""
    return bool(user.email and user.is_active and not user.is_staff and user.last_login is None)


def invite(request: HttpRequest, user: PatientFields) -> None:
    """E-mail an invitation to the person's address, in their language.

    Raises NotInvitableError when the person has no e-mail address, is staff, has signed in before, or was invited a
    moment ago.
    """
    if not may_invite(user) or not cache.add(f"accounts.invited.{user.pk}", 1, AGAIN_AFTER):
        raise NotInvitableError
    send(request, user)


def send(request: HttpRequest, user: PatientFields) -> None:
    """E-mail an invitation to the person's address, in their language, also to a colleague."""
    link = settings.CLINIC_SITE_URL + reverse("account_welcome", args=[token_of(user)])
    context = {"clinic": settings.CLINIC_NAME, "link": link, "days": VALID.days, "person": user}
    with request_context(request), override(user.preferred_language or settings.LANGUAGE_CODE):
        get_adapter(request).send_mail("account/email/invitation", user.email, context)


def invited(token: str) -> User | None:
    """Return whom this link invites, or None if it is forged, older than VALID or no longer valid."""
    try:
        public_id, state = SIGNER.unsign(token, max_age=VALID).rsplit(".", 1)
        user = User.objects.get(public_id=public_id, is_active=True)
    except (BadSignature, ValueError, User.DoesNotExist):
        return None
    return user if state == _state_of(user) else None


def password_path(user: User) -> str:
    """Return the path of allauth's page on which this person chooses a password."""
    key = default_token_generator.make_token(user)
    return reverse("account_reset_password_from_key", args=[user_pk_to_url_str(user), key])


def token_of(user: PatientFields) -> str:
    """Return the token of a link that invites the person."""
    return SIGNER.sign(f"{user.public_id}.{_state_of(user)}")


def _state_of(user: PatientFields) -> str:
    """Return a digest of password, e-mail address, last sign-in and staff status. If one changes, the link is void."""
    state = f"{user.password} {user.email} {user.last_login} {user.is_staff}"
    return hashlib.sha256(state.encode()).hexdigest()[:16]
