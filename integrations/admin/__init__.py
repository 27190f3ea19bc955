from .webhooks import WebhookEndpointAdmin, WebhookMessageAdmin

__all__ = ["WebhookEndpointAdmin", "WebhookMessageAdmin"]
