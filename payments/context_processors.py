from django.conf import settings
from django.http import HttpRequest

STRIPE = "https://api.stripe.com"


def site(request: HttpRequest) -> dict[str, object]:
    """What every page shows: whose site it is, and whether money is real."""
    sandbox = settings.STRIPE_API_HOST != STRIPE
    return {
        "clinic_name": settings.CLINIC_NAME,
        "clinic_address": settings.CLINIC_ADDRESS,
        "real_money": settings.STRIPE_LIVE_MODE,
        "sandbox_url": settings.STRIPE_API_HOST if sandbox else "",
    }
