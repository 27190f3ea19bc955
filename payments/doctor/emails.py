"""A check for e-mails that are late or failed."""

import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from ..emails import outbox
from ..models import Email
from .events import GRACE
from .finding import Verdict, age, error, ok, warning

RECENT = datetime.timedelta(days=7)


def unsent() -> Verdict:
    if not outbox.switched_on():
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
