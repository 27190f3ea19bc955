"""The texts that tell patients and staff what a payment's status means and what changed."""

import datetime
from collections.abc import Mapping
from dataclasses import asdict

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from appointments.models import Appointment, Prepayment
from appointments.money import format_amount

from .domain.cards import CardState
from .domain.status import Amounts, Review
from .domain.status import PaymentStatus as Status
from .models import Payment, StatusChange

Words = Mapping[str, Promise]

TO_PATIENT: Words = {
    Status.UNPAID: _("Pay online now, or at the front desk when you come."),
    Status.CHECKOUT_OPEN: _("You started to pay and have not been charged yet. Continue whenever you like."),
    Status.PROCESSING: _(
        "Your payment is with your bank, which may take up to 14 working days to confirm it. You have"
        " nothing more to do."
    ),
    Status.PAID: _("Thank you, your payment is confirmed."),
    Status.UNDERPAID: _("We received %(net)s of %(due)s. The front desk is checking and will contact you."),
    Status.FAILED: _("The payment did not go through, and you have not been charged. Try again, or use another card."),
    Status.EXPIRED: _(
        "The payment page was open for too long and has closed. You have not been charged, and you can start again."
    ),
    Status.VOID: _("There is nothing to pay."),
    Status.REFUND_PENDING: _(
        "A refund of %(refund_pending)s is on its way. Your bank may take 5 to 10 working days to show it."
    ),
    Status.PARTIALLY_REFUNDED: _("We have refunded %(refunded)s of %(received)s to you."),
    Status.REFUNDED: _("We have refunded %(refunded)s to you. Your bank may take 5 to 10 working days to show it."),
    Status.DISPUTED: _("Your bank is looking into this payment at your request. The front desk is following the case."),
    Status.CHARGED_BACK: _("Your bank took this payment back. Please contact the front desk."),
}
TO_STAFF: Words = {
    Status.UNPAID: _("Nothing received yet."),
    Status.CHECKOUT_OPEN: _("The patient has a payment page open and has not been charged yet."),
    Status.PROCESSING: _(
        "The direct debit is under way and may take up to 14 working days. Don’t ask the patient to pay again."
    ),
    Status.PAID: _("Received in full."),
    Status.UNDERPAID: _("%(net)s received, %(owed)s still owed."),
    Status.FAILED: _("The last attempt failed, and the patient was not charged. The patient can try again."),
    Status.EXPIRED: _("The payment page closed before the patient paid. The patient was not charged."),
    Status.VOID: _("There is nothing to pay."),
    Status.REFUND_PENDING: _("A refund of %(refund_pending)s is on its way; Stripe has not confirmed it yet."),
    Status.PARTIALLY_REFUNDED: _("%(refunded)s of %(received)s was refunded."),
    Status.REFUNDED: _("The full amount was refunded: %(refunded)s."),
    Status.DISPUTED: _("The patient’s bank disputes this payment. No refund is possible until the dispute is decided."),
    Status.CHARGED_BACK: _("The bank took %(lost)s back. Nothing more can be refunded."),
}
STILL_TO_PAY = (Status.UNPAID, Status.CHECKOUT_OPEN, Status.FAILED, Status.EXPIRED)
OVERPAID = _("The clinic has %(net)s, which is %(overpaid)s too much.")
# The codes of https://docs.stripe.com/declines/codes that a patient can do something about.
DECLINES: Words = {
    "authentication_required": _("Your bank asks you to confirm this payment. Continue to finish it."),
    "expired_card": _("This card has expired. You have not been charged: use another card."),
    "incorrect_cvc": _("The security code was wrong. You have not been charged: please try again."),
    "insufficient_funds": _("There is not enough money on this card. You have not been charged: use another card."),
    "card_declined": _(
        "Your bank declined this card. You have not been charged: use another card, or contact your bank."
    ),
    "generic_decline": _(
        "Your bank declined this card. You have not been charged: use another card, or contact your bank."
    ),
    "payment_intent_authentication_failure": _(
        "The bank could not confirm that it was you. You have not been charged."
    ),
}
# What staff are told of a declined card. The other codes say nothing that staff could act on, or that a patient should
# hear at the desk, such as "lost_card".
DECLINE_REASONS: Words = {
    "authentication_required": _("not confirmed with the bank"),
    "expired_card": _("card expired"),
    "incorrect_cvc": _("wrong security code"),
    "incorrect_number": _("wrong card number"),
    "insufficient_funds": _("not enough money"),
    "payment_intent_authentication_failure": _("not confirmed with the bank"),
    "processing_error": _("the bank could not be reached"),
}
NO_REASON = _("no reason given")
FEE_TO_PAY = _("This appointment is cancelled. A cancellation fee of %(owed)s is due.")
LOST_TO_PAY = _("Your bank took %(lost)s back, so that %(owed)s is due again.")
# Where the words of a status would be wrong or say too little, to staff.
DEPOSIT_ASKED = _("Nothing received yet. A deposit of %(asked)s is asked for first.")
DEPOSIT_RECEIVED = _("The deposit of %(net)s is paid, %(owed)s still owed.")
HAS_INSTRUCTIONS = _("The patient has instructions from Stripe for paying, and no money has arrived yet.")
CARD_DECLINED = _("The patient’s card was declined, and nothing was charged. The patient can try again.")
NOT_CONFIRMED = _("The patient’s bank wants this payment confirmed. Nothing has been charged yet.")
NOTHING_LEFT = _("%(received)s was received, but nothing of it is left. %(owed)s is owed.")
NO_LONGER_OWED = _("%(net)s received. %(waived)s is no longer owed.")
KEPT_AS_FEE = _("%(net)s is kept as a cancellation fee.")
REST_TO_PAY = _("We received %(net)s. %(owed)s is left to pay.")
TOO_MUCH = _("We received %(net)s, which is %(overpaid)s too much. The front desk is checking and will contact you.")
PAID_BUT_CANCELED = _(
    "This appointment is cancelled, and we have received %(overpaid)s too much. The front desk is checking and will"
    " contact you."
)
FEE_PAID = _("This appointment is cancelled. You paid a cancellation fee of %(net)s.")
DEPOSIT_TO_PAY = _("Pay a deposit of %(asked)s now. The rest can be paid later, online or at the front desk.")
DEPOSIT_PAID = _("Your deposit of %(net)s is paid. %(owed)s is left to pay.")
ONLY_AT_DESK = _("%(asked)s can only be paid at the front desk, because Stripe does not charge such an amount.")
INSTRUCTIONS = _("Pay with the instructions that Stripe gave you. This page shows the payment as soon as it arrives.")
UNPAID_AFTERWARDS = _("Pay online now, or at the front desk.")
CHARGING = _("The fee is being charged to the kept card. If Stripe doesn’t answer, this site asks again by itself.")
BEING_CHARGED = _("The fee that you agreed to is being charged to your card.")
FEE_DECLINED = _("The fee of %(owed)s could not be charged to your card. Please pay it with another card.")
NO_SHOW_TO_PAY = _("You did not come to this appointment. The no-show fee of %(owed)s is due.")
NO_SHOW_PAID = _("You did not come to this appointment. You paid a no-show fee of %(net)s.")
NO_SHOW_OWED = _("The patient did not come. The no-show fee of %(owed)s is owed.")
NO_SHOW_KEPT = _("%(net)s is kept as a no-show fee.")
# How an open payment page stands, by the label of the attempt.
OPEN_PAGE = {"instructions": HAS_INSTRUCTIONS, "failed": CARD_DECLINED, "requires_action": NOT_CONFIRMED}
REQUIRES_ACTION = DECLINES["authentication_required"]
ATTEMPT_FAILED = DECLINES["card_declined"]


