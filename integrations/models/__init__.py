from .calendar_link import CalendarLink
from .import_file import ImportFile
from .webhook_endpoint import WebhookEndpoint
from .webhook_message import WebhookAttempt, WebhookMessage

__all__ = ["CalendarLink", "ImportFile", "WebhookAttempt", "WebhookEndpoint", "WebhookMessage"]
