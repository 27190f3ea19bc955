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
        (-1050, "eur", f"−10,50{NBSP}€", "−€10.50"),
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


CHARGEABLE = [("eur", 0), ("eur", 50), ("eur", 99_999_999), ("gbp", 30), ("chf", 50), ("usd", 50), ("jpy", 50),
              ("kwd", 10), ("kwd", 12_340), ("isk", 500)]  # fmt: skip
REFUSED = [
    ("eur", 30, "from €0.50 to €999,999.99"),
    ("eur", 49, "from €0.50 to €999,999.99"),
    ("eur", 100_000_000, "from €0.50 to €999,999.99"),
    ("gbp", 29, "from £0.30 to £999,999.99"),
    ("jpy", 49, "from ¥50 to ¥99,999,999"),
    ("kwd", 5, f"from KWD{NBSP}0.010 to KWD{NBSP}99,999.990"),
    ("kwd", 12_345, f"in steps of KWD{NBSP}0.010"),
    ("isk", 550, f"in steps of ISK{NBSP}1"),
]


@pytest.mark.parametrize(("currency", "amount"), CHARGEABLE)
def test_a_price_is_nothing_or_what_stripe_charges(currency: str, amount: int) -> None:
    money.check_price(amount, currency)
    if amount:
        with translation.override("en"):
            assert money.parse_amount(money.number_text(amount, currency), currency) == amount


@pytest.mark.parametrize(("currency", "amount", "limits"), REFUSED)
def test_a_price_that_stripe_refuses_is_refused_with_the_limits(currency: str, amount: int, limits: str) -> None:
    with translation.override("en"), pytest.raises(ValidationError) as refused:
        money.check_price(amount, currency)
    assert limits in refused.value.messages[0]


def test_each_currency_has_limits_within_its_own_steps() -> None:
    for code, currency in money.CURRENCIES.items():
        assert 0 < currency.least < currency.most, code
        assert currency.least % currency.step == currency.most % currency.step == 0, code
        assert money.is_chargeable(currency.least, code), code
        assert not money.is_chargeable(currency.least - 1, code), code
        assert not money.is_chargeable(currency.most + 1, code), code


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
