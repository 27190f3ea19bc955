"""Django's settings. What differs between machines comes from environment variables, which docs/settings.md lists.

With DEBUG=1, the variables' defaults suit a developer's laptop.
"""

import logging
from email.headerregistry import Address
from email.utils import parseaddr
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from payments_site import postgres
from payments_site.environment import Environment

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()

DEBUG = env.switch("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", "laptop-only-not-secret" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY is empty. Set it to 50 random characters, or DEBUG=1 on a laptop.")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
CLINIC_SITE_URL = env.str("SITE_URL", "http://127.0.0.1:8000").rstrip("/")  # public origin: scheme, host, port
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost"])
HTTPS = CLINIC_SITE_URL.startswith("https://")

INSTALLED_APPS = [
    # It replaces `runserver`. The server itself needs no app, and all processes start faster without.
    *(["daphne"] if DEBUG else []),
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "channels",
    "django_htmx",
    "djstripe",
    "csp",
    "servestatic",
    "people",
    "accounts",
    "appointments",
    "integrations",
    "payments",
]
MIDDLEWARE = [  # the outermost first; where the order matters, a comment gives the reason
    "payments.logs.identify_request",  # gives every log line and response the request's id
    "payments.middleware.no_store",  # outside all that may respond, also with a redirect to HTTPS
    "integrations.middleware.api_answers",  # outside all that may respond with a page, and before cookies are read
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",  # early, because static files need nothing of the rest
    "payments.middleware.CompressPages",  # outside all that render; it varies lengths, so that they tell no secret
    "csp.middleware.CSPMiddleware",
    "payments.middleware.security_headers",  # outside all that may respond, to add its headers there
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "payments.middleware.htmx_sign_in",  # replaces the sign-in redirects of all that follows
    "payments.middleware.keep_address",
    "payments.middleware.live_cursor",  # needs the user; reads the feed's number before later code reads payments
    "django.contrib.messages.middleware.MessageMiddleware",
    "accounts.middleware.clear_site_data",  # outside the next three, to add its header to their responses
    "people.middleware.keep_unsent_forms",  # needs messages; outside all that redirect to a step of signing in
    "accounts.middleware.note_activity",  # needs the session
    "accounts.middleware.require_second_factor",  # needs the user and messages
    "allauth.account.middleware.AccountMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "payments_site.one_thread.in_one_thread",  # the last, so that the others from CompressPages on need no event loop
]
ROOT_URLCONF = "payments_site.urls"
ASGI_APPLICATION = "payments_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "payments.context_processors.site",
            ],
        },
    }
]

# Database: SQLite on a laptop, PostgreSQL for more than one process
DATABASES = {"default": env.db("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",  # DEFERRED answers concurrent webhooks with "database is locked"
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 0  # under ASGI persistent connections leak; the pool doesn't
    given = DATABASES["default"].get("OPTIONS", {})  # from the URL: ?sslmode=require
    bounds = postgres.options(env.number("DATABASE_POOL", 12), bounded=env.switch("DATABASE_TIMEOUTS", True))
    DATABASES["default"]["OPTIONS"] = given | bounds
MIGRATION_MODULES = {"djstripe": "payments.gateway.djstripe_migrations"}  # else an empty database takes minutes

CLINIC_BACKUP_FOLDER = env.str("BACKUP_FOLDER", "")  # where `payments_backup` puts copies of the database
CLINIC_WEB_PROCESSES = env.number("WEB_PROCESSES", 1)  # how many you start, for `manage.py check` alone
CLINIC_PROBE_SECONDS = env.number("PROBE_SECONDS", 60)  # between two tests of live delivery in a process; 0: none

# Channel layer: in memory within one process, Redis pub/sub between several. It only announces new feed entries.
REDIS_URL = env.str("REDIS_URL", "")
CHANNEL_LAYERS: dict[str, Any] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
if REDIS_URL:
    place = env.redis_place("REDIS_URL") | {"socket_timeout": 15, "health_check_interval": 10}
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [place], "prefix": "payments"},
        }
    }


# The clinic: its languages, its time, its name
LANGUAGES = [("fr", _("French")), ("en", _("English"))]
LANGUAGE_CODE = env.choice("LANGUAGE_CODE", dict(LANGUAGES), "fr")
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = ["payments_site.formats"]
TIME_ZONE = env.str("TIME_ZONE", "Europe/Paris")
USE_TZ = True
CLINIC_NAME = env.str("CLINIC_NAME", "Clinique des Tilleuls")
CLINIC_ADDRESS = env.str("CLINIC_ADDRESS", "12 allée des Tilleuls, 69006 Lyon")
CLINIC_CONTACT = env.str("CLINIC_CONTACT", "")  # how patients reach the clinic, such as its phone number
CLINIC_LEGAL_LINES = env.lines("CLINIC_LEGAL_LINES")  # what the law wants at the end of a receipt

