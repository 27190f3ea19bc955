"""The front desk's forms: payments, refunds, corrections, cancellations and notes."""

import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from appointments.fields import AmountField
from appointments.money import check_step, format_amount, number_text

from .desk.order_words import REASONS, refusal_words, way_label
from .desk.refund_limits import OverLimitError
from .desk.refund_orders import DESK, STRIPE, Order, refundable_through
from .domain.methods import Method
from .domain.status import Review
from .gateway.refunds import NotRefundableError
from .models import Payment

HANDED_OVER = (Method.CASH, Method.TERMINAL, Method.CHEQUE, Method.TRANSFER)  # the clinic refunds no insurer


class CurrencyForm(forms.Form):
    """A form about amounts, which is refused if the payment's currency has changed since the page was opened.

    The page posts the currency that it shows as `currency`.
    """

    def __init__(self, data: Any, *, payment: Payment) -> None:
        super().__init__(data)
        self.payment = payment

    def clean(self) -> dict[str, Any]:
        now = self.payment.currency
        if self.data.get("currency", now) != now:
            text = _("The currency is now %(currency)s. Check the amount and try again.")
            raise ValidationError(text, params={"currency": now.upper()})
        return self.cleaned_data


class QuickAmount(NamedTuple):
    """An amount that one click fills in: `text` is what the field then holds, `words` what the button says."""

    text: str
    words: str


def quick_amount(label: Promise, amount: int, currency: str) -> QuickAmount:
    return QuickAmount(number_text(amount, currency), f"{label} · {format_amount(amount, currency)}")


def key_of(posted: QueryDict | None) -> str:
    """Return the idempotency key posted with the form, or a new key if the posted one is missing or malformed.

    If a form is sent twice, by a double click or the back button, both requests have one key and take effect once.
    """
    try:
        return uuid.UUID(posted.get("key", "") if posted else "").hex
    except ValueError:
        return uuid.uuid4().hex


class NoteForm(forms.Form):
    """A note for colleagues. The hidden `key` identifies it, so that a form sent twice saves one note only."""

    text = forms.CharField(
        label=_("Note for colleagues"),
        max_length=1000,
        widget=forms.Textarea({"rows": 1, "autocomplete": "off", "placeholder": _("Note for colleagues")}),
    )
    key = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)


class TakePaymentForm(CurrencyForm):
    """A payment taken at the desk. The amount is prefilled with all that is owed; one click changes it to the deposit.

    `received` is what the patient hands over in cash, from which `change` follows; it is optional.
    """

    method = forms.TypedChoiceField(
        label=_("Paid with"),
        choices=Method.choices,
        coerce=Method,
        initial=Method.CASH,
        widget=forms.RadioSelect,
    )
    deposited = forms.DateField(
        label=_("Deposited at the bank on"),
        required=False,
        initial=timezone.localdate,
        widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
    )
    note = forms.CharField(
        label=_("Note for colleagues"), required=False, max_length=200, widget=forms.TextInput({"autocomplete": "off"})
    )

    def __init__(self, data: Any, *, payment: Payment) -> None:
        super().__init__(data, payment=payment)
        owed = payment.amount_owed
        self.fields["amount"] = AmountField(label=_("Amount"), currency=payment.currency, most=owed, initial=owed)
        self.fields["received"] = AmountField(
            label=_("Given by the patient"), currency=payment.currency, required=False
        )

    @property
    def quick_amounts(self) -> list[QuickAmount]:
        owed, asked, currency = self.payment.amount_owed, self.payment.to_ask, self.payment.currency
        if asked == owed:
            return []
        return [quick_amount(_("Deposit"), asked, currency), quick_amount(_("All that is owed"), owed, currency)]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("method") != Method.CASH:
            cleaned["received"] = None
        if cleaned.get("method") != Method.CHEQUE:
            cleaned["deposited"] = None
        if cleaned.get("received") and "amount" in cleaned and self.change < 0:
            self.add_error("received", _("This is less than the amount."))
        return cleaned

    @property
    def change(self) -> int:
        """Return the change to give back, in minor units. Call it only when the form is valid."""
        return int((self.cleaned_data["received"] or self.cleaned_data["amount"]) - self.cleaned_data["amount"])


