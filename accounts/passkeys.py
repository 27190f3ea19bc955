"""Forms in which people name a passkey. They replace allauth's forms, whose label is only English."""

from allauth.mfa.webauthn.forms import AddWebAuthnForm, EditWebAuthnForm
from django import forms
from django.utils.translation import gettext_lazy as _


class AddForm(AddWebAuthnForm):  # type: ignore[misc]
    name = forms.CharField(label=_("Name"), required=False)


class EditForm(EditWebAuthnForm):  # type: ignore[misc]
    name = forms.CharField(label=_("Name"))
