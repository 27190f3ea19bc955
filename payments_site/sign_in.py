"""The settings of who one is: passwords, second factors, sessions, and what takes two people. Part of settings.py."""

import environ

env = environ.Env()

# Attempts are counted in the database's cache table, see accounts.apps. A full cache drops counters that still count:
# Django's 300 entries are soon filled with other names; of these, one in a hundred goes.
COUNTERS = {"MAX_ENTRIES": 100_000, "CULL_FREQUENCY": 100}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache", "OPTIONS": COUNTERS}
}
AUTH_USER_MODEL = "clinic_accounts.User"
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
REQUIRE_MFA = env.bool("REQUIRE_MFA", not env.bool("DEBUG", False))  # of staff: a second factor, or a passkey
SESSION_COOKIE_AGE = env.int("SESSION_IDLE_MINUTES", 30) * 60  # without its owner doing anything
SESSION_LONGEST = env.int("SESSION_HOURS", 10) * 60 * 60
ACCOUNT_ADAPTER = "accounts.adapters.AccountAdapter"
ACCOUNT_SESSION_REMEMBER = True  # for SESSION_COOKIE_AGE, and no question about it
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_REAUTHENTICATION_TIMEOUT = 5 * 60
GUESSES = "5/15m/key"  # of a password; a key is a name at an address
ACCOUNT_RATE_LIMITS = {"login_failed": f"10/m/ip,{GUESSES}"}
ACCOUNT_EMAIL_NOTIFICATIONS = True  # of a new password, a second factor added or taken away
MFA_ADAPTER = "accounts.adapters.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_TOLERANCE = 1  # 30 s either way, for clocks that differ
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not env.str("SITE_URL", "").startswith("https://")  # http://localhost

# What one person may give back of a payment, in minor units; more takes a second person. Not named: one is enough.
REFUND_APPROVAL_LIMITS = {
    currency: int(amount) for currency, amount in env.dict("REFUND_APPROVAL_LIMITS", default={}).items()
}