class RefundForm(forms.Form):
    """A refund: how much, through what, whether the patient has to pay it again, and why.

    The form doesn't ask whether the patient has to pay again if only money that was paid too much can be given back.
    """

    reason = forms.ChoiceField(label=_("Reason"), choices=list(REASONS.items()))

    def __init__(self, data: Any, *, payment: Payment, allowed: int) -> None:
        """Build the form for a user who may give back at most `allowed` minor units of the payment now."""
        self.payment, self.allowed = payment, allowed
        self.limits, self.overpaid = refundable_through(payment), payment.to_give_back
        wanted = self.overpaid or payment.refundable
        way = STRIPE if self.limits[STRIPE] >= min(wanted, self.limits[DESK]) else DESK
        initial = {"through": STRIPE if way == STRIPE else Method.CASH, "still_owed": "", "reason": self._reason()}
        super().__init__(data, initial=initial)
        self.fields["amount"] = AmountField(
            label=_("Amount"),
            currency=payment.currency,
            most=max(self.limits.values()),
            initial=min(wanted, self.limits[way]),
        )
        self.fields["through"] = forms.ChoiceField(
            label=_("Where the money goes"), choices=list(self._ways()), widget=forms.RadioSelect
        )
        if payment.refundable > self.overpaid:
            self.fields["still_owed"] = forms.ChoiceField(
                label=_("Then"),
                choices=[("", _("No longer owed")), ("1", _("Still owed"))],
                widget=forms.RadioSelect,
                required=False,
            )

    def _reason(self) -> str:
        """Return the likeliest reason for a refund."""
        if Review.DOUBLE_PAYMENT in self.payment.reviews:
            return "duplicate"
        return "canceled" if self.payment.appointment.canceled else "requested_by_customer"

    def _ways(self) -> Iterator[tuple[str, str]]:
        """Yield the ways by which money can be given back, with their labels."""
        if self.limits[STRIPE]:
            yield STRIPE, way_label(STRIPE)
        if self.limits[DESK]:
            yield from ((method.value, way_label(method)) for method in HANDED_OVER)

    @property
    def quick_amounts(self) -> list[QuickAmount]:
        most: int = self.fields["amount"].most  # type: ignore[attr-defined]
        found = []
        if 0 < self.overpaid < self.payment.refundable and self.overpaid <= most:
            found.append(quick_amount(_("Overpaid"), self.overpaid, self.payment.currency))
        if self.payment.refundable <= most:
            found.append(quick_amount(_("All that is left"), self.payment.refundable, self.payment.currency))
        return found

    def clean(self) -> dict[str, Any]:
        amount, through = self.cleaned_data.get("amount"), self.cleaned_data.get("through")
        if amount and through:
            left = self.limits[STRIPE if through == STRIPE else DESK]
            if amount > left:
                self.add_error("amount", refusal_words(NotRefundableError(left), self.payment, through))
            elif amount > self.allowed:
                self.add_error("amount", refusal_words(OverLimitError(self.allowed), self.payment, through))
            elif through == STRIPE:
                self._require_step(amount)
        return self.cleaned_data

    def _require_step(self, amount: int) -> None:
        """Add an error if Stripe can't refund this amount, because it moves the currency in larger steps only."""
        try:
            check_step(amount, self.payment.currency)
        except ValidationError as error:
            self.add_error("amount", error)

    @property
    def order(self) -> Order:
        """Return what is to be given back. Call it only when the form is valid."""
        values = {name: self.cleaned_data[name] for name in ("amount", "reason", "through")}
        return Order(**values, still_owed=bool(self.cleaned_data.get("still_owed")))


class ReasonForm(forms.Form):
    """Why staff correct an entry, or stop asking for money."""

    reason = forms.CharField(
        label=_("Reason"), max_length=200, widget=forms.TextInput({"autocomplete": "off", "autofocus": True})
    )


class CancelForm(CurrencyForm):
    """What the clinic keeps when it cancels an appointment: nothing by default, and at most the price."""

    def __init__(self, data: Any, *, payment: Payment) -> None:
        super().__init__(data, payment=payment)
        self.fields["fee"] = AmountField(
            label=_("The clinic keeps"),
            currency=payment.currency,
            most=payment.price,
            zero=True,
            required=False,
            initial=payment.appointment.fee_amount,
        )

    @property
    def quick_amounts(self) -> list[QuickAmount]:
        received = min(self.payment.amounts.net, self.payment.price)
        return [quick_amount(_("All that was received"), received, self.payment.currency)] if received > 0 else []
