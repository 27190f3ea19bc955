"""The site's settings for tests, independent of the developer's environment."""

import os

os.environ.update(
    DEBUG="0",
    SECRET_KEY="tests-only-not-secret",
    STATIC_FROM_SOURCE="1",
    SITE_URL="http://testserver",
    ALLOWED_HOSTS="testserver",
    DATABASE_URL="sqlite://:memory:",  # tests/conftest.py replaces it with a file
    REDIS_URL="",
    STRIPE_SECRET_KEY="sk_test_000000000000000000000000",
    STRIPE_API_HOST="http://127.0.0.1:1",  # nothing listens there, so an unwanted call to Stripe fails at once
    STRIPE_WEBHOOK_SECRET="whsec_000000000000000000000000",
    STRIPE_ACCOUNT_ID="acct_1Tests0000000000",
    STRIPE_LIVE_MODE="0",
    LANGUAGE_CODE="fr",
    TIME_ZONE="Europe/Paris",
    REQUIRE_MFA="0",
)

import stripe

from payments_site.settings import *  # noqa: F403
from payments_site.settings import DATABASES, MIDDLEWARE

# This middleware is asynchronous, so each request of Django's test client would switch threads twice.
MIDDLEWARE.remove("servestatic.middleware.ServeStaticMiddleware")
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # sign-in in microseconds
DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"  # no flush to disk
stripe.HTTPClient.INITIAL_DELAY = 0.01  # seconds before the SDK's first retry