def explain(payment: Payment, *, to_staff: bool) -> str:
    """Return one or two sentences about the payment's status, in the active language, for staff or for the patient."""
    words = _about_a_fee(payment, to_staff=to_staff)
    words = words or (_to_staff(payment) if to_staff else _to_patient(payment))
    if payment.payable and not payment.payable_online:
        words = ONLY_AT_DESK
    text = str(words)
    if "%(" not in text:
        return text  # most texts have no sums, and to format all of them takes time on each push
    return text % {name: format_amount(amount, payment.currency) for name, amount in _sums(payment).items()}


def _to_staff(payment: Payment) -> Promise:
    amounts = payment.amounts
    if amounts.overpaid:
        return OVERPAID
    if payment.status == Status.PAID and payment.terms.canceled:
        return KEPT_AS_FEE
    if payment.status == Status.PAID and amounts.net < amounts.due:
        return NO_LONGER_OWED
    if payment.status in STILL_TO_PAY and amounts.received:
        return NOTHING_LEFT
    if payment.status == Status.CHECKOUT_OPEN and (words := OPEN_PAGE.get(payment.attempt)):
        return words
    return _about_the_deposit(payment, DEPOSIT_ASKED, DEPOSIT_RECEIVED) or TO_STAFF[payment.status]


def _to_patient(payment: Payment) -> Promise:
    words = TO_PATIENT[payment.status]
    if payment.status == Status.PAID:
        return _about_too_much(payment) or words
    if payment.status == Status.UNPAID and payment.appointment.end < timezone.now():
        words = UNPAID_AFTERWARDS
    if not payment.payable:
        return words
    if payment.attempt and (attempt := _about_the_attempt(payment)):  # before sums, which the pay button says too
        return attempt
    if deposit := _about_the_deposit(payment, DEPOSIT_TO_PAY, DEPOSIT_PAID):
        return deposit
    if payment.status == Status.UNDERPAID:
        return REST_TO_PAY
    if payment.status in STILL_TO_PAY and payment.terms.canceled:
        words = FEE_TO_PAY
    elif payment.status in STILL_TO_PAY and payment.amount_lost:
        words = LOST_TO_PAY
    return _about_the_attempt(payment) or words


