"""A Stripe to run at home: the HTTP API, hosted Checkout and signed webhooks, for the payments that this site makes."""

# The version that events are rendered in, as an account's default version is. https://docs.stripe.com/api/versioning
API_VERSION = "2026-08-26.dahlia"
