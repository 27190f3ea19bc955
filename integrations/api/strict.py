"""Reads JSON and values strictly: what isn't exactly of the documented type is refused instead of converted.

Python's JSON parser and Pydantic would accept NaN, the last of two members with one name, `true` as 1, "1_000" as 1000,
and text that no database can store.
"""

import datetime
import json
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from appointments.models import FIRST_DAY, LAST_DAY
from people import external_ids

from .problems import Problem

MOST_DIGITS = 15  # of a number in JSON: what every program reads exactly
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
UNSTORABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # controls, and halves of a character


class Refused:
    """A value in JSON that no field accepts; `reason` is the sentence that says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _number(text: str) -> int | Refused:
    return int(text) if len(text) <= MOST_DIGITS else Refused(f"A number has at most {MOST_DIGITS} digits.")


def _constant(text: str) -> Refused:
    return Refused(f"{text} is not a number that JSON knows.")


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members:
        found[name] = Refused("This name occurs twice.") if name in found else value
    return found


def read_json(body: bytes) -> Any:
    """Return the JSON document in the body; values that no field accepts are returned as Refused. Raises Problem."""
    try:
        return json.loads(body.decode(), object_pairs_hook=_object, parse_int=_number, parse_constant=_constant)
    except (ValueError, RecursionError):
        raise Problem(400, "The body is not a JSON document in UTF-8.") from None


class StrictSchema(BaseModel):
    """A JSON object with exactly the declared members, each of exactly the declared type.

    It isn't ninja's Schema, which reads members as attributes and so ignores unknown ones.
    """

    model_config = ConfigDict(strict=True, extra="forbid")


def _refuse(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence})


def _plain(text: str) -> str:
    if UNSTORABLE.search(text):
        raise _refuse("Text must not hold control characters or halves of surrogate pairs.")
    return text


def _in_range(day: datetime.date) -> bool:
    return FIRST_DAY <= day <= LAST_DAY


def _moment(value: object) -> datetime.datetime:
    """Return the moment in a text such as "2026-03-09T14:30:00+01:00"; another value is refused."""
    if isinstance(value, str) and MOMENT.fullmatch(value):
        try:
            moment = datetime.datetime.fromisoformat(value).astimezone(datetime.UTC)
        except (ValueError, OverflowError):
            pass
        else:
            if _in_range(moment.date()):
                return moment
    raise _refuse("This must be a time with its offset as in RFC 3339, such as 2026-03-09T14:30:00+01:00.")


def _day(value: object) -> datetime.date:
    """Return the day in a text such as "1980-12-31"; another value is refused."""
    if isinstance(value, str) and DAY.fullmatch(value):
        try:
            day = datetime.date.fromisoformat(value)
        except ValueError:
            pass
        else:
            if _in_range(day):
                return day
    raise _refuse("This must be a day such as 1980-12-31.")


def _whole(value: object) -> int:
    """Return the whole number in a parameter of an address; a text with anything but digits is refused.

    An operation's own default is a number already.
    """
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= MOST_DIGITS:
        return int(value)
    raise _refuse(f"This must be a whole number of at most {MOST_DIGITS} digits.")


PLAIN = AfterValidator(_plain)  # for a field with text: the database can store it
WHOLE = BeforeValidator(_whole)  # for a number in an address
Id = Annotated[int, Field(ge=1, le=2**53 - 1)]
Amount = Annotated[int, Field(ge=0, le=99_999_999, description="In minor units of the currency.", examples=[5500])]
Moment = Annotated[
    datetime.datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-09T14:30:00+01:00"]}),
]
Day = Annotated[
    datetime.date,
    BeforeValidator(_day),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["1980-12-31"]}),
]
ExternalId = Annotated[
    str,
    Field(
        pattern=rf"^{external_ids.VALID.pattern}$",
        description="The id in the other software: letters without accents, digits, and any of . _ ~ : -",
        examples=["patient-4711"],
    ),
]
