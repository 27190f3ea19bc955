"""The admin's form for one appointment, and the form to book a practitioner's week at once."""

import datetime
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminDateWidget
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext_lazy as _

from .booking import overlaps_of
from .fields import AmountField, AmountsForm
from .models import FIRST_DAY, LAST_DAY, Appointment, Currency, Practitioner, Service
from .money import check_price
from .week import Terms

MOST = 200  # lines at once
VALID_DAYS = [MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY)]


def next_monday() -> datetime.date:
    today = timezone.localdate()
    return today + datetime.timedelta(days=7 - today.weekday())


def clock(hour: int) -> dict[str, Any]:
    """Return keyword arguments for a TimeField that shows only hours and minutes and starts with `hour` o'clock."""
    return {
        "initial": datetime.time(hour),
        "widget": forms.TimeInput({"type": "time"}, format="%H:%M"),
    }


class MomentField(forms.SplitDateTimeField):
    """A date and a time of day. `saved` is the moment that was saved before, or None.

    An unchanged date and time stand for `saved`. Otherwise an appointment in the hour that clocks show twice could not
    be saved a second time, because the text doesn't tell which of the two hours is meant.
    """

    saved: datetime.datetime | None = None

    def compress(self, data_list: Any) -> datetime.datetime | None:
        if self.saved and data_list == self.widget.decompress(self.saved):
            return self.saved
        return super().compress(data_list)


class AppointmentForm(AmountsForm):
    """The admin's form for an appointment, whose fields AppointmentAdmin names.

    A time that overlaps with other appointments of the practitioner or the patient has to be confirmed.
    """

    allow_overlap = forms.BooleanField(label=_("Book although it overlaps"), required=False)

    class Meta:
        field_classes = {"start": MomentField, "end": MomentField}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in {"start", "end"} & self.fields.keys():  # who may only view has no fields
            self.fields[name].saved = getattr(self.instance, name)  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        filled = {name: self.cleaned_data.get(name) for name in ("practitioner", "patient", "start", "end")}
        moved = not {"practitioner", "start", "end"}.isdisjoint(self.changed_data)
        canceled = self.cleaned_data.get("status") == Appointment.Status.CANCELED
        if moved and all(filled.values()) and not canceled and not self.cleaned_data.get("allow_overlap"):
            overlaps = overlaps_of(Appointment(pk=self.instance.pk, **filled))
            if overlaps:
                others = ", ".join(f"{each.reference} ({each.practitioner}, {each.patient})" for each in overlaps)
                said = _("This time overlaps with %(others)s. Tick this box to book it anyway.")
                self.add_error("allow_overlap", ValidationError(said, params={"others": others}))
        return cleaned


class ServiceForm(AmountsForm):
    class Meta:
        model = Service
        fields = ("name", "minutes", "price_amount", "prepayment", "deposit_amount", "no_show_fee_amount", "currency",
                  "active")  # fmt: skip


class WeekForm(forms.Form):
    """A form for a practitioner's appointments in one week.

    Each line of `lines` is one appointment: date, time and patient. The other fields, such as the price, hold for all.
    """

    practitioner = forms.ModelChoiceField(Practitioner.objects.filter(active=True), label=_("practitioner"))
    service = forms.CharField(label=_("service"), max_length=120)
    minutes = forms.IntegerField(label=_("length in minutes"), min_value=5, max_value=480, initial=30)
    price = AmountField(label=_("price"), currency=Currency.EUR, zero=True)
    currency = forms.ChoiceField(label=_("currency"), choices=Currency.choices)
    week = forms.DateField(
        label=_("any day of that week"), initial=next_monday, widget=AdminDateWidget, validators=VALID_DAYS
    )
    weekdays = forms.TypedMultipleChoiceField(
        label=_("days"), choices=list(WEEKDAYS.items()), coerce=int, initial=[0, 1, 2, 3, 4],
        widget=forms.CheckboxSelectMultiple,
    )  # fmt: skip
    first = forms.TimeField(label=_("from"), **clock(9))
    last = forms.TimeField(label=_("until"), **clock(12))
    lines = forms.CharField(
        label=_("date, time, patient"),
        required=False,
        strip=False,
        widget=forms.Textarea({"rows": 16, "cols": 60, "class": "vLargeTextField", "spellcheck": "false"}),
        help_text=_(
            "Write one appointment per line. Name the patient by user name, e-mail address or full name. A"
            " line without a patient books nothing."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if (chosen := self.data.get("currency")) in Currency.values:
            self.fields["price"] = AmountField(label=_("price"), currency=chosen, zero=True)

    def clean_lines(self) -> str:
        text = str(self.cleaned_data["lines"])
        if len(text.splitlines()) > MOST:
            raise ValidationError(_("Enter at most %(most)s lines at a time."), params={"most": MOST})
        return text

    def clean(self) -> None:
        filled = self.cleaned_data
        if {"price", "currency"} <= filled.keys():
            try:
                check_price(filled["price"], filled["currency"])
            except ValidationError as error:
                self.add_error("price", error)
        if {"first", "last"} <= filled.keys() and filled["first"] >= filled["last"]:
            self.add_error("last", _("The day must end after it begins."))

    @property
    def terms(self) -> Terms:
        """Return the practitioner, service, length and price of all the week's appointments. The form must be valid."""
        return Terms(**{name: self.cleaned_data[name] for name in Terms.__dataclass_fields__})

    @property
    def days(self) -> list[datetime.date]:
        """Return the dates of the chosen weekdays, Monday first, in the week that contains the date `week`."""
        day: datetime.date = self.cleaned_data["week"]
        monday = day - datetime.timedelta(days=day.weekday())
        return [monday + datetime.timedelta(days=number) for number in sorted(self.cleaned_data["weekdays"])]
