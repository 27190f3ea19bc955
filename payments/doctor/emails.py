"""Checks for e-mails that are late or failed, and of the mail server."""

import datetime

from django.core.mail import get_connection
from django.utils import timezone
from django.utils.translation import gettext as _

from ..conf import app_settings
from ..emails import outbox
from ..models import Email
from .events import GRACE
from .finding import Verdict, age, error, ok, warning

RECENT = datetime.timedelta(days=7)


def unsent() -> Verdict:
    if not outbox.switched_on():
        if app_settings.CLINIC_OPERATOR_EMAIL:
            return warning(
                _("E-mail is off: no receipt, no link for a forgotten password and no report of the doctor is sent."),
                _("Set EMAIL_URL, or leave OPERATOR_EMAIL empty if that is intended."),
            )
        return ok(_("E-mail is off. To send receipts, set EMAIL_URL."))
    now = timezone.now()
    if given_up := Email.objects.given_up().filter(given_up_at__gt=now - RECENT):
        return error(
            _("E-mails given up in the last 7 days: %(count)s. The last error was: %(error)s.")
            % {"count": given_up.count(), "error": given_up[0].error},
            _("Correct the patients’ addresses or EMAIL_URL, then run `manage.py send_emails --failed`."),
        )
    if late := Email.objects.unsent().filter(created_at__lt=now - GRACE).order_by("created_at").first():
        return warning(
            _("An e-mail has been waiting for %(age)s (%(error)s).")
            % {"age": age(late.created_at), "error": late.error or _("not tried yet")},
            _("Check the mail server in EMAIL_URL."),
        )
    return ok(_("All e-mails sent."))


def mail_server() -> Verdict:
    """Check that the mail server lets the site in, without sending anything."""
    if not outbox.switched_on():
        return ok(_("E-mail is off. To send receipts, set EMAIL_URL."))
    try:
        with get_connection():
            return ok(_("The mail server lets the site in."))
    except OSError as failure:  # also what smtplib raises
        return error(
            _("The mail server in EMAIL_URL doesn’t let the site in (%(error)s).") % {"error": type(failure).__name__},
            _("Correct its host, port, user or password in EMAIL_URL. E-mails wait for three days meanwhile."),
        )
