"""Django system checks for settings that are easy to get wrong; each message names the consequence and the fix.

In brackets stand the environment variables from which this repository's own site makes its settings.
"""

import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, Warning  # noqa: A004 Django's name
from django.utils.module_loading import import_string

from people.checks import TAG as PEOPLE
from people.conf import PeopleSettings
from people.conf import problems as problems_of
from people.loopback import is_loopback

from .conf import PaymentsSettings, app_settings

TAG = "payments"
STRIPE_KEY = re.compile(r"(sk|rk)_(test|live)_[a-zA-Z0-9]{24,}")  # dj-stripe accepts no other
REDIS_BLOCKS = 5  # seconds that channels-redis' core layer waits in one Redis command
MIN_SECRET_KEY_LENGTH = 32

SAMPLE_ADDRESS = "12 allée des Tilleuls, 69006 Lyon"  # of the demo, and of deploy/env.example

Check = Callable[[], list[CheckMessage]]


def register(tag: str = TAG) -> Callable[[Check], Check]:
    """Return a decorator that registers a Django system check under the tags TAG and `tag`.

    The check doesn't run while a setting is missing or of a wrong type, which other checks report.
    """

    def decorator(check: Check) -> Check:
        @checks.register(TAG, tag)
        def registered(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
            return [] if wrong_settings() else check()

        return check

    return decorator


@checks.register(TAG)
def declared_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return problems_of(PaymentsSettings, "clinic_payments")


def wrong_settings() -> list[CheckMessage]:
    """Return the problems of the settings that this app reads, which `people` declares in part."""
    return problems_of(PeopleSettings, "clinic_people") + problems_of(PaymentsSettings, "clinic_payments")


@register()
def clinic_of_the_sample() -> list[CheckMessage]:
    if is_loopback(app_settings.CLINIC_SITE_URL) or app_settings.CLINIC_ADDRESS != SAMPLE_ADDRESS:
        return []
    said = f"CLINIC_ADDRESS is the sample clinic's, and CLINIC_NAME is {app_settings.CLINIC_NAME}: receipts show both."
    hint = "Set CLINIC_NAME, CLINIC_ADDRESS, CLINIC_CONTACT and CLINIC_LEGAL_LINES to those of your clinic."
    return [Warning(said, hint=hint, id="clinic_payments.W010")]


@register()
def one_memory_for_several_processes() -> list[CheckMessage]:
    in_memory = "InMemory" in channel_layer()["BACKEND"]
    processes = app_settings.CLINIC_WEB_PROCESSES
    if in_memory and processes > 1:
        said = f"CLINIC_WEB_PROCESSES is {processes}, but the channel layer is in one process's memory."
    elif in_memory and not on_sqlite():
        said = "The database is PostgreSQL, made for several processes, but the channel layer is in one's memory."
    else:
        return []
    hint = (
        "Use channels_redis in CHANNEL_LAYERS (REDIS_URL). Without it pages learn of other processes' changes from the"
        " database, up to 2 s later."
    )
    return [Warning(said, hint=hint, id="clinic_payments.W001")]


@register()
def one_file_for_several_processes() -> list[CheckMessage]:
    processes = app_settings.CLINIC_WEB_PROCESSES
    if processes == 1 or not on_sqlite():
        return []
    said = f"CLINIC_WEB_PROCESSES is {processes}, but the database is SQLite, where each write holds up all."
    return [Warning(said, hint="Use PostgreSQL in DATABASES (DATABASE_URL).", id="clinic_payments.W009")]


@register()
def stripe_key() -> list[CheckMessage]:
    key = app_settings.STRIPE_SECRET_KEY
    if not key:
        hint = "Set STRIPE_SECRET_KEY to the key shown in Stripe's Dashboard under Developers, API keys."
        return [Warning("STRIPE_SECRET_KEY is empty: nobody can pay online.", hint=hint, id="clinic_payments.W002")]
    if not STRIPE_KEY.fullmatch(key):
        hint = "It is sk_test_, sk_live_, rk_test_ or rk_live_ and at least 24 letters and digits: copy the whole key."
        return [Error("STRIPE_SECRET_KEY is no secret key of Stripe's.", hint=hint, id="clinic_payments.E001")]
    return []


@register()
def stripe_mode() -> list[CheckMessage]:
    key = app_settings.STRIPE_SECRET_KEY
    if not STRIPE_KEY.fullmatch(key) or ("_live_" in key) == app_settings.STRIPE_LIVE_MODE:
        return []
    mode = "live" if "_live_" in key else "test"
    said = (
        f"STRIPE_SECRET_KEY is a {mode} key, but STRIPE_LIVE_MODE is {app_settings.STRIPE_LIVE_MODE}: every event of it"
    )
    hint = f"Set STRIPE_LIVE_MODE to {mode == 'live'}, or use the key of the other mode."
    return [Error(f"{said} would be refused as one of the wrong mode.", hint=hint, id="clinic_payments.E002")]


@register(Tags.security)
def live_key_at_a_stand_in() -> list[CheckMessage]:
    if app_settings.real_stripe or "_live_" not in app_settings.STRIPE_SECRET_KEY:
        return []
    said = f"STRIPE_API_HOST is {app_settings.STRIPE_API_HOST}: the live key would be sent there, not to Stripe."
    return [Error(said, hint="Unset STRIPE_API_HOST, or use a test key with the stand-in.", id="clinic_payments.E003")]


@register(Tags.security)
def webhook_secret() -> list[CheckMessage]:
    hint = (
        "Set it to what `manage.py stripe_setup` prints when it adds the endpoint or, on a laptop, to the secret in the"
        " first line of `stripe listen`."
    )
    if not app_settings.STRIPE_WEBHOOK_SECRETS:
        said = (
            "STRIPE_WEBHOOK_SECRETS (STRIPE_WEBHOOK_SECRET) is empty: every event is refused, and no payment is"
            " confirmed by itself."
        )
        return [Warning(said, hint=hint, id="clinic_payments.W003")]
    if not all(secret.startswith("whsec_") for secret in app_settings.STRIPE_WEBHOOK_SECRETS):
        said = "STRIPE_WEBHOOK_SECRETS holds something that doesn't start with whsec_, so it signs nothing."
        return [Error(said, hint=hint, id="clinic_payments.E004")]
    return []


@register()
def stripe_account() -> list[CheckMessage]:
    if app_settings.STRIPE_ACCOUNT_ID.startswith("acct_"):
        return []
    said = "STRIPE_ACCOUNT_ID names no account: dj-stripe can't tell whose events it stores."
    hint = "Set it to the acct_... shown in Stripe's Dashboard under Settings, Account details."
    return [Warning(said, hint=hint, id="clinic_payments.W004")]


@register()
def redis_timeouts() -> list[CheckMessage]:
    layer = channel_layer()
    if not layer["BACKEND"].startswith("channels_redis."):
        return []
    found: list[CheckMessage] = []
    for host in layer.get("CONFIG", {}).get("hosts", ["redis://localhost"]):
        seconds = timeout_of(host)
        if seconds is None:
            said = "The channel layer's Redis has no socket_timeout: should Redis freeze, its callers wait for ever."
            found.append(
                Warning(said, hint=f"Give the host socket_timeout: {3 * REDIS_BLOCKS}.", id="clinic_payments.W005")
            )
        elif seconds <= REDIS_BLOCKS and "pubsub" not in layer["BACKEND"]:
            said = (
                f"socket_timeout is {seconds:g} s, the layer waits {REDIS_BLOCKS} s: idle sockets die within seconds."
            )
            hint = f"Give the host socket_timeout: {3 * REDIS_BLOCKS}; redis-py 8 has {REDIS_BLOCKS} by default."
            found.append(Error(said, hint=hint, id="clinic_payments.E005"))
    return found


def timeout_of(host: object) -> float | None:
    """Return how many seconds redis-py waits for Redis to answer, or None if it waits for ever.

    `host` is one item of the channel layer's setting "hosts": a URL, or a dict that may have a "socket_timeout".
    """
    default = REDIS_BLOCKS if int(version("redis").split(".")[0]) >= 8 else None
    return host.get("socket_timeout", default) if isinstance(host, dict) else default


def channel_layer() -> dict[str, Any]:
    """Return the setting of the default channel layer, or one without a backend, of which project_checks.py tells."""
    layer: dict[str, Any] = getattr(settings, "CHANNEL_LAYERS", {}).get("default", {"BACKEND": ""})
    return layer


def on_sqlite() -> bool:
    return str(settings.DATABASES["default"]["ENGINE"]).endswith("sqlite3")


@register()
def sqlite_transactions() -> list[CheckMessage]:
    if not on_sqlite() or settings.DATABASES["default"].get("OPTIONS", {}).get("transaction_mode") == "IMMEDIATE":
        return []
    said = 'SQLite begins transactions as DEFERRED: of webhooks that come at once, some end in "database is locked".'
    hint = 'Set DATABASES["default"]["OPTIONS"]["transaction_mode"] to "IMMEDIATE".'
    return [Error(said, hint=hint, id="clinic_payments.E006")]


@register()
def persistent_connections() -> list[CheckMessage]:
    if settings.DATABASES["default"].get("CONN_MAX_AGE", 0) == 0:
        return []
    said = "CONN_MAX_AGE is not 0: under ASGI each request's thread keeps a connection, until there are none left."
    hint = 'Set CONN_MAX_AGE to 0; on PostgreSQL the option "pool" (DATABASE_POOL) keeps connections open.'
    return [Warning(said, hint=hint, id="clinic_payments.W006")]


@register(Tags.security)
def debug_in_public() -> list[CheckMessage]:
    if not settings.DEBUG or is_loopback(app_settings.CLINIC_SITE_URL):
        return []
    said = (
        f"DEBUG is on at {app_settings.CLINIC_SITE_URL}: error pages show patients' data and the settings to anybody."
    )
    return [
        Error(
            said,
            hint="Set DEBUG to False, or CLINIC_SITE_URL (SITE_URL) to a loopback address.",
            id="clinic_payments.E007",
        )
    ]


@register(Tags.security)
def weak_secret_key() -> list[CheckMessage]:
    key = settings.SECRET_KEY
    strong = len(key) >= MIN_SECRET_KEY_LENGTH and len(set(key)) >= 5
    if settings.DEBUG or (strong and not key.startswith("django-insecure-")):
        return []
    said = "SECRET_KEY can be guessed: an attacker who guesses it can sign in as anybody."
    hint = 'Set it to the output of: python3 -c "import secrets; print(secrets.token_urlsafe(50))"'
    return [Error(said, hint=hint, id="clinic_payments.E008")]


@register()
def sms_function() -> list[CheckMessage]:
    if not app_settings.CLINIC_SMS_FUNCTION:
        return []
    try:
        import_string(app_settings.CLINIC_SMS_FUNCTION)
    except ImportError:
        path = app_settings.CLINIC_SMS_FUNCTION
        said = f"CLINIC_SMS_FUNCTION names {path}, which can't be imported: no text message is sent."
        return [Error(said, hint="Set it to the path of a function send(phone, text).", id="clinic_payments.E009")]
    return []


def problems() -> Sequence[CheckMessage]:
    """Run this site's checks and Django's security checks, and return their messages, without silenced ones.

    Deployment checks run too unless CLINIC_SITE_URL is on this machine.
    """
    if wrong := wrong_settings():
        return wrong
    public = not is_loopback(app_settings.CLINIC_SITE_URL)
    found = checks.run_checks(tags=[TAG, PEOPLE, Tags.security], include_deployment_checks=public)
    return [message for message in found if not message.is_silenced()]
