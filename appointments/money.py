"""Amounts are integers in Stripe's minor unit with a lower-case ISO 4217 currency beside them; never floats."""

import re
from decimal import Decimal
from functools import lru_cache

from babel.numbers import format_decimal, get_currency_symbol
from django.core.exceptions import ValidationError
from django.utils.translation import get_language, to_locale
from django.utils.translation import gettext as _

# https://docs.stripe.com/currencies#zero-decimal and #three-decimal. ISK and UGX have no decimals when shown,
# but Stripe counts them in hundredths (#special-cases).
ZERO_DECIMAL = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"}
)
THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
SHOWN_WHOLE = frozenset({"isk", "ugx"})
LARGEST = 99_999_999  # minor units, https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts


def exponent(currency: str) -> int:
    """Decimal places of Stripe's minor unit: 0, 2 or 3."""
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


def decimals_shown(currency: str) -> int:
    return 0 if currency in SHOWN_WHOLE else exponent(currency)


def to_decimal(amount: int, currency: str) -> Decimal:
    """Minor units -> major units, exact: (1234, "eur") -> Decimal("12.34")."""
    return Decimal(amount).scaleb(-exponent(currency))


def format_amount(amount: int, currency: str) -> str:
    """Minor units -> text in the active language: (123450, "eur") -> "1 234,50 €" in French."""
    return _formatted(amount, currency, to_locale(get_language() or "en"))


@lru_cache(maxsize=4096)
def _formatted(amount: int, currency: str, locale: str) -> str:
    places = decimals_shown(currency)
    pattern = "#,##0" + ("." + "0" * places if places else "")
    number = format_decimal(to_decimal(amount, currency), pattern, locale=locale)
    symbol = get_currency_symbol(currency.upper(), locale)
    if locale.startswith("en"):
        return f"{symbol}\u00a0{number}" if symbol[-1].isalpha() else f"{symbol}{number}"
    return f"{number}\u00a0{symbol}"


def number_text(amount: int, currency: str) -> str:
    """Minor units -> what a person would type for it, in the active language: (5000, "eur") -> "50,00" in French."""
    text = f"{to_decimal(amount, currency):.{decimals_shown(currency)}f}"
    return text if (get_language() or "en").startswith("en") else text.replace(".", ",")


def parse_number(text: str) -> Decimal:
    """What a person typed, in the active language ("12,50" or "12.50") -> major units, exact; at most three decimals.

    Raises ValidationError for anything but a plain number of zero or more.
    """
    separators = "." if (get_language() or "en").startswith("en") else ".,"
    plain = re.sub(r"\s", "", text)
    if not re.fullmatch(rf"\d{{1,9}}(?:[{separators}]\d{{1,3}})?", plain, re.ASCII):
        raise ValidationError(_("Enter an amount such as 12.50."))
    return Decimal(plain.replace(",", "."))


def parse_amount(text: str, currency: str) -> int:
    """The same -> minor units.

    Raises ValidationError for anything but a positive plain number with no more decimals than the currency has,
    LARGEST at most.
    """
    number = parse_number(text)
    if -int(number.as_tuple().exponent) > decimals_shown(currency):  # 12.500 may have been meant as thousands
        raise ValidationError(_("This currency has no such small amounts."))
    minor = int(number.scaleb(exponent(currency)))
    if minor == 0:
        raise ValidationError(_("Enter an amount above zero."))
    if minor > LARGEST:
        raise ValidationError(_("This amount is too large."))
    return minor
