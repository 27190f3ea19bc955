"""Tests of the system checks: each wrong setting gives its message, and a sound configuration gives no message."""

from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Tags, run_checks
from pytest_django.fixtures import Settings

from payments import checks
from payments.conf import STRIPE
from people.loopback import is_loopback

SECRET = "aB3-x" * 12
POSTGRES = {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": 0, "OPTIONS": {}}
MEMORY = "channels.layers.InMemoryChannelLayer"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
CORE, PUBSUB = "channels_redis.core.RedisChannelLayer", "channels_redis.pubsub.RedisPubSubChannelLayer"


def layers(backend: str, *hosts: object) -> dict[str, Any]:
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": list(hosts)}}}


def sqlite(**fields: object) -> dict[str, Any]:
    return {"ENGINE": "django.db.backends.sqlite3", "OPTIONS": {"transaction_mode": "IMMEDIATE"}, **fields}


@pytest.fixture(autouse=True)
def healthy(settings: Settings) -> None:
    """Give each test the sound configuration of a developer's laptop with the Stripe sandbox."""
    settings.CLINIC_SITE_URL = "http://127.0.0.1:8000"
    settings.SECRET_KEY = SECRET
    settings.CLINIC_WEB_PROCESSES = 1


def configure(settings: Settings, given: dict[str, Any]) -> None:
    """Set the settings in `given`; "DATABASE" stands for DATABASES["default"]. Open connections are not changed."""
    settings.CLINIC_ADDRESS = "1 Station Road, Leeds"  # the default is the sample's
    for name, value in given.items():
        if name == "DATABASE":
            settings.DATABASES = {"default": value}
        else:
            setattr(settings, name, value)


def messages() -> list[CheckMessage]:
    """Return what our own checks say, without Django's."""
    found = run_checks(tags=[checks.TAG, Tags.security])
    return [message for message in found if str(message.id).startswith("clinic_")]


def test_a_laptop_with_the_sandbox_is_fine() -> None:
    assert checks.problems() == []


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "processes, in-memory layer": ({"CLINIC_WEB_PROCESSES": 2, "DATABASE": POSTGRES}, "payments.W001", "REDIS_URL"),
    "several processes, SQLite": (
        {"CLINIC_WEB_PROCESSES": 2, "CHANNEL_LAYERS": layers(PUBSUB, "redis://r"), "DATABASE": sqlite()},
        "payments.W009", "DATABASE_URL",
    ),
    "the sample clinic's address": (
        {"CLINIC_SITE_URL": "https://pay.clinic.example", "CLINIC_ADDRESS": checks.SAMPLE_ADDRESS, "REQUIRE_MFA": True},
        "payments.W010", "CLINIC_NAME",
    ),
    "PostgreSQL, in-memory layer": ({"DATABASE": POSTGRES}, "payments.W001", "REDIS_URL"),
    "an SMS function that isn't there": ({"CLINIC_SMS_FUNCTION": "clinic.sms"}, "payments.E009", "send(phone, text)"),
    "no Stripe key": ({"STRIPE_SECRET_KEY": ""}, "payments.W002", "Dashboard"),
    "a short Stripe key": ({"STRIPE_SECRET_KEY": "sk_test_123"}, "payments.E001", "at least 24"),
    "a publishable key": ({"STRIPE_SECRET_KEY": "pk_test_" + "0" * 24}, "payments.E001", "rk_test_"),
    "a live key in test mode": (
        {"STRIPE_SECRET_KEY": "sk_live_" + "0" * 24, "STRIPE_API_HOST": STRIPE}, "payments.E002", "to True"
    ),
    "a test key in live mode": ({"STRIPE_LIVE_MODE": True}, "payments.E002", "STRIPE_LIVE_MODE to False"),
    "a live key at the sandbox": (
        {"STRIPE_SECRET_KEY": "rk_live_" + "0" * 24, "STRIPE_LIVE_MODE": True}, "payments.E003", "STRIPE_API_HOST"
    ),
    "no webhook secret": ({"STRIPE_WEBHOOK_SECRETS": []}, "payments.W003", "stripe listen"),
    "an API key as webhook secret": ({"STRIPE_WEBHOOK_SECRETS": ["whsec_1", "sk_1"]}, "payments.E004", "stripe_setup"),
    "no account": ({"STRIPE_ACCOUNT_ID": ""}, "payments.W004", "acct_"),
    "redis-py's own time-out": ({"CHANNEL_LAYERS": layers(CORE, "redis://r")}, "payments.E005", "socket_timeout: 15"),
    "a short time-out": (
        {"CHANNEL_LAYERS": layers(CORE, {"address": "redis://r", "socket_timeout": 5})}, "payments.E005", "15"
    ),
    "no time-out": (
        {"CHANNEL_LAYERS": layers(PUBSUB, {"address": "redis://r", "socket_timeout": None})}, "payments.W005", "15"
    ),
    "SQLite with deferred transactions": ({"DATABASE": sqlite(OPTIONS={})}, "payments.E006", "IMMEDIATE"),
    "persistent connections": ({"DATABASE": sqlite(CONN_MAX_AGE=60)}, "payments.W006", "DATABASE_POOL"),
    "DEBUG in public": (
        {"DEBUG": True, "REQUIRE_MFA": True, "CLINIC_SITE_URL": "https://clinic.example"}, "payments.E007", "to False"
    ),
    "no second factor in public": ({"CLINIC_SITE_URL": "https://clinic.example"}, "accounts.W001", "REQUIRE_MFA=1"),
    "guesses that each process counts for itself": (
        {
            "CLINIC_WEB_PROCESSES": 2, "CHANNEL_LAYERS": layers(PUBSUB, "redis://r"), "DATABASE": POSTGRES,
            "CACHES": {"default": {"BACKEND": LOCMEM}},
        },
        "accounts.W002", "database",
    ),
    "a short SECRET_KEY": ({"SECRET_KEY": "secret"}, "payments.E008", "token_urlsafe"),
    "Django's own SECRET_KEY": ({"SECRET_KEY": "django-insecure-" + SECRET}, "payments.E008", "token_urlsafe"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_configuration_is_explained_with_its_fix(case: str, settings: Settings) -> None:
    given, problem, fix = WRONG[case]
    configure(settings, given)
    (found,) = messages()
    assert found.id == f"clinic_{problem}"
    assert isinstance(found, Error) == (".E" in problem)
    assert fix in str(found.hint)


RIGHT: dict[str, dict[str, Any]] = {
    "a restricted key": {"STRIPE_SECRET_KEY": "rk_test_" + "a" * 99},
    "live": {
        "STRIPE_SECRET_KEY": "sk_live_" + "0" * 24,
        "STRIPE_LIVE_MODE": True,
        "STRIPE_API_HOST": STRIPE,
    },
    "a secret being rotated": {"STRIPE_WEBHOOK_SECRETS": ["whsec_1", "whsec_2"]},
    "pub/sub with a short time-out": {"CHANNEL_LAYERS": layers(PUBSUB, "redis://r")},
    "several processes with Redis and PostgreSQL": {
        "CHANNEL_LAYERS": layers(PUBSUB, {"address": "redis://r", "socket_timeout": 15}),
        "CLINIC_WEB_PROCESSES": 4,
        "DATABASE": POSTGRES,
    },
    "DEBUG at home": {"DEBUG": True, "SECRET_KEY": "short"},
}


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
@pytest.mark.parametrize("case", RIGHT)
def test_a_right_configuration_is_left_in_peace(case: str, settings: Settings) -> None:
    configure(settings, RIGHT[case])
    assert messages() == []


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:9", "clinic.localhost"])
def test_loopback_addresses_are_this_machine(host: str) -> None:
    assert is_loopback(f"http://{host}")


@pytest.mark.parametrize("host", ["clinic.example", "10.0.0.1", "127.0.0.1.example", "localhost.example", ""])
def test_others_are_not(host: str) -> None:
    assert not is_loopback(f"http://{host}")


def test_django_s_deployment_checks_count_where_the_site_is_public(settings: Settings) -> None:
    settings.CLINIC_SITE_URL = "https://clinic.example"
    assert {message.id for message in checks.problems()} >= {"security.W004", "security.W008"}
    assert not any(django_settings.SECRET_KEY in str(message) for message in checks.problems())
