"""Webhook endpoints and their signing secrets. https://docs.stripe.com/api/webhook_endpoints"""

from stripe_sandbox import versions
from stripe_sandbox.errors import StripeError, missing_param
from stripe_sandbox.ids import token
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json


def create(sandbox: Sandbox, url: str, events: list[str] | None = None, secrets: list[str] | None = None) -> Json:
    """Create a webhook endpoint for the event types `events`, by default all.

    `secrets` are its valid signing secrets, newest first (two during a rotation); by default one is generated.
    Raises StripeError if the URL is missing or isn't http(s).
    """
    if not url:
        raise missing_param("url")
    if not url.startswith(("http://", "https://")):
        raise StripeError("Invalid URL: An explicit scheme (such as https) must be provided.", param="url")
    endpoint = sandbox.new("webhook_endpoint", url=url, enabled_events=events or ["*"])
    sandbox.store.private[endpoint["id"]] = {"secrets": secrets or [f"whsec_{token(32)}"]}
    return endpoint


def replace(sandbox: Sandbox, url: str, events: list[str] | None = None, secrets: list[str] | None = None) -> Json:
    """Change the events and, if given, the secrets of the webhook endpoint with this URL, or create that endpoint."""
    found = next(sandbox.store.select("webhook_endpoint", url=url), None)
    if found is None:
        return create(sandbox, url, events, secrets)
    found |= {"enabled_events": events or ["*"], "status": "enabled"}
    if secrets:
        sandbox.store.private[found["id"]]["secrets"] = secrets
    return found


def secrets_of(sandbox: Sandbox, endpoint_id: str) -> list[str]:
    secrets: list[str] = sandbox.store.private[endpoint_id]["secrets"]
    return secrets


def with_secret(sandbox: Sandbox, endpoint: Json) -> Json:
    """Return a copy of the endpoint with its newest signing secret, for the answer to the API call that creates it."""
    return endpoint | {"secret": secrets_of(sandbox, endpoint["id"])[0]}


def version_of(sandbox: Sandbox, endpoint: Json) -> str:
    """Return the API version in which the endpoint gets events: its own, or else the account's default version."""
    return str(endpoint["api_version"] or sandbox.api_version)


def listening_to(sandbox: Sandbox, event_type: str) -> list[Json]:
    """Return the enabled webhook endpoints that ask for events of this type and whose API version has this type."""
    enabled = sandbox.store.select("webhook_endpoint", status="enabled")
    wanting = [found for found in enabled if {"*", event_type} & set(found["enabled_events"])]
    return [found for found in wanting if versions.is_sent(event_type, version_of(sandbox, found))]
