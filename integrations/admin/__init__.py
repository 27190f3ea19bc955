from .api_keys import ApiKeyAdmin, ApiUseAdmin
from .appointments import ImportingAppointmentAdmin
from .webhooks import WebhookEndpointAdmin, WebhookMessageAdmin

__all__ = ["ApiKeyAdmin", "ApiUseAdmin", "ImportingAppointmentAdmin", "WebhookEndpointAdmin", "WebhookMessageAdmin"]
