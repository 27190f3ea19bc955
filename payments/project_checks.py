"""Django system checks of the project in which the app is installed. Each hint holds the line to write."""

from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 Django's name
from django.core.management import find_commands, get_commands
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve, reverse

from .checks import TAG

LABEL = "clinic_payments"
APPS = ("django.contrib.admin", "django.contrib.messages", "django.contrib.sessions", "django_htmx")

AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
NO_STORE = "payments.middleware.no_store"
MIDDLEWARE = {  # what is wrong without it
    "payments.middleware.no_store": "browsers and proxies keep pages with patients' data",
    "payments.middleware.htmx_sign_in": "the sign-in page appears inside a page whose session has ended",
    "payments.middleware.keep_address": "the browser shows addresses that are no pages",
    "payments.middleware.live_cursor": "no page updates by itself",
}
ORDER = (  # the first before the second, where the project has both, because of the third
    (AUTHENTICATION, "payments.middleware.live_cursor", "the second needs the user"),
    ("payments.middleware.htmx_sign_in", "django.contrib.auth.middleware.LoginRequiredMiddleware",
     "the first replaces redirects of the second"),
    ("django.contrib.messages.middleware.MessageMiddleware", "people.middleware.keep_unsent_forms",
     "the second writes messages"),
)  # fmt: skip

PROCESSORS = (
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
    "payments.context_processors.site",
)
DJANGO_TEMPLATES = "django.template.backends.django.DjangoTemplates"


@checks.register(TAG)
def installed_apps(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return [
        Error(f"The app {name} is not installed.", hint=f'Add "{name}" to INSTALLED_APPS.', id=f"{LABEL}.E020")
        for name in APPS
        if not apps.is_installed(name)
    ]


@checks.register(TAG)
def middleware(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    used: list[str] = list(settings.MIDDLEWARE)
    found: list[CheckMessage] = []
    for name, consequence in MIDDLEWARE.items():
        if name not in used:
            where = "first" if name == NO_STORE else f'after "{AUTHENTICATION}"'
            said = f"{name} is not in MIDDLEWARE: {consequence}."
            found.append(Error(said, hint=f'Add "{name}" to MIDDLEWARE, {where}.', id=f"{LABEL}.E021"))
    for first, second, reason in ORDER:
        if {first, second} <= set(used) and used.index(first) > used.index(second):
            said = f"{first} has to come before {second} in MIDDLEWARE, because {reason}."
            found.append(Error(said, hint=f'Move "{first}" before "{second}".', id=f"{LABEL}.E022"))
    return found


@checks.register(TAG)
def templates(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    engines: list[dict[str, Any]] = [engine for engine in settings.TEMPLATES if engine["BACKEND"] == DJANGO_TEMPLATES]
    if not engines:
        hint = f'Give one item of TEMPLATES "BACKEND": "{DJANGO_TEMPLATES}".'
        return [Error("No engine renders Django's templates.", hint=hint, id=f"{LABEL}.E023")]
    options = engines[0].get("OPTIONS", {})
    found: list[CheckMessage] = []
    if not engines[0].get("APP_DIRS") and "app_directories" not in str(options.get("loaders")):
        hint = 'Set "APP_DIRS": True in TEMPLATES.'
        found.append(Error("The apps' own templates are not found.", hint=hint, id=f"{LABEL}.E024"))
    for name in PROCESSORS:
        if name not in options.get("context_processors", ()):
            hint = f'Add "{name}" to the option "context_processors" of TEMPLATES.'
            found.append(Error(f"Templates lack the variables of {name}.", hint=hint, id=f"{LABEL}.E025"))
    return found


@checks.register(TAG)
def urls(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name, line in (
        ("clinic:home", 'path("clinic/", include("payments.urls"))'),
        ("admin:index", 'path("admin/", admin.site.urls)'),
    ):
        try:
            reverse(name)
        except NoReverseMatch:
            hint = f"Add to the project's urlpatterns: {line}"
            found.append(Error(f"The URLs of {name.partition(':')[0]} are missing.", hint=hint, id=f"{LABEL}.E026"))
    try:
        page = resolve_url(settings.LOGIN_URL)
        if page.startswith("/"):
            resolve(f"/{page.partition('?')[0].removeprefix(get_script_prefix())}")
    except (NoReverseMatch, Resolver404):
        hint = 'Set LOGIN_URL, or add path("accounts/", include("django.contrib.auth.urls")) to the urlpatterns.'
        said = f"LOGIN_URL is {settings.LOGIN_URL!r}, which leads to no page: nobody can sign in."
        found.append(Error(said, hint=hint, id=f"{LABEL}.E027"))
    return found


@checks.register(TAG)
def sessions(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if hasattr(store, "get_model_class"):
        return []
    hint = 'Set SESSION_ENGINE = "django.contrib.sessions.backends.db" (or cached_db).'
    said = f"{settings.SESSION_ENGINE} keeps no sessions in the database: no WebSocket learns who opened it."
    return [Error(said, hint=hint, id=f"{LABEL}.E028")]


@checks.register(TAG)
def djstripe_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if getattr(settings, "DJSTRIPE_FOREIGN_KEY_TO_FIELD", None) in ("id", None):  # dj-stripe tells of None itself
        return []
    hint = 'Set DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id".'
    return [Error("dj-stripe's rows refer to each other by numbers, not Stripe's ids.", hint=hint, id=f"{LABEL}.E029")]


@checks.register(TAG)
def channel_layer(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if "default" in getattr(settings, "CHANNEL_LAYERS", {}):
        return []
    hint = 'Add to your settings: CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}'
    said = "There is no channel layer, over which web processes tell each other of changes."
    return [Error(said, hint=hint, id=f"{LABEL}.E030")]


@checks.register(TAG)
def database(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    engine = str(settings.DATABASES["default"]["ENGINE"])
    if engine.endswith(("sqlite3", "postgresql")):
        return []
    hint = 'Set DATABASES["default"]["ENGINE"] to "django.db.backends.postgresql".'
    return [Error(f"The database {engine} is not supported.", hint=hint, id=f"{LABEL}.E031")]


@checks.register(TAG)
def time_zones(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.USE_TZ:
        return []
    said = "USE_TZ is off: times of payments can't be compared with Stripe's."
    return [Error(said, hint="Set USE_TZ = True.", id=f"{LABEL}.E032")]


@checks.register(TAG)
def commands(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Warn of each management command that another app has too: the app that is installed first has the name."""
    own = apps.get_app_config(LABEL)
    found: list[CheckMessage] = []
    for name in find_commands(f"{own.path}/management"):
        if (owner := get_commands()[name]) != own.name:
            hint = f'Put "{own.name}" before "{owner}" in INSTALLED_APPS, or give the other command another name.'
            said = f"`manage.py {name}` runs the command of {owner}, not that of {own.name}."
            found.append(Warning(said, hint=hint, id=f"{LABEL}.W033"))
    return found
