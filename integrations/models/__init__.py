from .api_key import ApiKey
from .api_use import ApiUse
from .calendar_link import CalendarLink
from .import_file import ImportFile
from .stored_answer import StoredAnswer
from .webhook_endpoint import WebhookEndpoint
from .webhook_message import WebhookAttempt, WebhookMessage

__all__ = [
    "ApiKey",
    "ApiUse",
    "CalendarLink",
    "ImportFile",
    "StoredAnswer",
    "WebhookAttempt",
    "WebhookEndpoint",
    "WebhookMessage",
]
