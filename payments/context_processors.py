from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, object]:
    """What every page shows: whose site it is, and whether money is real."""
    return {"clinic_name": settings.CLINIC_NAME, "real_money": settings.STRIPE_LIVE_MODE}
