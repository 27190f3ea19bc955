"""A test client of the HTTP API, which sends JSON and a key."""

import json
from typing import Any

from django.test import Client

from accounts.models import User
from integrations.models import ApiKey

ALL = {"may_read": True, "may_book": True, "may_take_money": True}


def make_key(acts_as: User, name: str = "Agenda", **fields: Any) -> tuple[ApiKey, str]:
    """Return a stored key with all scopes unless `fields` say otherwise, and its text."""
    key = ApiKey(name=name, acts_as=acts_as, **ALL | fields)
    text = key.new_text()
    key.save()
    return key, text


class ApiClient:
    """Sends requests with an API key, and JSON bodies. `last` is the newest response."""

    def __init__(self, key: str = "") -> None:
        self.client, self.key = Client(raise_request_exception=False), key

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Return the response; `body` is sent as JSON, or as it is if it is bytes."""
        if self.key:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        content_type = headers.pop("content_type", "application/json")
        return self.client.generic(method, path, data, content_type=content_type, headers=headers)

    def get(self, path: str, **headers: str) -> Any:
        return self.ask("GET", path, **headers)

    def put(self, path: str, body: Any, **headers: str) -> Any:
        return self.ask("PUT", path, body, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.ask("POST", path, {} if body is None else body, **headers)


def wrong_places(response: Any) -> set[str]:
    """Return the places that a problem's entries name, such as "#/last_name" or "after"."""
    places = ("pointer", "parameter", "header")
    return {next(error[place] for place in places if place in error) for error in response.json()["errors"]}
