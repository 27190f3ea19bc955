from .api_keys import ApiKeyAdmin, ApiUseAdmin

__all__ = ["ApiKeyAdmin", "ApiUseAdmin"]
