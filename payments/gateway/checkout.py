"""Opens Stripe Checkout Sessions for payments, and expires Checkout Sessions that must not be paid any more."""

import datetime
import json
import logging
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone, translation
from django.utils.crypto import salted_hmac
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from .. import ledger
from ..domain.facts import Kind, StripeFact
from ..ledger import Cause, Source
from ..models import Customer, Fact, Payment
from ..models.installation import own_site_id
from .client import StripeRefusedError, StripeUnavailableError, call
from .consent import consent_to, words_of
from .metadata import metadata_of
from .reading import understood
from .retrieve import read_session

logger = logging.getLogger(__name__)
HOUR = 60 * 60  # seconds
SESSION_SECONDS = HOUR  # how long a Checkout page stays open; Stripe allows 30 minutes to 24 hours
LEAST_SECONDS = 10 * 60  # how long an open page must stay open for another click to lead to it
MOST_PAGES = 10  # that are opened for one payment within an hour
LANGUAGES = {"fr": "fr", "en": "en"}  # Stripe's name of each of the site's languages


class NotPayableError(Exception):
    """Raised when nothing can be paid online now, or when the amount changed while a payment page was being opened."""


class TooManyPagesError(Exception):
    """Raised when MOST_PAGES payment pages were opened within an hour. From `again_at` on another one can be opened."""

    def __init__(self, again_at: datetime.datetime) -> None:
        super().__init__(str(again_at))
        self.again_at = again_at


def open_checkout(
    payment: Payment,
    *,
    return_url: str,
    cancel_url: str,
    language: str,
    prefill: bool = True,
    actor: AbstractUser | None = None,
) -> str:
    """Return the URL of a page at Stripe for paying what is asked now, and close the payment's other pages.

    An open page is used again if it shows the same and stays open for a while. Stripe replaces {CHECKOUT_SESSION_ID} in
    `return_url` with the session's id. `prefill` is whether the page shows the patient's e-mail address. Raises
    NotPayableError, TooManyPagesError, StripeRefusedError and StripeUnavailableError.
    https://docs.stripe.com/api/checkout/sessions/create
    """
    page = _page(payment, return_url, cancel_url, language, prefill=prefill)
    terms = salted_hmac("payments.checkout", json.dumps(page)).hexdigest()
    try:
        _ask_about_open_page(payment, terms)
        attempt, url = _next_attempt(payment, terms, page)
        return url or _open_page(payment, page, attempt, terms, actor)
    except (StripeRefusedError, StripeUnavailableError) as error:
        logger.warning("checkout_failed", extra={"payment_id": str(payment.public_id), "error": str(error)})
        raise


def _open_page(payment: Payment, page: Mapping[str, str], attempt: str, terms: str, actor: AbstractUser | None) -> str:
    """Open a page for this attempt, close the payment's other pages, and return the URL of the page that stays open."""
    try:
        _close_other_pages(payment, terms)
        session, as_of = _create(payment, page, attempt)
    except Exception:
        forget_attempt(payment, attempt)
        raise
    ledger.record(understood(session, as_of), Cause(Source.CHECKOUT, actor=actor))
    return _url_for_all(payment, terms)


def _page(payment: Payment, return_url: str, cancel_url: str, language: str, *, prefill: bool) -> dict[str, str]:
    """Return what a payment page shows and where it leads, apart from the amount.

    `line` in the result names what is paid for. It must tell nothing about the patient's health, so it names the
    practitioner and the day, but no service. If the page also keeps the patient's card, `consent` is what the patient
    agrees to by paying.
    """
    appointment = payment.appointment
    with translation.override(language):
        names = {
            "practitioner": appointment.practitioner.name,
            "day": date_format(timezone.localtime(appointment.start), "DATE_FORMAT"),
            "reference": appointment.reference,
        }
        line = _("Appointment with %(practitioner)s, %(day)s (%(reference)s)") % names
    page = {"line": line, "success_url": return_url, "cancel_url": cancel_url, "locale": LANGUAGES.get(language, "en")}
    if payment.keeps_card_while_paying:
        return page | {"consent": words_of(payment, language)}
    email = appointment.patient.email if prefill else ""
    return page | ({"customer_email": email} if _is_valid(email) else {})


def _is_valid(email: str) -> bool:
    """Return whether Stripe accepts this e-mail address; with one that it rejects, Stripe would not open the page."""
    try:
        validate_email(email)
    except ValidationError:
        return False
    return email.isascii()


