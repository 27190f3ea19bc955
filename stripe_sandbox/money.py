"""Formats amounts in minor units, and knows each currency's decimals and Stripe's minimum amounts."""

# https://docs.stripe.com/currencies#zero-decimal and #three-decimal
_ZERO_DECIMAL = (
    *("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga"),
    *("pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"),
)
_THREE_DECIMAL = ("bhd", "jod", "kwd", "omr", "tnd")
_EXPONENTS = dict.fromkeys(_ZERO_DECIMAL, 0) | dict.fromkeys(_THREE_DECIMAL, 3)
# Stripe stores amounts in these currencies with two decimals that are always 00.
_WHOLE = ("isk", "ugx")
# https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
_MINIMUMS = {"eur": 50, "usd": 50, "chf": 50, "cad": 50, "gbp": 30, "jpy": 50, "xof": 100}
MAXIMUM = 99_999_999

_SYMBOLS = {"eur": "€", "usd": "$", "gbp": "£", "jpy": "¥", "cad": "CA$"}
_FRENCH_SYMBOLS = {"eur": "€", "usd": "$US", "gbp": "£GB", "cad": "$CA"}


def minimum(currency: str) -> int:
    return _MINIMUMS.get(currency, 1)


def format_money(amount: int, currency: str, language: str) -> str:
    """Format `amount` minor units for the language "en" or "fr".

    6000 "eur" gives "€60.00" in English and "60,00 €" in French, where the space is a no-break space.
    """
    exponent = _EXPONENTS.get(currency, 2)
    whole, part = divmod(abs(amount), 10**exponent)
    decimals = f"{part:0{exponent}d}" if exponent and currency not in _WHOLE else ""
    sign = "-" if amount < 0 else ""
    if language == "fr":
        number = f"{whole:,}".replace(",", "\u202f") + (f",{decimals}" if decimals else "")
        return f"{sign}{number}\u00a0{_FRENCH_SYMBOLS.get(currency, currency.upper())}"
    number = f"{whole:,}" + (f".{decimals}" if decimals else "")
    symbol = _SYMBOLS.get(currency)
    return f"{sign}{symbol}{number}" if symbol else f"{sign}{currency.upper()}\u00a0{number}"