def _about_too_much(payment: Payment) -> Promise | None:
    """Return a sentence to the patient if more than the price was paid, or anything for a canceled visit, else None."""
    if payment.amounts.overpaid:
        return PAID_BUT_CANCELED if payment.terms.canceled else TOO_MUCH
    return FEE_PAID if payment.terms.canceled and payment.amounts.net > 0 else None


def _about_the_deposit(payment: Payment, to_pay: Promise, paid: Promise) -> Promise | None:
    """Return `to_pay` if the deposit is asked for first, `paid` if exactly the deposit was paid, else None."""
    if payment.status == Status.UNPAID and payment.to_ask < payment.amount_owed:
        return to_pay
    deposit_only = payment.amounts.net == payment.terms.deposit and not payment.terms.canceled
    return paid if payment.status == Status.UNDERPAID and deposit_only else None


def _about_a_fee(payment: Payment, *, to_staff: bool) -> Promise | None:
    """Return a sentence if a kept card is being charged, or if a no-show fee is due instead of the price, else None."""
    if payment.attempt == "charging":
        return CHARGING if to_staff else BEING_CHARGED
    if not payment.has_no_show_fee or payment.amounts.overpaid:
        return None
    if payment.status == Status.PAID:
        return NO_SHOW_KEPT if to_staff else NO_SHOW_PAID
    if payment.status not in (*STILL_TO_PAY, Status.UNDERPAID) or not payment.payable:
        return None
    return NO_SHOW_OWED if to_staff else _about_the_attempt(payment) or NO_SHOW_TO_PAY


def _sums(payment: Payment) -> dict[str, int]:
    amounts = payment.amounts
    others = {"owed": amounts.owed, "overpaid": amounts.overpaid, "net": amounts.net, "asked": payment.to_ask}
    return asdict(amounts) | others


def _about_the_attempt(payment: Payment) -> Promise | None:
    """Return a sentence about the last attempt to pay if it failed or the bank wants it confirmed, else None."""
    if payment.attempt == "requires_action":
        return REQUIRES_ACTION
    if payment.has_instructions:
        return INSTRUCTIONS
    if payment.attempt == "fee_declined":
        return REQUIRES_ACTION if payment.failure_code == "authentication_required" else FEE_DECLINED
    # An attempt that has failed for good was a debit or a voucher: a declined card leaves its payment page open.
    if payment.failure_code and payment.status not in (Status.EXPIRED, Status.FAILED):
        return DECLINES.get(payment.failure_code, ATTEMPT_FAILED)
    return None


# For each status, the name in `Amounts` of the amount to show when a payment reaches that status.
AMOUNT_OF = {
    Status.PAID: "received",
    Status.UNDERPAID: "net",
    Status.REFUND_PENDING: "refund_pending",
    Status.PARTIALLY_REFUNDED: "refunded",
    Status.REFUNDED: "refunded",
    Status.CHARGED_BACK: "lost",
}


CORRECTED = {"patient": _("Patient corrected"), "service": _("Service corrected")}


def describe(change: StatusChange, *, to_staff: bool) -> str:
    """Return the change of a payment as text, such as "Paid · €50.00"; for staff, add why the payment needs a review.

    If the status stayed, and `change.before` holds the earlier amounts, the text says which money moved.
    """
    standing, status = change.standing, Status(change.to_status)
    reasons = ", ".join(str(Review(reason).label) for reason in standing["reviews"]) if to_staff else ""
    parts = [str(status.label)] if change.moved else []
    if to_staff and standing["attempt"] == "fee_declined" and change.moved:
        parts.append(gettext("Kept card declined (%(reason)s)") % {"reason": decline_reason(standing["failure_code"])})
    if change.booking:
        parts += _booking(change)
    elif not change.moved:
        parts += _money(change) or _detail(change, to_staff=to_staff, reviewed=bool(reasons))
    amount = getattr(Amounts(**standing["amounts"]), AMOUNT_OF[status]) if status in AMOUNT_OF else 0
    if amount and (change.moved or not (change.booking or hasattr(change, "before"))):
        parts.append(format_amount(amount, change.payment.currency))
    if reasons:
        parts.append(gettext("To review: %(reasons)s") % {"reasons": reasons})
    return " · ".join(parts)


