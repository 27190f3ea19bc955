from django.conf import settings
from django.http import HttpRequest

from .logs import request_id


def site(request: HttpRequest) -> dict[str, object]:
    """Return what every page may show: the clinic, whether money is real, and the request's id for error reports."""
    return {
        "clinic_name": settings.CLINIC_NAME,
        "clinic_address": settings.CLINIC_ADDRESS,
        "real_money": settings.STRIPE_LIVE_MODE,
        "reference": request_id.get(),
        "sandbox_url": "" if settings.REAL_STRIPE else settings.STRIPE_API_HOST,
    }
