"""Convert, format and parse amounts of money.

An amount is an integer, never a float, in the minor unit that Stripe uses for its currency, such as cents for "eur".
A currency is an ISO 4217 code in lower case.
"""

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache

from babel.numbers import format_decimal, get_currency_symbol
from django.core.exceptions import ValidationError
from django.utils.translation import get_language, to_locale
from django.utils.translation import gettext as _


@dataclass(frozen=True, slots=True)
class Currency:
    """What Stripe says about a currency. Amounts are in its minor unit. https://docs.stripe.com/currencies

    `decimals` is the number of decimal places of Stripe's minor unit, and `shown` the number that people write. Stripe
    charges amounts from `least` to `most` that are divisible by `step`.
    """

    decimals: int = 2
    shown: int = 2
    least: int = 1
    most: int = 99_999_999
    step: int = 1


WHOLE = Currency(decimals=0, shown=0)
THOUSANDTHS = Currency(decimals=3, shown=3, least=10, most=99_999_990, step=10)
WHOLE_IN_HUNDREDTHS = Currency(shown=0, least=100, most=99_999_900, step=100)  # Stripe counts in hundredths
# The minimum is that of an account which is paid out in this currency; Stripe converts it for other accounts, and
# publishes none for other currencies. A card may be charged more than `most` in a few currencies, such as JPY.
CURRENCIES = {
    **dict.fromkeys(("bif", "clp", "djf", "gnf", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"),
                    WHOLE),
    **dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), THOUSANDTHS),
    **dict.fromkeys(("isk", "ugx"), WHOLE_IN_HUNDREDTHS),
    **dict.fromkeys(("aud", "brl", "cad", "chf", "eur", "nzd", "sgd", "usd"), Currency(least=50)),
    **dict.fromkeys(("aed", "myr", "pln", "ron"), Currency(least=200)),
    **dict.fromkeys(("nok", "sek"), Currency(least=300)),
    **dict.fromkeys(("mxn", "thb"), Currency(least=1000)),
    "bgn": Currency(least=100),
    "czk": Currency(least=1500),
    "dkk": Currency(least=250),
    "gbp": Currency(least=30),
    "hkd": Currency(least=400),
    "huf": Currency(least=17_500),
    "idr": Currency(most=999_999_999_999),
    "inr": Currency(least=50, most=999_999_999),
    "jpy": replace(WHOLE, least=50),
}  # fmt: skip


def currency_of(code: str) -> Currency:
    """Return what Stripe says about the currency with this code."""
    return CURRENCIES.get(code, Currency())


def is_chargeable(amount: int, code: str) -> bool:
    """Return whether Stripe charges such an amount, in minor units of this currency."""
    currency = currency_of(code)
    return currency.least <= amount <= currency.most and amount % currency.step == 0


def check_price(amount: int, code: str) -> None:
    """Raise ValidationError if Stripe can't charge `amount` minor units. 0 is valid: then there is nothing to pay."""
    currency = currency_of(code)
    if amount and not currency.least <= amount <= currency.most:
        limits = {"least": format_amount(currency.least, code), "most": format_amount(currency.most, code)}
        raise ValidationError(
            _("Stripe takes from %(least)s to %(most)s. Enter 0 if there is nothing to pay."), params=limits
        )
    check_step(amount, code)


def check_step(amount: int, code: str) -> None:
    """Raise ValidationError if Stripe neither charges nor refunds `amount`, in minor units, as its steps are larger."""
    step = currency_of(code).step
    if amount % step:
        said = _("Stripe takes this currency in steps of %(step)s.")
        raise ValidationError(said, params={"step": format_amount(step, code)})


def to_decimal(amount: int, currency: str) -> Decimal:
    """Convert minor to major units exactly: (1234, "eur") -> Decimal("12.34")."""
    return Decimal(amount).scaleb(-currency_of(currency).decimals)


def format_amount(amount: int, currency: str) -> str:
    """Format minor units for display in the active language: (123450, "eur") -> "1 234,50 €" in French."""
    return _formatted(amount, currency, to_locale(get_language() or "en"))


@lru_cache(maxsize=4096)
def _formatted(amount: int, currency: str, locale: str) -> str:
    places = currency_of(currency).shown
    pattern = "#,##0" + ("." + "0" * places if places else "")
    sign = "−" if amount < 0 else ""
    number = format_decimal(to_decimal(abs(amount), currency), pattern, locale=locale)
    symbol = get_currency_symbol(currency.upper(), locale)
    if locale.startswith("en"):
        return f"{sign}{symbol}\u00a0{number}" if symbol[-1].isalpha() else f"{sign}{symbol}{number}"
    return f"{sign}{number}\u00a0{symbol}"


def number_text(amount: int, currency: str) -> str:
    """Format minor units without symbol, as typed in the active language: (5000, "eur") -> "50,00" in French."""
    text = f"{to_decimal(amount, currency):.{currency_of(currency).shown}f}"
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

    Raises ValidationError unless the amount is a number above zero, not more than Stripe charges, and has no more
    decimal places than the currency.
    """
    number = parse_number(text)
    if -int(number.as_tuple().exponent) > currency_of(currency).shown:  # "12.500" may mean 12,500
        raise ValidationError(_("This amount has too many decimal places for its currency."))
    minor = int(number.scaleb(currency_of(currency).decimals))
    if minor == 0:
        raise ValidationError(_("Enter an amount above zero."))
    if minor > currency_of(currency).most:
        most = format_amount(currency_of(currency).most, currency)
        raise ValidationError(_("Enter at most %(most)s."), params={"most": most})
    return minor
