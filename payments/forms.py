"""Forms for payments taken at the desk, refunds and notes."""

import uuid
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from appointments.money import format_amount, number_text, parse_amount

from .domain.methods import Method
from .models import Payment


class AmountField(forms.CharField):
    """A text field for an amount in major units, such as "12,50"; its cleaned value is in minor units of `currency`.

    `most` is the highest valid amount, in minor units.
    """

    def __init__(self, *, currency: str, most: int, **options: Any) -> None:
        self.currency, self.most = currency, most
        widget = forms.TextInput({"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(widget=widget, max_length=20, **options)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        amount = parse_amount(text, self.currency) if text else None
        if amount is not None and amount > self.most:
            most = format_amount(self.most, self.currency)
            raise ValidationError(_("Enter at most %(most)s."), params={"most": most})
        return amount

    def prepare_value(self, value: Any) -> Any:
        return number_text(value, self.currency) if isinstance(value, int) else value


class NoteForm(forms.Form):
    """A note for colleagues. The hidden `key` identifies it, so that a form sent twice saves one note only."""

    text = forms.CharField(
        label=_("Note for colleagues"), max_length=1000, widget=forms.Textarea({"rows": 2, "autocomplete": "off"})
    )
    key = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)


class TakePaymentForm(forms.Form):
    """The method and amount of a payment taken at the desk. The amount is prefilled with all that is owed."""

    method = forms.TypedChoiceField(
        label=_("Paid with"),
        choices=Method.choices,
        coerce=Method,
        initial=Method.CASH,
        widget=forms.RadioSelect,
    )

    def __init__(self, data: Any, *, payment: Payment) -> None:
        super().__init__(data)
        self.fields["amount"] = AmountField(
            label=_("Amount"), currency=payment.currency, most=payment.amount_owed, initial=payment.amount_owed
        )


class RefundForm(forms.Form):
    """Form for a refund's reason and amount. The amount is all that is left, the overpaid sum or a sum typed in."""

    reason = forms.ChoiceField(
        label=_("Reason"),
        choices=[
            ("requested_by_customer", _("The patient asked for it")),
            ("duplicate", _("Paid twice")),
            ("fraudulent", _("Fraud")),
        ],
    )

    def __init__(self, data: Any, *, payment: Payment, limit: int) -> None:
        """Build the form for a user who may refund at most `limit` minor units of the payment in total.

        Earlier refunds of the payment count towards `limit`.
        """
        self.currency = payment.currency
        self.allowed = limit - payment.amount_refunded - payment.amount_refund_pending
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
        labels = {"overpaid": gettext("The overpaid amount"), "full": gettext("The full remaining amount")}
        if name not in labels:
            return gettext("Another amount")
        return f"{labels[name]} · {format_amount(self.amounts[name], payment.currency)}"

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if self.cleaned_data.get("scope") == "part" and not self.errors and self.cleaned_data.get("amount") is None:
            self.add_error("amount", _("Enter the amount to refund."))
        if not self.errors and self.total > self.allowed:
            most = format_amount(max(0, self.allowed), self.currency)
            message = _(
                "Your account may refund at most %(most)s of this payment. An accountant or a manager may refund more."
            )
            self.add_error(None, ValidationError(message, params={"most": most}))
        return cleaned

    @property
    def total(self) -> int:
        """Return the amount to refund, in minor units. Call it only when the form is valid."""
        return self.amounts.get(self.cleaned_data["scope"]) or int(self.cleaned_data["amount"])

    @property
    def amount_text(self) -> str:
        """Return the amount to refund as text in major units.

        The confirmation page posts this text, so that the sum confirmed is the sum refunded.
        """
        return number_text(self.total, self.currency)
