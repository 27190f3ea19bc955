"""Tests that settings are read from environment variables, and that an invalid value raises ImproperlyConfigured."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from payments_site.environment import Environment

NAME = "SOME_SETTING"


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.delenv(NAME, raising=False)
    return Environment()


@pytest.mark.parametrize(("value", "on"), [("1", True), ("On", True), ("0", False), ("false", False), ("", True)])
def test_a_switch_is_on_or_off(env: Environment, monkeypatch: pytest.MonkeyPatch, value: str, on: bool) -> None:
    monkeypatch.setenv(NAME, value)
    assert env.switch(NAME, default=True) is on


def test_what_is_not_set_has_its_default(env: Environment) -> None:
    assert env.switch(NAME, default=False) is False
    assert env.number(NAME, 12) == 12
    assert env.choice(NAME, ("fr", "en"), "fr") == "fr"
    assert env.amounts(NAME, "eur=10000, chf=5") == {"eur": 10000, "chf": 5}
    assert env.mail_server(NAME)["EMAIL_BACKEND"] == "django.core.mail.backends.dummy.EmailBackend"


def test_lines_are_separated_by_bars(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.lines(NAME) == []
    monkeypatch.setenv(NAME, "SIRET 123, Lyon | TVA: 0 |")
    assert env.lines(NAME) == ["SIRET 123, Lyon", "TVA: 0"]


def test_redis_is_named_by_its_address_or_by_sentinels(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "redis://127.0.0.1:6379/0")
    assert env.redis_place(NAME) == {"address": "redis://127.0.0.1:6379/0"}
    monkeypatch.setenv(NAME, "redis+sentinel://10.0.0.1:26379,redis-2:26380/clinic")
    assert env.redis_place(NAME) == {"sentinels": [("10.0.0.1", 26379), ("redis-2", 26380)], "master_name": "clinic"}


@pytest.mark.parametrize("places", ["", "10.0.0.1:26379", "10.0.0.1/clinic", "10.0.0.1:port/clinic", "/clinic"])
def test_sentinels_without_port_or_group_are_refused(
    env: Environment, monkeypatch: pytest.MonkeyPatch, places: str
) -> None:
    monkeypatch.setenv(NAME, f"redis+sentinel://{places}")
    with pytest.raises(ImproperlyConfigured, match=NAME):
        env.redis_place(NAME)


@pytest.mark.parametrize("value", ["maybe", "-1", "1.5", "eur", "eur=1.50", "euro=1", "eur=1;chf=2"])
def test_a_value_that_is_not_understood_is_refused(
    env: Environment, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(NAME, value)
    for read in (
        lambda: env.switch(NAME, default=True),
        lambda: env.number(NAME, 1),
        lambda: env.choice(NAME, ("fr", "en"), "fr"),
        lambda: env.amounts(NAME, ""),
    ):
        with pytest.raises(ImproperlyConfigured, match=NAME):
            read()
