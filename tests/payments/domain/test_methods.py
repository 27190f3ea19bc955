"""Tests that forms, the ledger, receipts and exports support every payment method of the enum `Method`."""

from uuid import uuid4

import pytest
from django.utils.translation import override

from accounts.models import User
from payments.desk import till
from payments.desk.exports import cells
from payments.desk.journal import lines_of
from payments.domain.methods import Method, method_label
from payments.domain.movements import MovementKind
from payments.forms import TakePaymentForm
from payments.models import Payment


@pytest.mark.django_db
@pytest.mark.parametrize("method", Method)
def test_each_desk_method_is_offered_recorded_printed_and_exported(
    method: Method, payment: Payment, clerk: User
) -> None:
    form = TakePaymentForm({"method": method.value, "amount": "50,00"}, payment=payment)
    assert form.is_valid()
    assert form.cleaned_data["method"] is method
    till.take_payment(payment, payment.amount_due, method, clerk, key=uuid4().hex)
    payment.refresh_from_db()
    assert payment.method == method
    assert [line.label for line in lines_of(payment)] == [f"{MovementKind.PAYMENT.label} · {method.label}"]
    assert method.label in list(cells(payment))


@pytest.mark.parametrize(
    ("method", "label"),
    [
        ("sepa_debit", "SEPA Direct Debit"),
        ("card", "Card"),
        ("link", "Link"),
        ("paypal", "PayPal"),
        ("bancontact", "Bancontact"),
        ("ideal", "iDEAL"),
        ("customer_balance", "Bank transfer"),
        ("cash", "Cash"),
        ("new_kind", "new kind"),
        ("", ""),
    ],
)
def test_a_stripe_method_has_a_label_even_when_it_is_new(method: str, label: str) -> None:
    with override("en"):
        assert method_label(method) == label