# Refunds of one payment, in minor units by currency. Without a limit for a currency, the front desk can refund nothing
# in it, and no refund in it needs approval.
CLINIC_FRONT_DESK_REFUND_LIMITS = env.amounts("FRONT_DESK_REFUND_LIMITS", "eur=10000,chf=10000")
CLINIC_REFUND_APPROVAL_LIMITS = env.amounts("REFUND_APPROVAL_LIMITS", "")  # a second person approves larger refunds

# The HTTP API. Each web process counts by itself.
CLINIC_API_REQUESTS_PER_MINUTE = env.number("API_REQUESTS_PER_MINUTE", 600)  # that one key may make

# Accounts and sign-in
# Sign-in attempts are counted in the database's cache table, see accounts.apps. A full cache deletes counters, also
# those still needed. An attacker soon fills Django's default of 300 entries by trying other names. 100,000 take far
# longer to fill, and a full table then loses one entry in a hundred.
COUNTERS = {"MAX_ENTRIES": 100_000, "CULL_FREQUENCY": 100}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache", "OPTIONS": COUNTERS}
}
AUTH_USER_MODEL = "clinic_accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.OneQueryBackend"]
PASSWORD_HASHERS = [f"django.contrib.auth.hashers.{name}" for name in ("Argon2PasswordHasher", "PBKDF2PasswordHasher")]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "CommonPasswordValidator")
] + [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    }
]
PASSWORD_RESET_TIMEOUT = 60 * 60
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "clinic:home"
LOGOUT_REDIRECT_URL = "account_login"
REQUIRE_MFA = env.switch("REQUIRE_MFA", not DEBUG)  # whether staff need a second factor or a passkey
SESSION_COOKIE_AGE = env.number("SESSION_IDLE_MINUTES", 30) * 60  # seconds after which an idle user is signed out
SESSION_LONGEST = env.number("SESSION_HOURS", 10) * 60 * 60
CLINIC_SIGN_IN = "accounts.sign_in.AllauthSignIn"
ACCOUNT_ADAPTER = "accounts.adapters.AccountAdapter"
ACCOUNT_SESSION_REMEMBER = True  # keep the session for SESSION_COOKIE_AGE without a “remember me” box
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_REAUTHENTICATION_TIMEOUT = 5 * 60
ACCOUNT_REAUTHENTICATION_METHODS = ("password", "mfa")  # no code by e-mail: its pages are not in accounts.urls
GUESSES = "5/15m/key"  # attempts at a password; `key` is a username together with an IP address
ACCOUNT_RATE_LIMITS = {"login_failed": f"10/m/ip,{GUESSES}"}
ACCOUNT_EMAIL_NOTIFICATIONS = True  # e-mails about a new password, and an added or removed second factor
MFA_ADAPTER = "accounts.adapters.MFAAdapter"
MFA_FORMS = {"add_webauthn": "accounts.passkeys.AddForm", "edit_webauthn": "accounts.passkeys.EditForm"}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # forbidding it guards sites where strangers sign up; here the clinic makes accounts
MFA_TOTP_TOLERANCE = 1  # 30 s either way, for clocks that differ
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not HTTPS  # WebAuthn also works at http://localhost

# E-mail. Without EMAIL_URL, no e-mail is sent.
MAIL_SERVER = env.mail_server("EMAIL_URL")
EMAIL_BACKEND: str = MAIL_SERVER["EMAIL_BACKEND"]
EMAIL_HOST = MAIL_SERVER["EMAIL_HOST"]
EMAIL_PORT = MAIL_SERVER["EMAIL_PORT"]
EMAIL_HOST_USER = MAIL_SERVER["EMAIL_HOST_USER"]
EMAIL_HOST_PASSWORD = MAIL_SERVER["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS = MAIL_SERVER.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = MAIL_SERVER.get("EMAIL_USE_SSL", False)
EMAIL_FILE_PATH = MAIL_SERVER["EMAIL_FILE_PATH"]
EMAIL_TIMEOUT = 10  # seconds that a mail server may take for one step
sender, address = parseaddr(
    env.str("DEFAULT_FROM_EMAIL", "") or f"noreply@{CLINIC_SITE_URL.split('//')[-1].split(':')[0]}"
)
DEFAULT_FROM_EMAIL = str(Address(sender or CLINIC_NAME, addr_spec=address))
CLINIC_PAYMENT_REMINDER_DAYS = env.number("PAYMENT_REMINDER_DAYS", 0)  # after the appointment; 0: no reminder
CLINIC_SMS_FUNCTION = env.str("SMS_FUNCTION", "")  # dotted path of your function send(phone, text)
# Not ADMINS, because Django's own e-mails to admins hold whole requests.
CLINIC_OPERATOR_EMAIL = env.str("OPERATOR_EMAIL", "")  # gets what `payments_doctor --mail` finds

# Networks to which webhooks may be sent although they aren't public, such as 10.0.0.0/8; also without TLS
CLINIC_OUTGOING_WEBHOOK_NETWORKS = env.networks("OUTGOING_WEBHOOK_NETWORKS")

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
SERVESTATIC_USE_FINDERS = env.switch("STATIC_FROM_SOURCE", DEBUG)  # if off, collectstatic has to fill STATIC_ROOT
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if SERVESTATIC_USE_FINDERS
        else "payments_site.static_files.HashedStaticFiles"
    },
}
SERVESTATIC_AUTOREFRESH = DEBUG

