from django.conf import settings
from django.http import HttpRequest

from .logs import request_id

STRIPE = "https://api.stripe.com"


def site(request: HttpRequest) -> dict[str, object]:
    """What every page shows: whose site it is, whether money is real, and in errors what to look for in the log."""
    sandbox = settings.STRIPE_API_HOST != STRIPE
    return {
        "clinic_name": settings.CLINIC_NAME,
        "clinic_address": settings.CLINIC_ADDRESS,
        "real_money": settings.STRIPE_LIVE_MODE,
        "reference": request_id.get(),
        "sandbox_url": settings.STRIPE_API_HOST if sandbox else "",
    }
