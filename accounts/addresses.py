"""E-mail addresses: allauth's copy of each, and whether its person has proved that they read its mail."""

from typing import Any

from allauth.account.models import EmailAddress

from people.models import PatientFields

from .models import User


def proved(sender: object, user: User, **kwargs: Any) -> None:
    """Receive allauth's password_reset signal, and mark the account's address as verified: its owner used the link.

    The link was sent to that address: the adapter sends links to no other, and a link becomes invalid when the
    account's address changes.
    """
    for address in EmailAddress.objects.filter(user=user, email__iexact=user.email):
        address.set_verified()


def forget_old(user: PatientFields) -> None:
    """Delete allauth's copies of addresses that the account no longer has, so that another account can have them."""
    EmailAddress.objects.filter(user=user).exclude(email__iexact=user.email).delete()
