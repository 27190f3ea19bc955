"""Filters of the journal, the list of all movements of money."""

import datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from appointments.forms import VALID_DAYS

from ..domain.methods import method_label
from ..domain.tally import Tally
from ..models import JournalLine
from ..models.journal_line import JournalLineQuerySet


def date_input() -> forms.DateInput:
    return forms.DateInput({"type": "date"}, format="%Y-%m-%d")


class JournalFilter(forms.Form):
    """The journal's filters, read from its query string: first and last day of the money, payment method, currency.

    Without days in the query string the journal shows today; an empty day sets no limit. An invalid day is reported
    beside its field, and sets no limit either. Only methods and currencies that moved on these days are offered.
    """

    first = forms.DateField(label=_("First day"), required=False, widget=date_input(), validators=VALID_DAYS)
    last = forms.DateField(label=_("Last day"), required=False, widget=date_input(), validators=VALID_DAYS)
    method = forms.CharField(label=_("Method"), max_length=40, required=False, widget=forms.Select())
    currency = forms.CharField(label=_("Currency"), max_length=3, required=False, widget=forms.Select())

    def __init__(self, query: Any) -> None:
        today = str(timezone.localdate())
        given = {} if {"first", "last"} & query.keys() else {"first": today, "last": today}
        super().__init__({**given, **query.dict()}, auto_id="filter-%s")
        self.full_clean()
        methods = sorted({each.method for each in self.all_tallies} | {self._chosen("method")} - {""})
        currencies = sorted({each.currency for each in self.all_tallies} | {self._chosen("currency")} - {""})
        for name, every, found in (
            ("method", _("All methods"), [(method, method_label(method)) for method in methods]),
            ("currency", _("All currencies"), [(code, code.upper()) for code in currencies]),
        ):
            self.fields[name].widget.choices = [("", every), *found]

    def clean(self) -> None:
        first, last = self.days
        if first and last and first > last:
            self.add_error("last", _("This day is before the first one."))

    def _chosen(self, name: str) -> str:
        return str(self.cleaned_data.get(name) or "")

    @property
    def days(self) -> tuple[datetime.date | None, datetime.date | None]:
        """Return the first and the last day of the filter. None means that there is no limit."""
        return self.cleaned_data.get("first"), self.cleaned_data.get("last")

    @cached_property
    def all_tallies(self) -> list[Tally]:
        """Return the sums of all movements on these days, by currency and method."""
        return JournalLine.objects.between(*self.days).tallies()

    @property
    def tallies(self) -> list[Tally]:
        """Return the sums, by currency and method, of the movements that match the filters."""
        method, currency = self._chosen("method"), self._chosen("currency")
        found = (each for each in self.all_tallies if method in ("", each.method))
        return [each for each in found if currency in ("", each.currency)]

    @property
    def rows(self) -> JournalLineQuerySet:
        """Return the journal's lines that match the filters, oldest first."""
        chosen = {name: text for name in ("method", "currency") if (text := self._chosen(name))}
        return JournalLine.objects.between(*self.days).filter(**chosen).in_order()

    @property
    def query(self) -> str:
        """Return the journal's query string, to be followed by the number of a page."""
        given = {name: self.data.get(name, "") for name in self.fields}
        return "?" + urlencode({name: value for name, value in given.items() if value or name in ("first", "last")})

    @property
    def name(self) -> str:
        """Return a file name with the days, such as "journal-2026-01-31"."""
        days = list(dict.fromkeys(str(day) for day in self.days if day))
        return "-".join(["journal", *days])
