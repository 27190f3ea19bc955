"""Creates e-mails about changes of payments, such as receipts, and sends all e-mails, in a separate process.

The process reads the staff feed, a numbered list of all committed changes of payments, so that no webhook waits for a
mail server. Each e-mail is sent once, unless the process dies while sending. Then the e-mail is sent again with an
unchanged Message-ID.
"""

import datetime
import logging
from smtplib import SMTPException, SMTPRecipientsRefused
from typing import NamedTuple

from django.conf import settings
from django.core.mail import BadHeaderError, get_connection
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ..models import Email, FeedEntry, FeedReader, Installation, Payment, StatusChange
from ..models.feed import STAFF
from .message import message_of
from .report import happened_at, report_of
from .requests import STALE, reason_against

logger = logging.getLogger(__name__)

BATCH = 100
DUMMY = "django.core.mail.backends.dummy.EmailBackend"
READER = "emails"


def switched_on() -> bool:
    """Return whether the site sends e-mails, that is, whether a mail server is configured."""
    return settings.EMAIL_BACKEND != DUMMY


def unread() -> QuerySet[FeedEntry]:
    """Return the entries of the staff feed (list of all changes) that the e-mail process has not read, oldest first."""
    seq = FeedReader.objects.filter(name=READER).values_list("seq", flat=True).first() or 0
    return FeedEntry.objects.filter(feed__audience=STAFF, seq__gt=seq).order_by("seq")


def queue() -> list[Email]:
    """Create an Email row for each unread change of a payment that needs an e-mail, and return the created rows.

    How far the e-mail process has read the staff feed (the list of changes) is committed together with the rows, so
    that no change gets two e-mails.
    """
    emails: list[Email] = []
    while (batch := _queue_batch()) is not None:
        emails += batch
    return emails


def _queue_batch() -> list[Email] | None:
    """Create Email rows for the next BATCH unread changes of payments. Return these rows, or None if all are read."""
    with transaction.atomic():
        FeedReader.objects.get_or_create(name=READER)
        reader = FeedReader.objects.select_for_update().get(name=READER)
        entries = list(unread().select_related("change__payment__appointment__patient")[:BATCH])
        if not entries:
            return None
        sent_until = Installation.objects.get().emails_sent_until
        emails = [email for entry in entries if (email := email_about(entry.change, sent_until))]
        Email.objects.bulk_create(emails)
        reader.seq = entries[-1].seq
        reader.save(update_fields=["seq"])
        return emails


def email_about(change: StatusChange, sent_until: datetime.datetime | None) -> Email | None:
    """Return an unsaved Email about the change, or None if no e-mail should be sent.

    None is sent if the change is older than STALE, if the patient has no address, or if the change reports what
    happened until `sent_until`: a backup was restored, and e-mails about events until then were sent before.
    """
    if not change.payment.appointment.patient.email or change.created_at < timezone.now() - STALE:
        return None
    report = report_of(change)
    if report is None or (sent_until and happened_at(change, report) <= sent_until):
        return None
    return Email(payment=change.payment, change=change, kind=report.kind, amount=report.amount)


def waiting(moment: datetime.datetime) -> QuerySet[Email]:
    """Return the unsent e-mails that were queued at or before `moment`."""
    return Email.objects.unsent().filter(created_at__lte=moment)


def forget_until(moment: datetime.datetime) -> None:
    """Send no more e-mails about what happened until `moment`; call this after a restore, to send no e-mail twice.

    A restored backup doesn't know which e-mails were sent after it was made. This also holds for changes that are made
    later, when the site fetches Stripe's events and objects again.
    """
    with transaction.atomic():
        Installation.objects.update(emails_sent_until=moment)
        waiting(moment).delete()


class Sent(NamedTuple):
    """How many e-mails of a batch were sent, failed, or were dropped because there was no more reason to send them."""

    sent: int
    failed: int
    dropped: int


def send_due() -> Sent:
    """Send the oldest e-mails that are due, BATCH at most."""
    # A patient's address may have been removed since their e-mail was queued.
    Email.objects.unsent().filter(payment__appointment__patient__email="").delete()
    due = list(Email.objects.due().select_related("change", "pay_link")[:BATCH])
    if not due:
        return Sent(0, 0, 0)
    connection = get_connection()
    down = ""
    try:
        connection.open()
    except (OSError, SMTPException) as error:
        down = type(error).__name__
    try:
        outcomes = [_try(email, connection, down) for email in due if email.claim()]
    finally:
        connection.close()
    return Sent(outcomes.count(True), outcomes.count(False), outcomes.count(None))


def _try(email: Email, connection: object, down: str) -> bool | None:
    """Send one e-mail, store the result, and return whether the e-mail was sent; None if it is no longer to be sent.

    The payment is read again just before, so that nobody who has paid is asked to pay. `down` is the name of the
    exception that was raised when the connection was opened, or "" if the connection is open.
    """
    error, hopeless = down, False
    email.payment = Payment.objects.with_appointment().get(pk=email.payment_id)
    about = {"email_id": email.pk, "payment_id": str(email.payment.public_id), "kind": email.kind}
    if reason := reason_against(email):
        email.delete()
        logger.info("email_dropped", extra=about | {"reason": reason})
        return None
    if not down:
        try:
            message_of(email, connection).send()
        except Exception as raised:  # noqa: BLE001 - one e-mail that fails must not stop the others
            error, hopeless = type(raised).__name__, _is_hopeless(raised)
    if error:
        email.failed(error, hopeless=hopeless)
        logger.warning("email_failed", extra=about | {"error": error, "tries": email.tries})
    else:
        email.sent()
        logger.info("email_sent", extra=about)
    return not error


def _is_hopeless(error: Exception) -> bool:
    """Return whether retrying is useless: the server refused all addresses for good, or a header is malformed.

    Reply codes of 500 and above are permanent: https://www.rfc-editor.org/rfc/rfc5321#section-4.2.1
    """
    if isinstance(error, SMTPRecipientsRefused):
        return all(code >= 500 for code, _said in error.recipients.values())
    return isinstance(error, BadHeaderError)
