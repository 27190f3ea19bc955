"""Tells managers by e-mail that a webhook endpoint was disabled."""

import logging
from smtplib import SMTPException

from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import override

from payments.addresses import absolute
from payments.emails.message import language_of

from ..models import WebhookEndpoint

logger = logging.getLogger(__name__)


def tell_managers(endpoint: WebhookEndpoint, reason: WebhookEndpoint.Reason) -> None:
    """E-mail every superuser and everybody in the group "manager", in their language, why the endpoint was disabled.

    An e-mail that can't be sent is only logged: `payments_doctor` reports the disabled endpoint too.
    """
    leads = Q(is_superuser=True) | Q(groups__name="manager")
    managers = get_user_model()._base_manager.filter(leads, is_active=True).distinct()
    page = absolute("admin:clinic_integrations_webhookendpoint_change", endpoint.pk)
    for manager in managers.exclude(email=""):
        with override(language_of(manager)):
            subject = _("Webhook endpoint disabled")
            said = {"url": endpoint.url, "reason": reason.label, "page": page}
            text = _(
                "%(url)s gets no more messages.\n\nReason: %(reason)s.\n\nOnce the receiver works again, make the"
                " endpoint active on this page; the messages that wait are then sent:\n%(page)s\n"
            )
            try:
                send_mail(subject, text % said, None, [manager.email])
            except (OSError, SMTPException) as error:
                logger.warning("webhook_notice_failed", extra={"error": type(error).__name__})
