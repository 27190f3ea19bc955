"""A reader of settings in environment variables, which refuses malformed values instead of guessing."""

import ipaddress
from collections.abc import Collection
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

SENTINEL = "redis+sentinel://"
TRUE, FALSE = ("1", "true", "on", "yes"), ("0", "false", "off", "no")


class Environment(environ.Env):  # type: ignore[misc]
    """django-environ's Env with stricter readers, which raise ImproperlyConfigured and name the wrong variable."""

    def switch(self, name: str, default: bool) -> bool:
        """Return True for 1, true, on or yes, False for 0, false, off or no; `default` if `name` is unset or empty."""
        word = self.str(name, "").strip().lower()
        if word and word not in TRUE + FALSE:
            raise ImproperlyConfigured(f"{name} is {word!r}. Set it to 1 or 0.")
        return word in TRUE if word else default

    def number(self, name: str, default: int) -> int:
        """Return the variable as a whole number, 0 or more; `default` if `name` is unset or empty."""
        word = self.str(name, "").strip()
        if word and not (word.isascii() and word.isdigit()):
            raise ImproperlyConfigured(f"{name} is {word!r}. Set it to a whole number.")
        return int(word) if word else default

    def choice(self, name: str, options: Collection[str], default: str) -> str:
        """Return the variable's value, which has to be one of `options`; `default` if `name` is unset or empty."""
        word = str(self.str(name, "") or default)
        if word not in options:
            raise ImproperlyConfigured(f"{name} is {word!r}. Set it to {' or '.join(options)}.")
        return word

    def lines(self, name: str) -> list[str]:
        """Return the lines of a text in which `|` separates them; none if `name` is unset or empty."""
        return [line.strip() for line in self.str(name, "").split("|") if line.strip()]

    def amounts(self, name: str, default: str) -> dict[str, int]:
        """Return a mapping of currencies to minor units, read from a value such as `eur=10000,chf=10000`.

        `default`, used if `name` is unset, is a text of that form.
        """
        amounts = {}
        for pair in filter(None, self.str(name, default).replace(" ", "").split(",")):
            currency, _, amount = pair.partition("=")
            if not (len(currency) == 3 and currency.isalpha() and amount.isascii() and amount.isdigit()):
                raise ImproperlyConfigured(f"{name} has {pair!r}. Write amounts in minor units, such as eur=10000.")
            amounts[currency.lower()] = int(amount)
        return amounts

    def networks(self, name: str) -> list[str]:
        """Return the networks in a value such as `10.0.0.0/8,fd00::/8`; none if `name` is unset or empty."""
        texts = list(filter(None, self.str(name, "").replace(" ", "").split(",")))
        try:
            for text in texts:
                ipaddress.ip_network(text)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name}: {error}. Write networks such as 10.0.0.0/8.") from error
        return texts

    def redis_place(self, name: str) -> dict[str, Any]:
        """Return where the Redis server in the variable is, as channels-redis wants it.

        `redis+sentinel://HOST:PORT,HOST:PORT/GROUP` names Sentinels, and the group whose master of the moment is meant.
        """
        url = self.str(name)
        if not url.startswith(SENTINEL):
            return {"address": url}
        places, _, group = url.removeprefix(SENTINEL).partition("/")
        sentinels = [place.rpartition(":") for place in places.split(",")]
        if not group or not all(host and port.isascii() and port.isdigit() for host, _, port in sentinels):
            raise ImproperlyConfigured(f"{name} is {url!r}. Write {SENTINEL}HOST:PORT,HOST:PORT/GROUP.")
        return {"sentinels": [(host, int(port)) for host, _, port in sentinels], "master_name": group}

    def mail_server(self, name: str) -> dict[str, Any]:
        """Return Django's EMAIL_* settings for the URL in the variable. If it is unset or empty, no e-mail is sent."""
        return dict(self.email_url_config(self.str(name, "") or "dummymail://"))
