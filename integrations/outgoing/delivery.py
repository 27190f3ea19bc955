"""Delivers messages to webhook endpoints, and disables an endpoint that doesn't accept them for days."""

import logging
import time

from django.db import connection, transaction
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from ..models import WebhookAttempt, WebhookEndpoint, WebhookMessage
from . import exchange
from .exchange import Answer
from .notices import tell_managers
from .secrets import SecretLostError

logger = logging.getLogger(__name__)

GONE = 410  # the receiver wants no more messages: Standard Webhooks
AGENT = "payments-live"


def deliver(message: WebhookMessage) -> bool:
    """Send the message unless another thread or process does, and store the outcome. Return whether it was delivered.

    Messages are sent at least once: a process that dies between the answer and the commit sends the message again.
    """
    # Counted from before the claim: a process that was frozen sends nothing after another one has claimed the message.
    until = time.monotonic() + exchange.DEADLINE
    if not message.claim():
        return False
    endpoint = WebhookEndpoint.objects.get(pk=message.endpoint_id)
    try:
        headers = signed_headers(message, endpoint)
    except SecretLostError:
        answer = Answer(0, failure=WebhookAttempt.Failure.SECRET)
    else:
        if not connection.in_atomic_block:
            connection.close()  # back to the pool, so that endpoints that hang don't hold all of its connections
        answer = exchange.post(endpoint.url, headers, message.body.encode(), until)
    store(message, endpoint, answer)
    return answer.is_success


def signed_headers(message: WebhookMessage, endpoint: WebhookEndpoint) -> dict[str, str]:
    """Return the headers of the request, with one signature for each of the endpoint's valid secrets.

    Raises SecretLostError.
    """
    now = timezone.now()  # in UTC, which the library expects although it ignores the time zone
    signatures = [Webhook(secret).sign(message.webhook_id, now, message.body) for secret in endpoint.signing_secrets()]
    return {
        "Content-Type": "application/json",
        "User-Agent": AGENT,
        "Accept-Encoding": "identity",
        "webhook-id": message.webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def store(message: WebhookMessage, endpoint: WebhookEndpoint, answer: Answer) -> None:
    """Store what became of a try, for the message, its endpoint and the log of tries."""
    with transaction.atomic():
        WebhookAttempt.objects.create(
            message=message,
            status=answer.status,
            failure=answer.failure,
            milliseconds=answer.milliseconds,
            answer=answer.beginning,
        )
        if answer.is_success:
            message.delivered()
            endpoint.succeeded()
        else:
            message.failed(answer.retry_after)
            endpoint.failed(answer.retry_after)
    fields = {"endpoint": endpoint.pk, "webhook_id": message.webhook_id, "type": message.type, "tries": message.tries}
    if answer.is_success:
        logger.info("webhook_delivered", extra=fields)
        return
    logger.warning("webhook_failed", extra=fields | {"status": answer.status, "failure": str(answer.failure)})
    endpoint.refresh_from_db()
    if answer.status == GONE:
        disable(endpoint, WebhookEndpoint.Reason.GONE)
    elif endpoint.is_hopeless:
        disable(endpoint, WebhookEndpoint.Reason.FAILING)


def disable(endpoint: WebhookEndpoint, reason: WebhookEndpoint.Reason) -> None:
    """Send no more messages to the endpoint, and tell the managers by e-mail."""
    if endpoint.disable(reason):
        logger.error("webhook_endpoint_disabled", extra={"endpoint": endpoint.pk, "reason": str(reason)})
        tell_managers(endpoint, reason)
