"""Filters of the list of transfers from Stripe to the bank."""

import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.utils.translation import gettext_lazy as _

from appointments.forms import VALID_DAYS

from ..gateway.balance import PayoutCopies, payout_copies, payout_currencies


def day_field(label: Any) -> forms.DateField:
    widget = forms.DateInput({"type": "date"}, format="%Y-%m-%d")
    return forms.DateField(label=label, required=False, widget=widget, validators=VALID_DAYS)


def currency_choices() -> list[tuple[str, Any]]:
    return [("", _("All currencies")), *((code, code.upper()) for code in payout_currencies())]


class TransferFilter(forms.Form):
    """The filters of the list of transfers, read from its query string: first and last day of arrival, and currency.

    Empty fields set no limit, and neither do invalid ones, which are reported beside the field.
    """

    first = day_field(_("Arrives from"))
    last = day_field(_("Arrives until"))
    currency = forms.ChoiceField(label=_("Currency"), required=False, choices=currency_choices)

    def __init__(self, query: Any) -> None:
        super().__init__(query, auto_id="filter-%s")
        self.full_clean()

    def clean(self) -> None:
        first, last = self.days
        if first and last and first > last:
            self.add_error("last", _("This day is before the first one."))

    @property
    def days(self) -> tuple[datetime.date | None, datetime.date | None]:
        """Return the first and the last day of arrival; None sets no limit."""
        return self.cleaned_data.get("first"), self.cleaned_data.get("last")

    @property
    def rows(self) -> PayoutCopies:
        """Return dj-stripe's rows of the payouts that the list shows, the latest first."""
        return payout_copies(*self.days, self.cleaned_data.get("currency") or "")

    @property
    def query(self) -> str:
        """Return the list's query string, "?" and the fields that are filled in."""
        return "?" + urlencode({name: self.data[name] for name in self.fields if self.data.get(name)})

    @property
    def file_name(self) -> str:
        """Return a file's name with the days, such as "transfers-2026-01-01-2026-01-31"."""
        return "-".join(["transfers", *dict.fromkeys(str(day) for day in self.days if day)])
