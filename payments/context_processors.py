from django.conf import settings
from django.http import HttpRequest

from .logs import request_id


def site(request: HttpRequest) -> dict[str, object]:
    """What every page shows: whose site it is, whether money is real, and in errors what to look for in the log."""
    return {
        "clinic_name": settings.CLINIC_NAME,
        "clinic_address": settings.CLINIC_ADDRESS,
        "real_money": settings.STRIPE_LIVE_MODE,
        "reference": request_id.get(),
        "sandbox_url": "" if settings.REAL_STRIPE else settings.STRIPE_API_HOST,
    }