# Stripe. STRIPE_API_HOST is the API's address: Stripe's own, or a stand-in's such as the sandbox's.
STRIPE_LIVE_MODE = env.switch("STRIPE_LIVE_MODE", False)
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", "")
STRIPE_API_HOST = env.str("STRIPE_API_HOST", "") or "https://api.stripe.com"
# W002 warns of any STRIPE_API_HOST, even of Stripe's own; W005 and I006 want the webhook's secret in the database
# instead of the environment.
SILENCED_SYSTEM_CHECKS = ["djstripe.W002", "djstripe.W005", "djstripe.I006"]
STRIPE_ACCOUNT_ID = env.str("STRIPE_ACCOUNT_ID", "")
STRIPE_WEBHOOK_SECRETS = env.list("STRIPE_WEBHOOK_SECRET", default=[])  # more than one while a secret is being replaced
STRIPE_TEST_SECRET_KEY = "" if STRIPE_LIVE_MODE else STRIPE_SECRET_KEY
STRIPE_LIVE_SECRET_KEY = STRIPE_SECRET_KEY if STRIPE_LIVE_MODE else ""
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"

# Security
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_SSL_REDIRECT = HTTPS
# Stripe counts a redirect of a webhook as a failure. Monitoring comes from inside, without HTTPS.
SECURE_REDIRECT_EXEMPT = [r"^stripe/webhook/", r"^(livez|readyz|metrics)$"]
CLINIC_METRICS_TOKEN = env.str("METRICS_TOKEN", "")  # if empty, /metrics answers only requests from this machine
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
# Keeps the token in a pay link's URL from other hosts. "no-referrer" would do so too, but browsers would then send
# forms with "Origin: null", which Django's CSRF check refuses.
SECURE_REFERRER_POLICY = "same-origin"
SESSION_ENGINE = "payments_site.session_store"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME = "__Host-sessionid" if HTTPS else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if HTTPS else "csrftoken"
CSRF_TRUSTED_ORIGINS, CSRF_COOKIE_HTTPONLY = [CLINIC_SITE_URL], True
CSRF_FAILURE_VIEW = "people.unsent.csrf_failure"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 262_144
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200
CHECKOUT_ORIGIN = "https://checkout.stripe.com" if STRIPE_API_HOST == "https://api.stripe.com" else STRIPE_API_HOST
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF, CLINIC_SITE_URL.replace("http", "ws", 1)],
        "form-action": [SELF, CHECKOUT_ORIGIN],  # browsers apply form-action to the redirect after a POST as well
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

# Logs
LOG_FORMAT = env.choice("LOG_FORMAT", ("line", "json"), "line" if DEBUG else "json")
LOG_LEVEL = env.choice("LOG_LEVEL", logging.getLevelNamesMapping(), "INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "payments.logs.LineFormatter"}, "json": {"()": "payments.logs.JsonFormatter"}},
    "filters": {"brief": {"()": "payments.logs.BriefAboutOthers"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["brief"]}},
    "loggers": {
        "stripe": {"level": "WARNING"},
        # No handlers of Django's own: its e-mails to admins hold whole requests, with their cookies and pay links.
        "django": {"level": "INFO", "handlers": []},
        "django.server": {"level": "INFO", "handlers": [], "propagate": True},
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
}

SENTRY_DSN = env.str("SENTRY_DSN", "")  # where errors are reported, without anything about people
if SENTRY_DSN:
    from payments_site import sentry  # imported here, because only this setting needs the package sentry-sdk

    sentry.start(SENTRY_DSN, environment="live" if STRIPE_LIVE_MODE else "test")
