"""A local stand-in for Stripe: the parts of its HTTP API, hosted Checkout and signed webhooks that this site uses."""

# The version in which events are rendered, as Stripe does in an account's default version.
# https://docs.stripe.com/api/versioning
API_VERSION = "2026-08-26.dahlia"