def _create(payment: Payment, page: Mapping[str, str], attempt: str) -> tuple[dict[str, Any], int]:
    """Create the Checkout Session for the attempt with this name; return Stripe's answer and its Unix time."""
    metadata = metadata_of(payment, attempt=attempt)
    price = {
        "currency": payment.currency,
        "unit_amount": payment.to_ask,
        "product_data": {"name": page["line"]},
    }
    params: Any = {
        **{name: value for name, value in page.items() if name not in ("line", "consent")},
        "mode": "payment",
        "line_items": [{"quantity": 1, "price_data": price}],
        "client_reference_id": str(payment.public_id),
        "metadata": metadata,
        "payment_intent_data": {"metadata": metadata},
        "expires_at": expires_at(),
    }
    if words := page.get("consent"):
        params["payment_intent_data"]["setup_future_usage"] = "off_session"
        params |= {"customer": customer_of(payment), "payment_method_types": ["card"]}
        params["custom_text"] = {"submit": {"message": words}}
    once: Any = {"idempotency_key": f"checkout-{payment.public_id}-{attempt}"}
    return call(lambda stripe: stripe.v1.checkout.sessions.create(params, once))


def expires_at() -> int:
    """Return when a page that is opened now closes by itself, in Unix seconds."""
    return int(time.time()) + SESSION_SECONDS


def customer_of(payment: Payment) -> str:
    """Return the id of the customer at Stripe for the payment's patient and currency; create one if there is none.

    A customer's payments are all in one currency, so that Stripe never refuses a kept card because of it. Raises
    StripeRefusedError and StripeUnavailableError.
    """
    mine = {"patient_id": payment.appointment.patient_id, "currency": payment.currency}
    found = Customer.objects.filter(**mine).first()
    if found is None:
        params: Any = {"metadata": {"site": own_site_id()}}
        made, _as_of = call(lambda stripe: stripe.v1.customers.create(params))
        found, _made = Customer.objects.get_or_create(**mine, defaults={"stripe_customer_id": made["id"]})
    return found.stripe_customer_id


def _ask_about_open_page(payment: Payment, terms: str) -> None:
    """Ask Stripe for the state of the open page with these terms, as it may be paid before a webhook tells so.

    `terms` is a hash of what the page shows and where it leads.
    """
    payment.refresh_from_db()
    for fact in _open_sessions(payment):
        if _is_usable(payment, fact, terms):
            ledger.record(read_session(fact.stripe_id), Cause(Source.CHECKOUT))


def _close_other_pages(payment: Payment, terms: str) -> None:
    """Expire the payment's open sessions that can't be used for a page with `terms` (a hash of what it shows).

    Raises NotPayableError if nothing is to be paid online any more, as when one of these sessions has been paid.
    """
    _expire(fact for fact in _open_sessions(payment) if not _is_usable(payment, fact, terms))
    payment.refresh_from_db()
    if not payment.payable_online:
        raise NotPayableError


def _is_usable(payment: Payment, session: Fact, terms: str) -> bool:
    """Return whether this open session can serve a click that wants a page with `terms` (a hash of what it shows)."""
    lasting = int(session.details.get("expires_at", 0)) - time.time() > LEAST_SECONDS
    return lasting and _opened_page(payment, session).get("terms") == terms and _asks_rightly(payment, session)


def _opened_page(payment: Payment, session: Fact) -> Mapping[str, Any]:
    """Return what the payment's row notes about this session's page, or {} if it notes nothing any more."""
    return next((page for page in payment.checkouts if page["attempt"] == session.attempt), {})


def _next_attempt(payment: Payment, terms: str, page: Mapping[str, str]) -> tuple[str, str]:
    """Return the name of a new attempt to pay and "" or, if a usable page is open, "" and its URL.

    `terms` is a hash of what the page shows. The payment's row is locked meanwhile, so that simultaneous clicks can't
    exceed MOST_PAGES. If paying also keeps the card, what the patient agrees to is recorded. Also reloads the payment
    from the database. Raises NotPayableError and TooManyPagesError.
    """
    attempt = new_attempt()
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        if not row.payable_online:
            raise NotPayableError
        usable = next((fact for fact in _open_sessions(row) if _is_usable(row, fact, terms)), None)
        if usable:
            return "", str(usable.details["url"])
        if row.keeps_card_while_paying != ("consent" in page):  # it has changed since the page was made
            raise NotPayableError
        add_page(row, attempt, terms)
        if "consent" in page:
            ledger.record([consent_to(row, attempt, page["locale"])], Cause(Source.CHECKOUT))
    payment.refresh_from_db()
    return attempt, ""


def add_page(row: Payment, attempt: str, terms: str) -> None:
    """Note in the locked payment `row` that a page is opened for this attempt; `terms` is a hash of what it shows.

    Raises TooManyPagesError if MOST_PAGES were opened within an hour.
    """
    now = int(time.time())
    row.checkouts = [page for page in row.checkouts if page["at"] > now - HOUR]
    if len(row.checkouts) >= MOST_PAGES:
        again_at = row.checkouts[-MOST_PAGES]["at"] + HOUR
        raise TooManyPagesError(datetime.datetime.fromtimestamp(again_at, datetime.UTC))
    patient = row.appointment.patient_id
    row.checkouts.append({"attempt": attempt, "at": now, "terms": terms, "patient": patient})
    row.save(update_fields=["checkouts"])


