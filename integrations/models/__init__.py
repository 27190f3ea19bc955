from .webhook_endpoint import WebhookEndpoint
from .webhook_message import WebhookAttempt, WebhookMessage

__all__ = ["WebhookAttempt", "WebhookEndpoint", "WebhookMessage"]
