"""The newest news for staff: which patient paid, was refunded or had a card declined, in one line each."""

from dataclasses import dataclass

from django.db.models import OuterRef, Subquery
from django.utils import timezone
from django.utils.translation import gettext as _

from appointments.models import Appointment
from appointments.money import format_amount
from people.names import name_of

from ..domain.status import PaymentStatus, Review
from ..models import FeedEntry, StatusChange
from ..models.feed import STAFF

LOOKED_AT = 60  # newest entries of the feed in which news is looked for
SHOWN = 5


@dataclass(frozen=True, slots=True)
class News:
    """One line of news: `words` say what happened to whom."""

    change: StatusChange
    words: str

    @property
    def appointment(self) -> Appointment:
        return self.change.payment.appointment

    @property
    def is_of_today(self) -> bool:
        """Return whether the appointment is today, so that its hour alone tells which one it is."""
        return timezone.localdate(self.appointment.start) == timezone.localdate()


def newest_news(head: int) -> list[News]:
    """Return today's newest news, the newest first; `head` is the number of the newest entry in the staff's feed."""
    before = StatusChange.objects.filter(payment=OuterRef("payment"), version=OuterRef("change__version") - 1)
    people = ("change", "payment__appointment__patient", "payment__appointment__practitioner")
    entries = (
        FeedEntry.objects.filter(feed__audience=STAFF, seq__gt=head - LOOKED_AT, seq__lte=head)
        .select_related(*people)
        .annotate(standing_before=Subquery(before.values("standing")[:1]))
        .order_by("-seq")
    )
    found = []
    for entry in entries:
        entry.change.payment = entry.payment
        if entry.change.is_news and timezone.localdate(entry.change.created_at) == timezone.localdate():
            earlier = entry.standing_before["amounts"]["received"] if entry.standing_before else 0
            found.append(News(entry.change, _words(entry.change, earlier)))
    return found[:SHOWN]


def _words(change: StatusChange, received_before: int) -> str:
    """Return what the change tells staff, such as "Camille Roux paid €30.00"."""
    payment, standing = change.payment, change.standing
    who = {"name": name_of(payment.appointment.patient)}

    def with_amount(words: str, amount: int) -> str:
        return words % {**who, "amount": format_amount(amount, payment.currency)}

    amounts = standing["amounts"]
    if (received := amounts["received"] - received_before) > 0:
        said = with_amount(_("%(name)s paid %(amount)s"), received)
    elif standing["attempt"] == "failed":
        said = _("%(name)s’s card was declined") % who
    elif change.to_status == PaymentStatus.REFUND_PENDING:
        said = with_amount(_("Refund of %(amount)s to %(name)s on its way"), amounts["refund_pending"])
    elif change.to_status in (PaymentStatus.REFUNDED, PaymentStatus.PARTIALLY_REFUNDED):
        said = with_amount(_("%(amount)s refunded to %(name)s"), amounts["refunded"])
    else:
        said = _("%(name)s: %(status)s") % {**who, "status": PaymentStatus(change.to_status).label}
    return " · ".join([said, *(str(Review(reason).label) for reason in standing["reviews"])])
