"""Tests that amounts are formatted from Stripe's minor units and parsed from what people type."""

import ast
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.utils import translation

from appointments import money

ROOT = Path(__file__).parents[2]
NNBSP, NBSP = "\u202f", "\u00a0"


@pytest.mark.parametrize(
    ("amount", "currency", "french", "english"),
    [
        (123450, "eur", f"1{NNBSP}234,50{NBSP}€", "€1,234.50"),
        (5000, "jpy", f"5{NNBSP}000{NBSP}¥", "¥5,000"),
        (12340, "kwd", f"12,340{NBSP}KWD", f"KWD{NBSP}12.340"),
        (500, "isk", f"5{NBSP}ISK", f"ISK{NBSP}5"),
        (0, "eur", f"0,00{NBSP}€", "€0.00"),
    ],
)
def test_amounts_are_shown_as_each_language_writes_them(amount: int, currency: str, french: str, english: str) -> None:
    with translation.override("fr"):
        assert money.format_amount(amount, currency).replace("JPY", "¥") == french
    with translation.override("en"):
        assert money.format_amount(amount, currency) == english


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.50", "eur", 1250),
        ("12,5", "eur", 1250),
        (f"1{NNBSP}234,50", "eur", 123450),
        ("500", "jpy", 500),
        ("12.34", "kwd", 12340),
        ("7", "isk", 700),
    ],
)
def test_what_people_type_becomes_minor_units(text: str, currency: str, minor: int) -> None:
    with translation.override("fr"):
        assert money.parse_amount(text, currency) == minor


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "0.001", "1e9", "1e2", "1,5", "١٠", "NaN", "inf", "1.2.3", "12,345.00", "9999999999", "1000000"],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with translation.override("en"), pytest.raises(ValidationError):
        money.parse_amount(text, "eur")


@pytest.mark.parametrize(("text", "currency"), [("1.5", "jpy"), ("0.5", "isk"), ("1.2345", "kwd")])
def test_more_decimals_than_the_currency_has_are_refused(text: str, currency: str) -> None:
    with pytest.raises(ValidationError):
        money.parse_amount(text, currency)


MONEY_MODULES = [
    "appointments/money.py",
    "appointments/models.py",
    "payments/forms.py",
    "payments/ledger.py",
    "payments/gateway/objects.py",
    "payments/gateway/checkout.py",
    "payments/gateway/refunds.py",
    *(
        str(path.relative_to(ROOT))
        for wing in ("domain", "desk", "models")
        for path in (ROOT / "payments" / wing).glob("*.py")
    ),
]


@pytest.mark.parametrize("path", MONEY_MODULES)
def test_no_float_touches_money(path: str) -> None:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "float")
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float))
        assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))


def test_decimals_that_a_currency_lacks_may_have_been_meant_as_thousands() -> None:
    with translation.override("fr"), pytest.raises(ValidationError):
        money.parse_amount("12.500", "eur")
