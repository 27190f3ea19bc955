"""What pages say about pay links, which patients get one by e-mail, and sending one by text message."""

import datetime
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from django.contrib.auth.models import AbstractUser
from django.db.models import Q
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override, pgettext_lazy

from appointments.money import format_amount

from ..conf import app_settings
from ..models import Email, PayLink, Payment
from ..models.pay_link import LinkState
from ..models.payment import PaymentQuerySet
from ..signals import sms_requested

logger = logging.getLogger(__name__)

SMS = _("%(clinic)s: %(amount)s to pay. Pay online: %(link)s")
MOST = 200  # recipients that one page lists
SMS_PAUSE = datetime.timedelta(minutes=1)  # so that a double click sends one text message

# What the page says, as a title and a sentence, when a link leads neither to paying nor to the receipt.
OVER: dict[LinkState, tuple[Promise, Promise]] = {
    LinkState.EXPIRED: (
        _("This link has expired"),
        _("You have not been charged. Ask the front desk for a new link, or sign in to pay."),
    ),
    LinkState.REPLACED: (
        _("There is a newer link"),
        _("Please use the newest link from the clinic. If you cannot find it, ask the front desk, or sign in to pay."),
    ),
    LinkState.ENDED: (
        _("This link is no longer valid"),
        _("The clinic has ended it. Ask the front desk whether something is still to be paid, or sign in to see it."),
    ),
    LinkState.NOTHING_DUE: (
        _("There is nothing to pay"),
        _("Nothing is due for this appointment any more. You have nothing to do."),
    ),
    LinkState.RECEIPT_OVER: (
        _("This payment was made a while ago"),
        _("The receipt is no longer shown here. Sign in to see it, or ask the front desk for a copy."),
    ),
}
STATES: dict[LinkState, Promise] = {
    LinkState.OPEN: pgettext_lazy("pay link", "open"),
    LinkState.PAID: _("paid, shows the receipt"),
    LinkState.NOTHING_DUE: _("nothing to pay any more"),
    LinkState.RECEIPT_OVER: pgettext_lazy("pay link", "paid"),
    LinkState.EXPIRED: pgettext_lazy("pay link", "expired"),
    LinkState.REPLACED: _("replaced by a newer link"),
    LinkState.ENDED: pgettext_lazy("pay link", "ended"),
}


@dataclass(frozen=True, slots=True)
class LinkLine:
    """A pay link as the appointment's page lists it."""

    link: PayLink
    state: LinkState

    @property
    def label(self) -> str:
        return str(PayLink.Channel(self.link.channel).label)

    @property
    def words(self) -> str:
        return str(STATES[self.state])

    @property
    def may_end(self) -> bool:
        return self.state == LinkState.OPEN and not self.link.ended_at


def lines_of(payment: Payment) -> list[LinkLine]:
    """Return the payment's links, the newest first."""
    links = payment.pay_links.select_related("ended_by", "made_by")
    for link in links:
        link.payment = payment  # has its appointment loaded
    return [LinkLine(link, link.state) for link in links]


@dataclass(frozen=True, slots=True)
class Recipient:
    """A payment whose patient may be sent a pay link. `earlier` are the e-mails with one for this appointment and time.

    The newest of `earlier` comes first.
    """

    payment: Payment
    earlier: list[Email]

    @property
    def name(self) -> str:
        """Return what the form sends for this recipient: the appointment's reference and the number of earlier e-mails.

        A form that is sent twice thus names e-mails that exist already.
        """
        return f"{self.payment.appointment.reference}.{len(self.earlier)}"

    @property
    def has_address(self) -> bool:
        return bool(self.payment.appointment.patient.email)

    @property
    def last(self) -> Email | None:
        return self.earlier[0] if self.earlier else None

    @property
    def is_waiting(self) -> bool:
        return self.last is not None and self.last.is_waiting


def recipients(payments: PaymentQuerySet) -> list[Recipient]:
    """Return the recipients among `payments`: at most MOST whose payment can be made online now."""
    owing = list(payments.filter(payable=True, amount_owed__gt=0).with_appointment()[:MOST])
    found = [payment for payment in owing if payment.payable_online]
    sent = Email.objects.filter(kind=Email.Kind.PAY_LINK, payment__in=found).order_by("payment", "-pk")
    by_payment = {key: list(emails) for key, emails in groupby(sent, lambda email: email.payment_id)}
    return [Recipient(payment, _for(payment.appointment.start, by_payment.get(payment.pk, ()))) for payment in found]


def _for(start: datetime.datetime, emails: Iterable[Email]) -> list[Email]:
    return [email for email in emails if email.start == start]


def requests_of(payment: Payment) -> list[Email]:
    """Return the e-mails that asked for this payment, or will, the newest first."""
    return list(payment.emails.filter(kind__in=Email.ASKING).order_by("-pk"))


def can_text() -> bool:
    """Return whether somebody sends text messages for this site."""
    return sms_requested.has_listeners()


def text_for(payment: Payment, link: PayLink, language: str) -> str:
    """Return the text message in `language`: the clinic's name, the amount and the link, and nothing of the person."""
    with override(language):
        amount = format_amount(payment.to_ask, payment.currency)
        return str(SMS) % {"clinic": app_settings.CLINIC_NAME, "amount": amount, "link": link.url}


class NotTextedError(Exception):
    """Raised when a text message was not sent: one was sent a moment ago, nothing is to be paid, or sending failed."""


def text(payment: Payment, actor: AbstractUser, language: str) -> None:
    """Send the payment's patient a link by text message. Raises NotTextedError."""
    payment.refresh_from_db()
    phone = payment.appointment.patient.phone
    if not payment.payable_online or not phone:
        raise NotTextedError
    link = PayLink.objects.offer(payment, PayLink.Channel.SMS, actor)
    now = timezone.now()
    mine = PayLink.objects.filter(Q(sent_at=None) | Q(sent_at__lt=now - SMS_PAUSE), pk=link.pk)
    if not mine.update(sent_at=now):
        raise NotTextedError
    about = {"payment_id": str(payment.public_id)}
    message = text_for(payment, link, language)
    answers = sms_requested.send_robust(PayLink, phone=phone, text=message)
    failed = [answer for _receiver, answer in answers if isinstance(answer, Exception)]
    if failed:
        PayLink.objects.filter(pk=link.pk).update(sent_at=None)
        logger.error("sms_failed", extra=about | {"error": type(failed[0]).__name__})  # the error may name the number
        raise NotTextedError
    logger.info("sms_sent", extra=about)
