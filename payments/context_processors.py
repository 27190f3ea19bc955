from django.conf import settings
from django.http import HttpRequest

from .logs import request_id


def site(request: HttpRequest) -> dict[str, object]:
    """Return the variables that every template has, such as the clinic's name and whether payments are real.

    `reference` is the HTTP request's id, which error pages show. `sandbox_url` is "" unless the sandbox that imitates
    Stripe is used. `layout` is the template that pages extend which can also be shown in a dialog: htmx then asks for
    their content alone.
    """
    return {
        "clinic_name": settings.CLINIC_NAME,
        "clinic_address": settings.CLINIC_ADDRESS,
        "clinic_contact": settings.CLINIC_CONTACT,
        "real_money": settings.STRIPE_LIVE_MODE,
        "reference": request_id.get(),
        "layout": "payments/dialog.html" if request.headers.get("HX-Target") == "dialog" else "payments/base.html",
        "sandbox_url": "" if settings.REAL_STRIPE else settings.STRIPE_API_HOST,
    }
