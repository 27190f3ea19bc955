"""Signed-in clients, the pages they ask for, and the words they read there."""

import re
from html import unescape
from typing import Any

from django.contrib.auth.models import Group
from django.test import Client

from accounts.models import User
from payments.models import Payment


def client_of(user: User, group: str = "") -> Client:
    """Signed in as this user, who joins the group first."""
    if group:
        user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def signed_in(name: str, group: str = "") -> Client:
    """A new member of staff."""
    return client_of(User.objects.create_user(name, is_staff=True), group)


def text_of(response: Any) -> str:
    """The page's words, without tags, in one line."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", response.content.decode())))


def page_of(payment: Payment) -> str:
    return f"/appointments/{payment.appointment.reference}/"


def desk_page_of(payment: Payment) -> str:
    return f"/desk/{payment.appointment.reference}/"
