"""Search for people by phone number, however it is written: +33 6 12 34 56 78 finds 06.12.34.56.78."""

import re
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import CharField, Lookup, Value
from django.db.models.functions import Replace
from django.db.models.lookups import Contains

NUMBER = re.compile(r"[\d+()./\s-]+")
BETWEEN_DIGITS = " .-/()\u00a0\u202f"
FEWEST = 6  # digits of a number that tells people apart
NATIONAL = 9  # a number's last digits; before them stand the country's code or, in its place, a 0


def as_one_word(text: str) -> str:
    """Return the text, without spaces if it is a phone number, so that a search by words keeps the number whole."""
    return "".join(text.split()) if NUMBER.fullmatch(text) else text


def is_phone_number(text: str) -> bool:
    """Return whether the text may be a phone number, or enough of one to search for it."""
    return bool(NUMBER.fullmatch(text)) and len(re.sub(r"\D", "", text)) >= FEWEST


class ContainsNumber(Lookup):
    """The lookup `number`: whether a phone number contains the digits of a text, without the text's first zeros.

    Only the text's last NATIONAL digits are compared, so that country codes don't matter. A text with letters or other
    signs that don't belong to a phone number finds nobody.
    """

    lookup_name = "number"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        digits = re.sub(r"\D", "", self.rhs).lstrip("0")[-NATIONAL:] if NUMBER.fullmatch(self.rhs) else ""
        if not digits:
            raise EmptyResultSet
        stored = self.lhs
        for mark in BETWEEN_DIGITS:
            stored = Replace(stored, Value(mark), output_field=CharField())
        return compiler.compile(Contains(stored, digits))