# For each sum of a payment, what it means that it grows or shrinks.
MOVES: dict[str, tuple[Promise, Promise]] = {
    "received": (_("%(amount)s received"), _("%(amount)s entered by mistake")),
    "refunded": (_("%(amount)s given back"), _("%(amount)s not given back")),
    "refund_pending": (_("%(amount)s to be refunded"), _("%(amount)s no longer to be refunded")),
    "lost": (_("%(amount)s taken back by the bank"), _("%(amount)s returned by the bank")),
    "waived": (_("%(amount)s no longer owed"), _("%(amount)s owed again")),
}


def _money(change: StatusChange) -> list[str]:
    """Return a phrase for each of the payment's amounts that the change moved, such as "€20.00 given back".

    The list is empty if the amounts before the change aren't known.
    """
    before, after = getattr(change, "before", {}), change.standing["amounts"]
    moved = {name: after[name] - before[name] for name in MOVES if name in before and after[name] != before[name]}
    return [
        str(MOVES[name][amount < 0]) % {"amount": format_amount(abs(amount), change.payment.currency)}
        for name, amount in moved.items()
    ]


def _booking(change: StatusChange) -> list[str]:
    """Return phrases for what changed about the appointment, such as "Practitioner changed".

    For a new appointment they are "Appointment booked" and its price.
    """
    news = change.booking
    if change.version == 1:  # a payment's first change is the booking of its appointment
        return [gettext("Appointment booked"), format_amount(*news["price"])]
    words = []
    if "price" in news:
        words.append(gettext("Price changed to %(price)s") % {"price": format_amount(*news["price"])})
    if "start" in news:
        start = timezone.localtime(datetime.datetime.fromisoformat(news["start"]))
        words.append(gettext("Moved to %(time)s") % {"time": date_format(start, "SHORT_DATETIME_FORMAT")})
    if "practitioner" in news:
        words.append(gettext("Practitioner changed"))
    if "card" in news:
        state, brand = card_state(news["card"]), brand_of(news["card_brand"])
        words.append(gettext("%(state)s: %(brand)s") % {"state": state, "brand": brand} if brand else state)
    words += [str(CORRECTED[name]) for name in news.get("corrected", [])]
    if "attendance" in news:
        words.append(str(Appointment.Status(news["attendance"]).label))
    if "arrived" in news:
        words.append(gettext("Arrived") if news["arrived"] else gettext("Arrival taken back"))
    return words + _sums_asked(change) or [gettext("Appointment changed")]


def _sums_asked(change: StatusChange) -> list[str]:
    """Return phrases for the fees and the deposit that the change set, such as "Deposit: €20.00"."""
    news = change.booking
    sums = {
        name: format_amount(news.get(name, 0), change.payment.currency) for name in ("fee", "deposit", "no_show_fee")
    }
    words = []
    if news.get("fee"):
        words.append(gettext("Cancellation fee: %(fee)s") % {"fee": sums["fee"]})
    if "deposit" in news:
        words.append(gettext("Deposit: %(deposit)s") % {"deposit": sums["deposit"]})
    if news.get("no_show_fee"):
        words.append(gettext("No-show fee: at most %(fee)s") % {"fee": sums["no_show_fee"]})
    return words


# For each, what patients read and what staff read.
CONFIRMATION_ASKED = (_("Your bank asks you to confirm"), _("The bank asks the patient to confirm"))
INSTRUCTIONS_GIVEN = (_("You received instructions to pay"), _("The patient received instructions to pay"))


def decline_reason(code: str) -> str:
    """Return why a card was declined as text for staff; `code` is Stripe's decline code, or "" if it gave none."""
    return str(DECLINE_REASONS.get(code, NO_REASON))


