from django.urls import path, re_path

from . import webhooks

urlpatterns = [
    # With and without the last slash: Stripe counts a redirect as a failed delivery.
    re_path(r"^stripe/webhook/?$", webhooks.stripe_webhook, name="stripe_webhook"),
    path("stripe/webhook/<uuid:djstripe_uuid>", webhooks.stripe_webhook),
    path("stripe/webhook/<uuid:djstripe_uuid>/", webhooks.stripe_webhook, name="stripe_webhook_endpoint"),
]
