from .api_key import ApiKey
from .api_use import ApiUse
from .stored_answer import StoredAnswer

__all__ = ["ApiKey", "ApiUse", "StoredAnswer"]