def forget_attempt(payment: Payment, attempt: str) -> None:
    """Delete an attempt to pay for which Stripe opened no page, so that an outage doesn't use up MOST_PAGES."""
    with transaction.atomic():
        row = Payment.objects.locked().get(pk=payment.pk)
        row.checkouts = [page for page in row.checkouts if page["attempt"] != attempt]
        row.save(update_fields=["checkouts"])


def new_attempt() -> str:
    """Return a name for an attempt to pay, such as "1780142400000-9f86d081". Names sort by their time in milliseconds.

    No name is ever used twice, even after a restore. The name is a part of the idempotency key, and for a used key
    Stripe would return the old session instead of opening a new one.
    """
    return f"{time.time_ns() // 1_000_000:013}-{secrets.token_hex(4)}"


def _url_for_all(payment: Payment, terms: str) -> str:
    """Return the URL of one open page with `terms` (a hash of what it shows), and expire the payment's other sessions.

    Simultaneous clicks open several sessions. The session that was recorded first is kept, because its URL may have
    been returned already. Raises NotPayableError if that session has other terms, as after simultaneous clicks in two
    languages, or if the amount has changed while Stripe was opening the page.
    """
    payment.refresh_from_db()
    kept = next((fact for fact in _open_sessions(payment) if _asks_rightly(payment, fact)), None)
    expire_open(payment, keep=kept)
    if kept is None or not _is_usable(payment, kept, terms):
        raise NotPayableError
    return str(kept.details["url"])


def _open_sessions(payment: Payment) -> list[Fact]:
    """Return the payment's open Checkout Sessions, in the order in which they were recorded."""
    return list(payment.facts.filter(kind=Kind.SESSION, status="open").order_by("pk"))


def open_setup_pages(payment: Payment) -> list[Fact]:
    """Return the payment's open Checkout Sessions that would keep a card and take no payment."""
    return list(payment.facts.filter(kind=Kind.SETUP_PAGE, status="open").order_by("pk"))


def wrong_sessions(payment: Payment) -> list[Fact]:
    """Return the payment's open Checkout Sessions for another amount, currency or patient than what is asked now.

    If nothing is to be paid online, all of its open sessions are returned, and if no card is wanted, all pages that
    would keep one.
    """
    wrong = [fact for fact in _open_sessions(payment) if not _asks_rightly(payment, fact)]
    return wrong + ([] if payment.wants_card else open_setup_pages(payment))


def _asks_rightly(payment: Payment, session: Fact) -> bool:
    asked = (session.amount, session.currency)
    patient = payment.appointment.patient_id
    its_own = _opened_page(payment, session).get("patient", patient) == patient
    return its_own and payment.payable_online and asked == (payment.to_ask, payment.currency)


def expire_open(payment: Payment, *, keep: Fact | None = None) -> None:
    """Expire the payment's open Checkout Sessions at Stripe, except the one in the row `keep`.

    If Stripe refuses because a Checkout Session has been paid or has expired meanwhile, its new state is recorded.
    Raises StripeUnavailableError.
    """
    _expire(fact for fact in _open_sessions(payment) if keep is None or fact.pk != keep.pk)


def expire_setup_pages(payment: Payment) -> None:
    """Expire the payment's open Checkout Sessions that would keep a card. Raises StripeUnavailableError."""
    _expire(open_setup_pages(payment))


def expire_wrong(payment: Payment) -> None:
    """Expire the payment's `wrong_sessions` at Stripe. Raises StripeUnavailableError."""
    _expire(wrong_sessions(payment))


def _expire(sessions: Iterable[Fact]) -> None:
    for fact in sessions:
        ledger.record(_expired(fact.stripe_id), Cause(Source.CHECKOUT))


def _expired(session_id: str) -> list[StripeFact]:
    """Expire the Checkout Session and return its new state, whatever Stripe says that it is."""
    try:
        session, as_of = call(lambda stripe: stripe.v1.checkout.sessions.expire(session_id))
    except StripeRefusedError:
        return read_session(session_id)
    return understood(session, as_of)


def expire_superfluous(payments: Sequence[Payment]) -> None:
    """Expire these payments' open Checkout Sessions if nothing is due any more, or if the amount due has changed.

    Errors are only logged, because `manage.py sweep` tries again.
    """
    pages = Fact.objects.filter(kind__in=(Kind.SESSION, Kind.SETUP_PAGE), status="open")
    open_for = pages.filter(payment__pk__among=[payment.pk for payment in payments])
    for payment in Payment.objects.filter(pk__in=open_for.values("payment")):
        try:
            expire_wrong(payment)
        except (StripeUnavailableError, StripeRefusedError) as error:
            logger.warning("checkout_expire_failed", extra={"payment_id": str(payment.public_id), "error": str(error)})
