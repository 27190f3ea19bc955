"""The front desk's forms: book an appointment, change one, and enter or correct a patient."""

import datetime
import uuid
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.forms.utils import from_current_timezone
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from people.models import PatientFields

from .booking import set_service
from .fields import AmountField
from .forms import VALID_DAYS
from .models import FIRST_DAY, MINUTES, Appointment, Currency, Practitioner, Service

DATE = forms.DateInput({"type": "date"}, format="%Y-%m-%d")
TIME = forms.TimeInput({"type": "time", "step": "300"}, format="%H:%M")
COLUMNS = {"minutes": "end", "day": "start", "time": "start", "price": "price_amount", "deposit": "deposit_amount"}


def terms_of(service: Service) -> dict[str, Any]:
    """Return the values with which this service fills the form; amounts are in minor units."""
    return {"minutes": service.minutes, "price": service.price_amount, "deposit": service.deposit_amount,
            "currency": service.currency}  # fmt: skip


def as_newcomer(search: str) -> dict[str, str]:
    """Return initial values for PatientForm from the text of a search that found nobody.

    The text is an e-mail address, a phone number or a name. The last word of a name becomes the last name.
    """
    text = " ".join(search.split())
    if "@" in text:
        return {"email": text}
    if any(letter.isdecimal() for letter in text):
        return {"phone": text}
    first, _space, last = text.rpartition(" ")
    return {"first_name": first, "last_name": last}


class VisitForm(forms.Form):
    """When, with whom, for what and at what price. Amounts are typed in major units of `currency`.

    `confirmed` holds the references of overlapping appointments that the person has seen and confirmed.
    """

    practitioner = forms.ModelChoiceField(Practitioner.objects.filter(active=True), label=_("Practitioner"))
    service = forms.ModelChoiceField(Service.objects.filter(active=True), label=_("Service"))
    day = forms.DateField(label=_("Date"), widget=DATE, initial=timezone.localdate, validators=VALID_DAYS)
    time = forms.TimeField(label=_("Time"), widget=TIME)
    minutes = forms.IntegerField(label=_("Length in minutes"), initial=30, validators=MINUTES)
    currency = forms.ChoiceField(choices=Currency, initial=Currency.EUR, widget=forms.HiddenInput)
    confirmed = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        chosen = (data or initial or {}).get("currency")
        currency = chosen if chosen in Currency.values else Currency.EUR
        self.fields["price"] = AmountField(label=_("Price"), currency=currency, zero=True)
        self.fields["deposit"] = AmountField(label=_("Deposit"), currency=currency, zero=True, required=False)
        self.overlaps: Sequence[Appointment] = ()
        self.data: Any

    def clean(self) -> dict[str, Any]:
        """Add `start` and `end` to the cleaned data. A time that clocks skip or show twice that day is refused."""
        cleaned = self.cleaned_data
        if {"day", "time", "minutes"} <= cleaned.keys():
            try:
                start = from_current_timezone(datetime.datetime.combine(cleaned["day"], cleaned["time"]))
            except ValidationError:
                self.add_error("time", _("The clocks change that night: this time is skipped or comes twice."))
            else:
                cleaned["start"] = start.astimezone(datetime.UTC)
                cleaned["end"] = cleaned["start"] + datetime.timedelta(minutes=cleaned["minutes"])
        return cleaned

    def apply(self, appointment: Appointment) -> bool:
        """Put the cleaned values into the appointment, and return whether they are valid together."""
        cleaned = self.cleaned_data
        appointment.practitioner, appointment.currency = cleaned["practitioner"], cleaned["currency"]
        appointment.start, appointment.end = cleaned["start"], cleaned["end"]
        appointment.price_amount, appointment.deposit_amount = cleaned["price"], cleaned["deposit"] or 0
        if service := cleaned["service"]:
            set_service(appointment, service)
        try:
            appointment.clean()
        except ValidationError as error:
            fields = {column: name for name, column in COLUMNS.items()}
            for name, errors in error.message_dict.items():
                self.add_error(fields.get(name, name if name in self.fields else None), errors)
        return self.is_valid()

    def show_overlaps(self, overlaps: Sequence[Appointment]) -> None:
        """Show the appointments that overlap. A second click on the button confirms them."""
        self.overlaps = overlaps
        self.show_again(confirmed=" ".join(each.reference for each in overlaps))

    def show_again(self, **hidden: str) -> None:
        """Let the form's page post these values of hidden fields."""
        self.data = dict(self.data.items()) | hidden

    @property
    def references(self) -> list[str]:
        """Return the references of the overlapping appointments that are confirmed."""
        return str(self.cleaned_data["confirmed"]).split()


class BookingForm(VisitForm):
    """A new appointment. `patient` is a patient's public id, or empty for a new patient, whom PatientForm describes."""

    patient = forms.ModelChoiceField(
        get_user_model().objects.none(), to_field_name="public_id", required=False, widget=forms.HiddenInput
    )
    key = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        self.fields["patient"].queryset = get_user_model().objects.patients()  # type: ignore[attr-defined]


class ChangeForm(VisitForm):
    """Changes of a booked appointment. `agreed` is the price, in minor units, whose consequence was shown."""

    agreed = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, appointment: Appointment) -> None:
        start = timezone.localtime(appointment.start)
        initial = {
            "practitioner": appointment.practitioner_id, "day": start.date(), "time": start.time(),
            "minutes": int((appointment.end - appointment.start).total_seconds() // 60),
            "price": appointment.price_amount, "deposit": appointment.deposit_amount, "currency": appointment.currency,
        }  # fmt: skip
        super().__init__(data, initial=initial)
        self.fields["service"].required = False
        self.fields["service"].empty_label = appointment.service  # type: ignore[attr-defined]
        mine = Practitioner.objects.filter(pk=appointment.practitioner_id)
        self.fields["practitioner"].queryset |= mine  # type: ignore[attr-defined]

    @property
    def columns(self) -> set[str]:
        """Return the appointment's columns that this form changes."""
        named = {COLUMNS.get(name, name) for name in self.changed_data} - {"confirmed", "agreed"}
        if "service" in named:
            named |= {"prepayment", "no_show_fee_amount"}
        return named | {"end"} if "start" in named else named


class PatientForm(forms.ModelForm):  # type: ignore[type-arg]
    """A patient as the front desk knows them. Only a name is required; an e-mail address belongs to one account."""

    class Meta:
        model = PatientFields  # not the user model: where that lacks these fields, a check must be able to say so
        fields = ("first_name", "last_name", "birth_date", "phone", "email", "preferred_language")
        widgets = {"birth_date": DATE, "phone": forms.TextInput({"type": "tel"})}

    def __init__(self, data: Any = None, *, instance: Any = None, **options: Any) -> None:
        super().__init__(data, instance=instance or get_user_model()(), **options)
        for field in self.fields.values():
            field.widget.attrs["autocomplete"] = "off"
            field.help_text = ""
        self.fields["last_name"].required = True
        self.fields["email"].label = _("E-mail")

    def clean_birth_date(self) -> datetime.date | None:
        born: datetime.date | None = self.cleaned_data["birth_date"]
        if born and not FIRST_DAY <= born <= timezone.localdate():
            raise ValidationError(_("Check the year."))
        return born
