"""Convert, format and parse amounts of money.

An amount is an integer, never a float, in the minor unit that Stripe uses for its currency, such as cents for "eur".
A currency is an ISO 4217 code in lower case.
"""

import re
from decimal import Decimal
from functools import lru_cache

from babel.numbers import format_decimal, get_currency_symbol
from django.core.exceptions import ValidationError
from django.utils.translation import get_language, to_locale
from django.utils.translation import gettext as _

# https://docs.stripe.com/currencies#zero-decimal and #three-decimal. ISK and UGX are shown without decimals,
# although Stripe counts them in hundredths (#special-cases).
ZERO_DECIMAL = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"}
)
THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
SHOWN_WHOLE = frozenset({"isk", "ugx"})
LARGEST = 99_999_999  # minor units, https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts


def exponent(currency: str) -> int:
    """Return how many decimal places the currency has at Stripe: 0, 2 or 3."""
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


def decimals_shown(currency: str) -> int:
    """Return how many decimal places people write in this currency; see SHOWN_WHOLE for the exceptions."""
    return 0 if currency in SHOWN_WHOLE else exponent(currency)


def to_decimal(amount: int, currency: str) -> Decimal:
    """Convert minor to major units exactly: (1234, "eur") -> Decimal("12.34")."""
    return Decimal(amount).scaleb(-exponent(currency))


def format_amount(amount: int, currency: str) -> str:
    """Format minor units for display in the active language: (123450, "eur") -> "1 234,50 €" in French."""
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
    """Format minor units without symbol, as typed in the active language: (5000, "eur") -> "50,00" in French."""
    text = f"{to_decimal(amount, currency):.{decimals_shown(currency)}f}"
    return text if (get_language() or "en").startswith("en") else text.replace(".", ",")


def parse_number(text: str) -> Decimal:
    """Convert a number that a person typed in the active language, such as "12,50", to an exact Decimal.

    Raises ValidationError unless the text is a number from zero upwards with at most nine digits before the decimal
    separator and three after it.
    """
    separators = "." if (get_language() or "en").startswith("en") else ".,"
    plain = re.sub(r"\s", "", text)
    if not re.fullmatch(rf"\d{{1,9}}(?:[{separators}]\d{{1,3}})?", plain, re.ASCII):
        raise ValidationError(_("Enter an amount such as 12.50."))
    return Decimal(plain.replace(",", "."))


def parse_amount(text: str, currency: str) -> int:
    """Convert an amount that a person typed in major units, such as "12.50", to minor units of `currency`.

    Raises ValidationError unless the amount is a number above zero, at most LARGEST, and has no more decimal places
    than the currency.
    """
    number = parse_number(text)
    if -int(number.as_tuple().exponent) > decimals_shown(currency):  # "12.500" may mean 12,500
        raise ValidationError(_("This amount has too many decimal places for its currency."))
    minor = int(number.scaleb(exponent(currency)))
    if minor == 0:
        raise ValidationError(_("Enter an amount above zero."))
    if minor > LARGEST:
        raise ValidationError(_("This amount is too large."))
    return minor
