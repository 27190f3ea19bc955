"""How the apps declare and read their settings, and the settings that all of them need.

An app lists its settings in its own conf.py, as attributes of a class. Code reads `app_settings.CLINIC_SITE_URL` when
it needs the value, which comes from the project's settings or is the default. `problems` explains what is missing or
wrong, for the apps' system checks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A type of setting. `name` says in an error message what is wanted; `accepts` returns whether a value is that."""

    name: str
    accepts: Callable[[Any], bool]


def _is_origin(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:  # the port is no number
        return False
    return bool(host) and parts.scheme in ("http", "https") and value == f"{parts.scheme}://{parts.netloc}"


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _are_networks(value: Any) -> bool:
    try:
        return isinstance(value, list | tuple) and all(ip_network(str(each)) for each in value)
    except ValueError:
        return False


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_amounts(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(currency, str) and len(currency) == 3 and currency.islower() and _is_count(amount)
        for currency, amount in value.items()
    )


TEXT = Kind[str]("a string", lambda value: isinstance(value, str))
TEXTS = Kind[list[str]]("a list of strings", _are_texts)
SWITCH = Kind[bool]("True or False", lambda value: isinstance(value, bool))
COUNT = Kind[int]("a whole number, 0 or more", _is_count)
SECONDS = Kind[float]("a number of seconds, 0 or more", lambda value: type(value) in (int, float) and value >= 0)
ORIGIN = Kind[str]('scheme, host and, if needed, port, without "/" at the end: "https://clinic.example"', _is_origin)
AMOUNTS = Kind[dict[str, int]]('whole minor units by currency, such as {"eur": 10000}', _are_amounts)
NETWORKS = Kind[list[str]]('a list of IP networks, such as ["10.0.0.0/8"]', _are_networks)


@dataclass
class Setting(Generic[T]):
    """A setting, declared as an attribute of a class; it has the attribute's name.

    If `default` is None, the project must set it, and `example` is what the line to add has after "=".
    """

    kind: Kind[T]
    meaning: str
    default: T | None = None
    example: str = ""
    name: str = field(init=False)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> T:
        """Return the setting's value. Raises ImproperlyConfigured if the project must set it and doesn't."""
        value: T | None = getattr(settings, self.name, self.default)
        if value is None:
            raise ImproperlyConfigured(f"{self.name} is not set. {self.meaning} {self.how_to_add}")
        return value

    @property
    def how_to_add(self) -> str:
        return f"Add to your settings: {self.name} = {self.example}"


class PeopleSettings:
    CLINIC_SITE_URL = Setting(
        ORIGIN,
        "The site's public address, with which links in e-mails, calendars and Stripe's pages begin.",
        example='"https://clinic.example"',
    )
    CLINIC_SIGN_IN = Setting(
        TEXT,
        "The dotted path of a subclass of people.sign_in.SignIn, if people don't just sign in on Django's own pages.",
        default="people.sign_in.SignIn",
    )


app_settings = PeopleSettings()


def declared(owner: type) -> Iterator[Setting[Any]]:
    """Yield the settings that the class itself declares, without those that it inherits."""
    return (each for each in vars(owner).values() if isinstance(each, Setting))


def problems(owner: type, label: str) -> list[CheckMessage]:
    """Return an Error for each setting of the class that is missing or of a wrong type; `label` is that of the app."""
    found: list[CheckMessage] = []
    for each in declared(owner):
        value = getattr(settings, each.name, each.default)
        if value is None:
            found.append(Error(f"{each.name} is not set. {each.meaning}", hint=each.how_to_add, id=f"{label}.E100"))
        elif not each.kind.accepts(value):
            found.append(
                Error(f"{each.name} has a wrong value.", hint=f"Set it to {each.kind.name}.", id=f"{label}.E101")
            )
    return found