def _detail(change: StatusChange, *, to_staff: bool, reviewed: bool) -> list[str]:
    """Return the text for a change that left status and amounts as they were, such as a declined attempt.

    The list is empty if nothing can be said that the reasons for a review (`reviewed`: there are some) don't say.
    """
    attempt = change.standing["attempt"]
    if attempt == "failed" and to_staff:
        return [
            gettext("A payment attempt was declined (%(reason)s)")
            % {"reason": decline_reason(change.standing["failure_code"])}
        ]
    if attempt == "failed":
        return [gettext("A payment attempt was declined")]
    if attempt == "requires_action":
        return [str(CONFIRMATION_ASKED[to_staff])]
    if attempt == "instructions":
        return [str(INSTRUCTIONS_GIVEN[to_staff])]
    return [] if reviewed else [gettext("Details updated: %(status)s") % {"status": Status(change.to_status).label}]


BRANDS = {  # https://docs.stripe.com/api/payment_methods/object#payment_method_object-card-brand
    "amex": "American Express",
    "cartes_bancaires": "CB",
    "diners": "Diners Club",
    "jcb": "JCB",
    "mastercard": "Mastercard",
    "unionpay": "UnionPay",
    "visa": "Visa",
}
PRICE_FIRST = _("Please pay the whole price, %(owed)s, before you come.")
PRICE_FIRST_TO_STAFF = _("The patient is asked for the whole price before the appointment.")
CARD_WANTED = _(
    "Please leave a card for this appointment. Nothing is charged now, and at most %(fee)s if you don’t come or cancel"
    " too late."
)
KEPT_BY_PAYING = _(
    "Your card is also kept when you pay. At most %(fee)s more is charged to it if you don’t come or cancel too late."
)
NOT_KEPT = _("Your card could not be kept. Please try again, or use another card.")
YOUR_CARD = _("Card kept: %(card)s, for at most %(limit)s if you don’t come.")
WANTED_TO_STAFF = _("A card for a no-show fee of at most %(fee)s is asked for, and none is kept yet.")
NOT_KEPT_TO_STAFF = _("The card could not be kept. The patient can try again.")
THE_CARD = _("Card kept: %(card)s. At most %(limit)s may still be charged to it.")
REMOVED = _("The card was removed. Nothing can be charged to it any more.")


def card_state(state: str) -> str:
    """Return whether a card is kept as text, such as "Card kept"; `state` is a CardState."""
    return str(CardState(state).label)


def brand_of(brand: str) -> str:
    """Return a card's brand as people write it: "visa" gives "Visa"."""
    return BRANDS.get(brand, brand.replace("_", " ").capitalize())


def card_label(payment: Payment) -> str:
    """Return the kept card's brand and last digits, such as "Visa •• 4242", as far as they are known."""
    digits = f"•• {payment.card_last4}" if payment.card_last4 else ""
    return " ".join(filter(None, (brand_of(payment.card_brand), digits))) or gettext("a card")


def about_the_card(payment: Payment, *, to_staff: bool) -> str:
    """Return what is asked for in advance besides a deposit, or which card is kept; "" if there is nothing to say."""
    if payment.card != CardState.KEPT and payment.appointment.end < timezone.now():
        return ""
    words = _card_to_staff(payment) if to_staff else _card_to_patient(payment)
    amounts = {"owed": payment.amount_owed, "fee": payment.booking["no_show_fee"], "limit": payment.card_limit}
    sums = {name: format_amount(amount, payment.currency) for name, amount in amounts.items()}
    return str(words) % {"card": card_label(payment), **sums} if words else ""


def _card_to_staff(payment: Payment) -> Promise | None:
    if payment.card == CardState.KEPT:
        return THE_CARD
    if payment.wants_card:
        return NOT_KEPT_TO_STAFF if payment.card == CardState.FAILED else WANTED_TO_STAFF
    if payment.card == CardState.REMOVED:
        return REMOVED
    return PRICE_FIRST_TO_STAFF if _is_asked_for_the_price(payment) else None


def _card_to_patient(payment: Payment) -> Promise | None:
    if payment.card == CardState.KEPT:
        return YOUR_CARD
    if payment.wants_card:
        failed = payment.card == CardState.FAILED
        return NOT_KEPT if failed else KEPT_BY_PAYING if payment.keeps_card_while_paying else CARD_WANTED
    if payment.card == CardState.REMOVED:
        return REMOVED
    return PRICE_FIRST if _is_asked_for_the_price(payment) else None


def _is_asked_for_the_price(payment: Payment) -> bool:
    """Return whether the patient is to pay the whole price in advance, and can. A part that was paid ends this."""
    booked = payment.booking["attendance"] == Appointment.Status.BOOKED
    asked = booked and payment.booking["prepayment"] == Prepayment.PRICE
    return bool(asked and payment.payable_online and payment.amount_owed == payment.price)
