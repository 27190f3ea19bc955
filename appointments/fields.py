"""Form fields for amounts of money: people type major units, such as "12,50", and forms clean to minor units."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from .money import currency_of, format_amount, number_text, parse_amount, parse_number


class AmountField(forms.CharField):
    """A text field for an amount in major units, such as "12,50"; its cleaned value is in minor units of `currency`.

    `most` is the highest valid amount in minor units, by default the most that Stripe charges. Zero is valid only if
    `zero` is true.
    """

    def __init__(self, *, currency: str, most: int | None = None, zero: bool = False, **options: Any) -> None:
        self.currency, self.zero = currency, zero
        self.most = currency_of(currency).most if most is None else most
        widget = forms.TextInput({"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(widget=widget, max_length=20, **options)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        amount = 0 if self.zero and not parse_number(text) else parse_amount(text, self.currency)
        if amount > self.most:
            most = format_amount(self.most, self.currency)
            raise ValidationError(_("Enter at most %(most)s."), params={"most": most})
        return amount

    def prepare_value(self, value: Any) -> Any:
        return number_text(value, self.currency) if isinstance(value, int) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether `data`, the text from the form, stands for another amount than `initial`, in minor units."""
        try:
            return bool(self.clean(data) != initial)
        except ValidationError:
            return True


class AmountsForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form for a model with a currency, in which fields whose names end with `_amount` are typed in major units."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = self.data.get(self.add_prefix("currency"))
        known = dict(self.instance._meta.get_field("currency").choices)
        currency = str(chosen) if chosen in known else self.instance.currency
        for name, field in self.fields.items():
            if name.endswith("_amount"):
                options: dict[str, Any] = {"label": field.label, "help_text": field.help_text, "initial": field.initial}
                self.fields[name] = AmountField(currency=currency, zero=True, **options)
