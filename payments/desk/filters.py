"""Filters and sort order of the front desk's list of appointments."""

import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from appointments.forms import VALID_DAYS
from appointments.models import Practitioner
from appointments.money import parse_number

from ..models.payment import PaymentQuerySet
from ..models.search import Tab

# Ties between equal times are broken by the appointment's key, because the database can then read the index on `start`.
SORTS = {
    "time": ("appointment__start", "appointment_id"),
    "-time": ("-appointment__start", "-appointment_id"),
    "patient": ("appointment__patient__last_name", "appointment__patient__first_name", "pk"),
    "-patient": ("-appointment__patient__last_name", "-appointment__patient__first_name", "-pk"),
    "amount": ("amount_due", "pk"),
    "-amount": ("-amount_due", "-pk"),
}
SORT_LABELS = {
    "time": _("Time"),
    "-time": _("Time, latest first"),
    "patient": _("Patient"),
    "-patient": _("Patient, Z to A"),
    "amount": _("Amount"),
    "-amount": _("Amount, highest first"),
}
CHIPS = (Tab.ALL, Tab.TO_PAY, Tab.PAID, Tab.TO_REVIEW)  # tabs that are always in view; the filters offer the others
PERIODS = [("day", _("Day")), ("week", _("Week")), ("month", _("Month")), ("all", _("All dates"))]


amount_input = forms.TextInput({"inputmode": "decimal", "autocomplete": "off"})


class DayFilter(forms.Form):
    """The filters and sort order of the front desk's day list, read from its query string; invalid values are ignored.

    `amount_min` and `amount_max` are in major units, such as euros. People type them by hand, so an invalid amount is
    not only ignored but also reported on the page.
    """

    q = forms.CharField(label=_("Search"), max_length=80, required=False)
    day = forms.DateField(
        label=_("Date"),
        required=False,
        widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
        validators=VALID_DAYS,
    )
    period = forms.ChoiceField(label=_("Period"), required=False, choices=PERIODS)
    practitioner = forms.ModelChoiceField(
        Practitioner.objects.all(), label=_("Practitioner"), required=False, empty_label=_("All practitioners")
    )
    amount_min = forms.CharField(label=_("Amount from"), max_length=16, required=False, widget=amount_input)
    amount_max = forms.CharField(label=_("to"), max_length=16, required=False, widget=amount_input)
    status = forms.ChoiceField(label=_("Payment"), required=False, choices=Tab.choices)
    sort = forms.ChoiceField(label=_("Order"), required=False, choices=[("", _("By default")), *SORT_LABELS.items()])
    view = forms.ChoiceField(required=False, choices=[("agenda", _("Agenda"))], widget=forms.HiddenInput)

    def __init__(self, query: Any) -> None:
        super().__init__({"day": timezone.localdate(), "period": "day", **query.dict()}, auto_id="filter-%s")
        self.full_clean()
        self.date: datetime.date = self.cleaned_data.get("day") or timezone.localdate()
        self.tab = Tab(self.cleaned_data.get("status") or Tab.ALL)
        self.text: str = self.cleaned_data.get("q") or ""
        self.span: str = "all" if self.text else self.cleaned_data.get("period") or "day"
        self.order: str = self.cleaned_data.get("sort") or ("-time" if self.span == "all" else "time")
        self.as_agenda = bool(self.cleaned_data.get("view")) and self.span == "day"

    def clean_amount_min(self) -> Decimal | None:
        return self._amount("amount_min")

    def clean_amount_max(self) -> Decimal | None:
        return self._amount("amount_max")

    def _amount(self, name: str) -> Decimal | None:
        text = self.cleaned_data[name]
        return parse_number(text) if text else None

    def clean(self) -> None:
        least, most = self.cleaned_data.get("amount_min"), self.cleaned_data.get("amount_max")
        if least is not None and most is not None and least > most:
            self.add_error("amount_max", _("This must not be less than the first amount."))

    @property
    def amount_errors(self) -> list[str]:
        """Return the messages about invalid amounts, to show on the page."""
        return [str(error) for name in ("amount_min", "amount_max") for error in self.errors.get(name, [])]

    @property
    def days(self) -> tuple[datetime.date, datetime.date] | None:
        """Return the first and the last day that the list covers, or None if it covers all dates.

        A text search always covers all dates.
        """
        one = datetime.timedelta(days=1)
        if self.span == "week":
            monday = self.date - self.date.weekday() * one
            return monday, monday + 6 * one
        if self.span == "month":
            first = self.date.replace(day=1)
            return first, (first + 31 * one).replace(day=1) - one
        return None if self.span == "all" else (self.date, self.date)

    def narrow(self, payments: PaymentQuerySet) -> PaymentQuerySet:
        """Return `payments` after applying all filters except the chosen tab.

        Each tab shows how many of these payments it contains.
        """
        if self.days:
            payments = payments.starting_between(*self.days)
        if practitioner := self.cleaned_data.get("practitioner"):
            payments = payments.filter(appointment__practitioner=practitioner)
        payments = payments.due_between(self.cleaned_data.get("amount_min"), self.cleaned_data.get("amount_max"))
        return payments.matching(self.text)

    def rows(self, payments: PaymentQuerySet) -> PaymentQuerySet:
        """Return the payments of the chosen tab in the chosen order, from `payments` that `narrow` has filtered."""
        return self.sorted(payments.in_tab(self.tab))

    def sorted(self, payments: PaymentQuerySet) -> PaymentQuerySet:
        return payments.order_by(*SORTS[self.order])

    def query(self, **changes: object) -> str:
        """Return the list's query string with the filters in `changes` set to new values. Defaults are left out."""
        current: dict[str, object] = {
            name: self.data[name] for name in self.fields if self.data.get(name) and name not in self.errors
        }
        defaults = {"day": str(timezone.localdate()), "period": "day", "status": Tab.ALL.value}
        wanted = {name: str(value) for name, value in {**current, **changes}.items() if value not in (None, "")}
        return "?" + urlencode({name: value for name, value in wanted.items() if value != defaults.get(name)})

    @property
    def shift(self) -> dict[str, str]:
        """Return the query strings of the period before ("back"), of today ("today") and of the next period ("on")."""
        days = self.days or (self.date, self.date)
        one = datetime.timedelta(days=1)
        steps = {"back": days[0] - one, "today": None, "on": days[1] + one}
        return {name: self.query(day=day) for name, day in steps.items()}

    @property
    def views(self) -> dict[str, str]:
        """Return the query strings of the day as a list and as an agenda."""
        return {"list": self.query(view=None), "agenda": self.query(view="agenda")}

    @property
    def kept(self) -> dict[str, str]:
        """Return the filters that stay when another day is chosen."""
        names = [name for name in self.fields if name not in ("q", "day") and name not in self.errors]
        return {name: self.data[name] for name in names if self.data.get(name)}

    @property
    def is_narrowed(self) -> bool:
        """Return whether a filter is set that only the folded form shows."""
        set_by_hand = any(self.data.get(name) for name in ("practitioner", "amount_min", "amount_max", "sort"))
        return set_by_hand or self.tab not in CHIPS or self.cleaned_data.get("period") in ("week", "month", "all")

    @property
    def days_in_name(self) -> str:
        """Return the days as a part of a file's name, such as "-2026-01-31"; "" if the list covers all dates.

        A list can also be filtered by a person's name, but that never becomes a part of the file's name.
        """
        days = self.days
        return "" if days is None else f"-{days[0]}" + (f"-{days[1]}" if days[1] != days[0] else "")
