"""Makes signed-in test clients, and returns the text of their responses and the paths of a payment's pages."""

import re
from html import unescape
from typing import Any

from django.contrib.auth.models import Group
from django.test import Client

from accounts.models import User
from payments.models import PayLink, Payment


def client_of(user: User, group: str = "") -> Client:
    """Return a test client signed in as `user`, who is first added to `group` if it is given."""
    if group:
        user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def signed_in(name: str, group: str = "") -> Client:
    """Return a test client signed in as a new member of staff, in `group` if it is given."""
    return client_of(User.objects.create_user(name, is_staff=True), group)


def text_of(response: Any) -> str:
    """Return the text of an HTML response on one line, without tags."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", response.content.decode())))


def page_of(payment: Payment) -> str:
    return f"/appointments/{payment.appointment.reference}/"


def desk_page_of(payment: Payment) -> str:
    return f"/desk/{payment.appointment.reference}/"


def token_of(payment: Payment, channel: PayLink.Channel = PayLink.Channel.DESK) -> str:
    """Return the token of the payment's open link for the channel; make the link if there is none."""
    return PayLink.objects.offer(payment, channel).token
