"""Django system checks for settings that are easy to get wrong; each message names the consequence and the fix."""

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, Warning  # noqa: A004 Django's name
from django.utils.module_loading import import_string

TAG = "payments"
STRIPE_KEY = re.compile(r"(sk|rk)_(test|live)_[a-zA-Z0-9]{24,}")  # dj-stripe accepts no other
REDIS_BLOCKS = 5  # seconds that channels-redis' core layer waits in one Redis command
MIN_SECRET_KEY_LENGTH = 32

Check = Callable[..., list[CheckMessage]]


def register(tag: str = TAG, *, deploy: bool = False) -> Callable[[Check], Check]:
    """Return a decorator that registers a Django system check under the tags TAG and `tag`.

    If `deploy` is true, the check runs only with `check --deploy`.
    """
    return checks.register(TAG, tag, deploy=deploy)


def is_loopback(url: str) -> bool:
    """Return whether the URL's host is localhost or another name or address of this machine's loopback interface."""
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.endswith(".localhost") or is_loopback_address(host)


def is_loopback_address(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


@register()
def one_memory_for_several_processes(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    in_memory = "InMemory" in settings.CHANNEL_LAYERS["default"]["BACKEND"]
    if in_memory and settings.WEB_PROCESSES > 1:
        said = f"WEB_PROCESSES is {settings.WEB_PROCESSES}, but the channel layer is in one process's memory."
    elif in_memory and not on_sqlite():
        said = "The database is PostgreSQL, made for several processes, but the channel layer is in one's memory."
    else:
        return []
    hint = "Set REDIS_URL. Without it pages learn of other processes' changes from the database, up to 2 s later."
    return [Warning(said, hint=hint, id="payments.W001")]


@register()
def one_file_for_several_processes(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.WEB_PROCESSES == 1 or not on_sqlite():
        return []
    said = f"WEB_PROCESSES is {settings.WEB_PROCESSES}, but the database is SQLite, where each write holds up all."
    return [Warning(said, hint="Set DATABASE_URL to a PostgreSQL database, postgres://...", id="payments.W009")]


@register()
def stripe_key(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    key = settings.STRIPE_SECRET_KEY
    if not key:
        hint = "Set STRIPE_SECRET_KEY to the key shown in Stripe's Dashboard under Developers, API keys."
        return [Warning("STRIPE_SECRET_KEY is empty: nobody can pay online.", hint=hint, id="payments.W002")]
    if not STRIPE_KEY.fullmatch(key):
        hint = "It is sk_test_, sk_live_, rk_test_ or rk_live_ and at least 24 letters and digits: copy the whole key."
        return [Error("STRIPE_SECRET_KEY is no secret key of Stripe's.", hint=hint, id="payments.E001")]
    return []


@register()
def stripe_mode(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    key = settings.STRIPE_SECRET_KEY
    if not STRIPE_KEY.fullmatch(key) or ("_live_" in key) == settings.STRIPE_LIVE_MODE:
        return []
    mode = "live" if "_live_" in key else "test"
    said = f"STRIPE_SECRET_KEY is a {mode} key, but STRIPE_LIVE_MODE is {settings.STRIPE_LIVE_MODE}: every event of it"
    hint = f"Set STRIPE_LIVE_MODE={int(mode == 'live')}, or use the key of the other mode."
    return [Error(f"{said} would be refused as one of the wrong mode.", hint=hint, id="payments.E002")]


@register(Tags.security)
def live_key_at_a_stand_in(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.REAL_STRIPE or "_live_" not in settings.STRIPE_SECRET_KEY:
        return []
    said = f"STRIPE_API_HOST is {settings.STRIPE_API_HOST}: the live key would be sent there, not to Stripe."
    return [Error(said, hint="Unset STRIPE_API_HOST, or use a test key with the stand-in.", id="payments.E003")]


@register(Tags.security)
def webhook_secret(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    hint = "Copy it from Stripe's Dashboard, Developers, Webhooks, or from the first line of `stripe listen`."
    if not settings.STRIPE_WEBHOOK_SECRETS:
        said = "STRIPE_WEBHOOK_SECRET is empty: every event is refused, and no payment is confirmed by itself."
        return [Warning(said, hint=hint, id="payments.W003")]
    if not all(secret.startswith("whsec_") for secret in settings.STRIPE_WEBHOOK_SECRETS):
        said = "STRIPE_WEBHOOK_SECRET holds something that doesn't start with whsec_, so it signs nothing."
        return [Error(said, hint=hint, id="payments.E004")]
    return []


@register()
def stripe_account(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.STRIPE_ACCOUNT_ID.startswith("acct_"):
        return []
    said = "STRIPE_ACCOUNT_ID names no account: dj-stripe can't tell whose events it stores."
    hint = "Set it to the acct_... shown in Stripe's Dashboard under Settings, Account details."
    return [Warning(said, hint=hint, id="payments.W004")]


@register()
def redis_timeouts(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    layer = settings.CHANNEL_LAYERS["default"]
    if not layer["BACKEND"].startswith("channels_redis."):
        return []
    found: list[CheckMessage] = []
    for host in layer.get("CONFIG", {}).get("hosts", ["redis://localhost"]):
        seconds = timeout_of(host)
        if seconds is None:
            said = "The channel layer's Redis has no socket_timeout: should Redis freeze, its callers wait for ever."
            found.append(Warning(said, hint=f"Give the host socket_timeout: {3 * REDIS_BLOCKS}.", id="payments.W005"))
        elif seconds <= REDIS_BLOCKS and "pubsub" not in layer["BACKEND"]:
            said = (
                f"socket_timeout is {seconds:g} s, the layer waits {REDIS_BLOCKS} s: idle sockets die within seconds."
            )
            hint = f"Give the host socket_timeout: {3 * REDIS_BLOCKS}; redis-py 8 has {REDIS_BLOCKS} by default."
            found.append(Error(said, hint=hint, id="payments.E005"))
    return found


def timeout_of(host: object) -> float | None:
    """Return how many seconds redis-py waits for Redis to answer, or None if it waits for ever.

    `host` is one item of the channel layer's setting "hosts": a URL, or a dict that may have a "socket_timeout".
    """
    default = REDIS_BLOCKS if int(redis.__version__.split(".")[0]) >= 8 else None
    return host.get("socket_timeout", default) if isinstance(host, dict) else default


def on_sqlite() -> bool:
    return str(settings.DATABASES["default"]["ENGINE"]).endswith("sqlite3")


@register()
def sqlite_transactions(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not on_sqlite() or settings.DATABASES["default"].get("OPTIONS", {}).get("transaction_mode") == "IMMEDIATE":
        return []
    said = 'SQLite begins transactions as DEFERRED: of webhooks that come at once, some end in "database is locked".'
    hint = 'Set DATABASES["default"]["OPTIONS"]["transaction_mode"] to "IMMEDIATE".'
    return [Error(said, hint=hint, id="payments.E006")]


@register()
def persistent_connections(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.DATABASES["default"].get("CONN_MAX_AGE", 0) == 0:
        return []
    said = "CONN_MAX_AGE is not 0: under ASGI each request's thread keeps a connection, until there are none left."
    hint = "Set CONN_MAX_AGE to 0; on PostgreSQL the pool (DATABASE_POOL) keeps connections open."
    return [Warning(said, hint=hint, id="payments.W006")]


@register(Tags.security)
def debug_in_public(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.DEBUG or is_loopback(settings.SITE_URL):
        return []
    said = f"DEBUG is on at {settings.SITE_URL}: error pages show patients' data and the settings to anybody."
    return [Error(said, hint="Set DEBUG=0, or SITE_URL to a loopback address.", id="payments.E007")]


@register(Tags.security)
def weak_secret_key(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    key = settings.SECRET_KEY
    strong = len(key) >= MIN_SECRET_KEY_LENGTH and len(set(key)) >= 5
    if settings.DEBUG or (strong and not key.startswith("django-insecure-")):
        return []
    said = "SECRET_KEY can be guessed: an attacker who guesses it can sign in as anybody."
    hint = 'Set it to the output of: python3 -c "import secrets; print(secrets.token_urlsafe(50))"'
    return [Error(said, hint=hint, id="payments.E008")]


@register()
def sms_function(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.SMS_FUNCTION:
        return []
    try:
        import_string(settings.SMS_FUNCTION)
    except ImportError:
        said = f"SMS_FUNCTION names {settings.SMS_FUNCTION}, which can't be imported: no text message is sent."
        return [Error(said, hint="Set it to the path of a function send(phone, text).", id="payments.E009")]
    return []


@register(Tags.security)
def no_second_factor(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.REQUIRE_MFA or is_loopback(settings.SITE_URL):
        return []
    said = "REQUIRE_MFA is off: a guessed or stolen password of the staff is enough to refund and to read every record."
    hint = "Set REQUIRE_MFA=1; at their next sign-in staff are led to set up an authenticator app or a passkey."
    return [Warning(said, hint=hint, id="payments.W007")]


@register()
def uncounted_guesses(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if "locmem" not in settings.CACHES["default"]["BACKEND"] or settings.WEB_PROCESSES == 1:
        return []
    said = "The cache is in each process's memory: wrong passwords are counted for each alone, so more are tried."
    hint = "Leave CACHES as it is in settings, in the database, or use Redis."
    return [Warning(said, hint=hint, id="payments.W008")]


def problems() -> Sequence[CheckMessage]:
    """Run this site's checks and Django's security checks, and return their messages, without silenced ones.

    Deployment checks run too unless SITE_URL is on this machine.
    """
    public = not is_loopback(settings.SITE_URL)
    found = checks.run_checks(tags=[TAG, Tags.security], include_deployment_checks=public)
    return [message for message in found if not message.is_silenced()]
