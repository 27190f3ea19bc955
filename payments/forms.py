"""What people fill in."""

import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from appointments.models import Practitioner
from appointments.money import format_amount, number_text, parse_amount

from .models import Payment
from .models.payment import PaymentQuerySet
from .models.search import Tab

SORTS = {
    "time": ("appointment__start", "pk"),
    "-time": ("-appointment__start", "-pk"),
    "patient": ("appointment__patient__last_name", "appointment__patient__first_name", "pk"),
    "-patient": ("-appointment__patient__last_name", "-appointment__patient__first_name", "-pk"),
    "amount": ("amount_due", "pk"),
    "-amount": ("-amount_due", "-pk"),
}
PERIODS = [("day", _("Day")), ("week", _("Week")), ("month", _("Month")), ("all", _("All dates"))]


class DayFilter(forms.Form):
    """The day list's filters, as they stand in its URL; what makes no sense there counts as not given."""

    q = forms.CharField(label=_("Search"), max_length=80, required=False)
    day = forms.DateField(label=_("Date"), required=False, widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"))
    period = forms.ChoiceField(label=_("Period"), required=False, choices=PERIODS)
    practitioner = forms.ModelChoiceField(
        Practitioner.objects.all(), label=_("Practitioner"), required=False, empty_label=_("Everyone")
    )
    status = forms.ChoiceField(required=False, choices=Tab.choices, widget=forms.HiddenInput)
    sort = forms.ChoiceField(required=False, choices=[(name, name) for name in SORTS], widget=forms.HiddenInput)

    def __init__(self, query: Any) -> None:
        super().__init__({"day": timezone.localdate(), "period": "day", **query.dict()}, auto_id="filter-%s")
        self.full_clean()
        self.date: datetime.date = self.cleaned_data.get("day") or timezone.localdate()
        self.tab = Tab(self.cleaned_data.get("status") or Tab.ALL)
        self.text: str = self.cleaned_data.get("q") or ""
        self.span: str = "all" if self.text else self.cleaned_data.get("period") or "day"
        self.order: str = self.cleaned_data.get("sort") or ("-time" if self.span == "all" else "time")

    @property
    def days(self) -> tuple[datetime.date, datetime.date] | None:
        """First and last day shown; None for all dates, where a search always looks."""
        one = datetime.timedelta(days=1)
        if self.span == "week":
            monday = self.date - self.date.weekday() * one
            return monday, monday + 6 * one
        if self.span == "month":
            first = self.date.replace(day=1)
            return first, (first + 31 * one).replace(day=1) - one
        return None if self.span == "all" else (self.date, self.date)

    def narrow(self, payments: PaymentQuerySet) -> PaymentQuerySet:
        """By all filters but the tab, whose counts are over these."""
        if self.days:
            payments = payments.starting_between(*self.days)
        if practitioner := self.cleaned_data.get("practitioner"):
            payments = payments.filter(appointment__practitioner=practitioner)
        return payments.matching(self.text)

    def rows(self, payments: PaymentQuerySet) -> PaymentQuerySet:
        return payments.in_tab(self.tab).order_by(*SORTS[self.order])

    def query(self, **changes: object) -> str:
        """This list's query string with some filters changed; those at their default are left out."""
        now: dict[str, object] = {name: self.data[name] for name in self.fields if self.data.get(name)}
        defaults = {"day": str(timezone.localdate()), "period": "day"}
        wanted = {name: str(value) for name, value in {**now, **changes}.items() if value not in (None, "")}
        return "?" + urlencode({name: value for name, value in wanted.items() if value != defaults.get(name)})

    @property
    def shift(self) -> dict[str, str]:
        """Query strings one step back, today, and one step on."""
        days = self.days or (self.date, self.date)
        one = datetime.timedelta(days=1)
        steps = {"back": days[0] - one, "today": None, "on": days[1] + one}
        return {name: self.query(day=day) for name, day in steps.items()}


class AmountField(forms.CharField):
    """An amount typed in major units ("12,50"); `cleaned_data` has it in minor units of `currency`."""

    def __init__(self, *, currency: str, most: int, **options: Any) -> None:
        self.currency, self.most = currency, most
        widget = forms.TextInput({"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(widget=widget, max_length=20, **options)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        amount = parse_amount(text, self.currency) if text else None
        if amount is not None and amount > self.most:
            most = format_amount(self.most, self.currency)
            raise forms.ValidationError(_("At most %(most)s."), params={"most": most})
        return amount

    def prepare_value(self, value: Any) -> Any:
        return number_text(value, self.currency) if isinstance(value, int) else value


class TakePaymentForm(forms.Form):
    method = forms.ChoiceField(
        label=_("Paid with"),
        choices=[("cash", _("Cash")), ("terminal", _("Card terminal"))],
        initial="cash",
        widget=forms.RadioSelect,
    )

    def __init__(self, data: Any, *, payment: Payment) -> None:
        super().__init__(data)
        self.fields["amount"] = AmountField(
            label=_("Amount"), currency=payment.currency, most=payment.owed, initial=payment.owed
        )


class RefundForm(forms.Form):
    """How much goes back: all that is left, what was paid too much, or another part."""

    reason = forms.ChoiceField(
        label=_("Reason"),
        choices=[
            ("requested_by_customer", _("The patient asked for it")),
            ("duplicate", _("Paid twice")),
            ("fraudulent", _("Fraud")),
        ],
    )

    def __init__(self, data: Any, *, payment: Payment) -> None:
        self.amounts = {"overpaid": payment.amount_overpaid, "full": payment.refundable}
        twice = 0 < payment.amount_overpaid < payment.refundable
        names = ["overpaid", "full", "part"] if twice else ["full", "part"]
        initial = {"scope": names[0], "reason": "duplicate" if twice else "requested_by_customer"}
        super().__init__(data, initial=initial)
        self.fields["scope"] = forms.ChoiceField(
            label=_("How much"),
            choices=[(name, self._choice(name, payment)) for name in names],
            widget=forms.RadioSelect,
        )
        self.fields["amount"] = AmountField(
            label=_("Amount"), currency=payment.currency, most=payment.refundable, required=False
        )

    def _choice(self, name: str, payment: Payment) -> str:
        labels = {"overpaid": gettext("What was paid too much"), "full": gettext("All that is left")}
        if name not in labels:
            return gettext("Another amount")
        return f"{labels[name]} · {format_amount(self.amounts[name], payment.currency)}"

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if self.cleaned_data.get("scope") == "part" and not self.errors and self.cleaned_data.get("amount") is None:
            self.add_error("amount", _("How much is given back?"))
        return cleaned

    @property
    def amount(self) -> int:
        """Minor units to give back."""
        return self.amounts.get(self.cleaned_data["scope"]) or int(self.cleaned_data["amount"])
