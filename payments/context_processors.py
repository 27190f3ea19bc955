from django.http import HttpRequest

from .conf import app_settings
from .logs import request_id


def site(request: HttpRequest) -> dict[str, object]:
    """Return the variables that every template has, such as the clinic's name and whether payments are real.

    `reference` is the HTTP request's id, which error pages show. `sandbox_url` is "" unless the sandbox that imitates
    Stripe is used. `layout` is the template that pages extend which can also be shown in a dialog: htmx then asks for
    their content alone.
    """
    return {
        "clinic_name": app_settings.CLINIC_NAME,
        "clinic_address": app_settings.CLINIC_ADDRESS,
        "clinic_contact": app_settings.CLINIC_CONTACT,
        "real_money": app_settings.STRIPE_LIVE_MODE,
        "reference": request_id.get(),
        "layout": "payments/dialog.html" if request.headers.get("HX-Target") == "dialog" else "payments/base.html",
        "sandbox_url": "" if app_settings.real_stripe else app_settings.STRIPE_API_HOST,
    }
