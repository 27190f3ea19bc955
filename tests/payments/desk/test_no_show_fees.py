"""Tests of fees that are charged to kept cards while their owners are absent, with the sandbox as Stripe."""

import datetime
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from accounts.models import User
from appointments.models import Appointment, Prepayment
from payments.desk.giving_back import give_back
from payments.desk.journal import lines_of
from payments.desk.no_show_fees import NotChargeableError, charge_fee
from payments.desk.refund_orders import Order
from payments.domain.status import PaymentStatus as S
from payments.emails import outbox
from payments.gateway import fees
from payments.gateway.checkout import NotPayableError
from payments.gateway.client import StripeUnavailableError
from payments.gateway.fees import DeclinedError
from payments.models import Fact, Payment
from payments.wording import describe, explain
from tests.payments.clients import text_of
from tests.payments.sandbox import StripeAtHome, leave_card, open_checkout

pytestmark = pytest.mark.django_db
FEE = 3000
NO_SHOW, CANCELED = Appointment.Status.NO_SHOW, Appointment.Status.CANCELED
ALWAYS_ASKS, NEVER_PAYS = "4000002760003184", "4000000000000341"


def mark(payment: Payment, status: Appointment.Status, fee: int = 0) -> Payment:
    payment.appointment.status, payment.appointment.fee_amount = status, fee
    payment.appointment.save()
    payment.refresh_from_db()
    return payment


@pytest.fixture
def absent(book: Callable[..., Payment], stripe: StripeAtHome) -> Callable[..., Payment]:
    """Return a function that books an appointment of 50,00 €, keeps a card for 30,00 €, and marks a no-show."""

    def absent(card: str = "4242424242424242", status: Appointment.Status = NO_SHOW, fee: int = 0) -> Payment:
        payment = book(prepayment=Prepayment.CARD, no_show_fee_amount=FEE)
        leave_card(payment, stripe, card)
        return mark(payment, status, fee)

    return absent


def charge(payment: Payment, clerk: User, amount: int = FEE, key: str = "") -> Payment:
    charge_fee(payment, amount, clerk, key=key or uuid4().hex)
    payment.refresh_from_db()
    return payment


def in_english(payment: Payment, *, to_staff: bool) -> str:
    with translation.override("en"):
        return explain(payment, to_staff=to_staff)


def charged(stripe: StripeAtHome) -> list[int]:
    """Return the amounts that were charged at Stripe, in minor units."""
    return [charge["amount"] for charge in stripe.listed("charges") if charge["paid"]]


def post(stripe: StripeAtHome, path: str, **form: str) -> None:
    headers = {"Authorization": "Bearer sk_test_000000000000000000000000"}
    request = urllib.request.Request(f"{stripe.url}/v1/{path}", urllib.parse.urlencode(form).encode(), headers)
    urllib.request.urlopen(request, timeout=60).close()


@contextmanager
def unanswered(stripe: StripeAtHome, *, processed: bool) -> Iterator[None]:
    """Lose Stripe's answers and webhooks to charges in the `with` block; `processed` is whether Stripe does them."""
    fault = {"processed": processed, "drop_webhooks": processed, "match": "/v1/payment_intents", "method": "POST"}
    stripe.do("api", mode="error500", **fault)
    with pytest.raises(StripeUnavailableError):
        yield
    stripe.do("api", mode="ok")


def sweep_after(stripe: StripeAtHome, **later: float) -> None:
    """Run the command sweep as if this time had passed, here and at Stripe."""
    passed = datetime.timedelta(**later)
    stripe.do("clock", offset=int(passed.total_seconds()))
    with time_machine.travel(timezone.now() + passed):
        call_command("sweep", "--quiet-for", "0")


def test_a_fee_is_charged_to_the_kept_card_and_is_money_like_any_other(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User
) -> None:
    payment = absent()
    assert (payment.amount_due, payment.amount_owed, payment.fee_to_charge) == (FEE, FEE, FEE)
    assert in_english(payment, to_staff=True) == "The patient did not come. The no-show fee of €30.00 is owed."
    charge(payment, clerk)
    stripe.tell()
    payment.refresh_from_db()
    assert (payment.status, payment.amount_received, payment.amount_owed, payment.reviews) == (S.PAID, FEE, 0, [])
    assert (payment.fee_to_charge, payment.card_limit) == (0, 0)
    assert [(line.amount, line.movement.method, line.actor) for line in lines_of(payment)] == [(FEE, "card", clerk)]
    assert in_english(payment, to_staff=False).endswith("You paid a no-show fee of €30.00.")
    assert {change.actor for change in payment.changes.filter(to_status__in=[S.PROCESSING, S.PAID])} == {clerk}
    give_back(payment, Order(1000, ""), clerk, key=uuid4().hex)
    payment.refresh_from_db()
    assert (payment.status, payment.amount_refunded, payment.card_limit) == (S.PARTIALLY_REFUNDED, 1000, 0)


def test_the_patient_is_never_asked_for_anything_while_absent(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment, sent = absent(), []

    def keep(request: Any) -> Any:
        class Spy:
            def __getattr__(self, name: str) -> Any:
                return self

            def create(self, params: Any, options: Any) -> Any:
                sent.append((params, options))
                raise RuntimeError

        return request(Spy())

    monkeypatch.setattr(fees, "call", keep)
    with pytest.raises(RuntimeError):
        charge(payment, clerk)
    params, options = sent[0]
    assert (params["confirm"], params["off_session"], params["error_on_requires_action"]) == (True, True, True)
    assert "setup_future_usage" not in params
    assert sorted(params["metadata"]) == ["attempt", "fee_request", "payment_id", "site"]
    assert options["idempotency_key"] == Fact.objects.get(stripe_id__startswith="request_").stripe_id


def test_a_cancellation_fee_is_charged_up_to_what_was_agreed(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User
) -> None:
    payment = absent(status=CANCELED, fee=4000)
    assert (payment.amount_owed, payment.fee_to_charge) == (4000, FEE)
    with pytest.raises(NotChargeableError):
        charge(payment, clerk, 4000)
    charge(payment, clerk)
    assert (payment.status, payment.amount_owed, payment.fee_to_charge) == (S.UNDERPAID, 1000, 0)
    assert charged(stripe) == [FEE]


@pytest.mark.parametrize("status", [Appointment.Status.BOOKED, Appointment.Status.COMPLETED, CANCELED])
def test_nothing_is_charged_without_a_no_show_or_a_fee(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User, status: Appointment.Status
) -> None:
    payment = absent(status=status)
    with pytest.raises(NotChargeableError):
        charge(payment, clerk)
    assert charged(stripe) == []


def test_without_an_agreement_a_no_show_owes_the_price(book: Callable[..., Payment], clerk: User) -> None:
    payment = mark(book(prepayment=Prepayment.CARD, no_show_fee_amount=FEE), NO_SHOW)
    assert (payment.amount_owed, payment.fee_to_charge) == (5000, 0)


def test_a_removed_card_is_not_charged_and_the_fee_stays_owed(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User
) -> None:
    payment = absent()
    post(stripe, f"payment_methods/{payment.facts.get(kind='card').stripe_id}/detach")
    stripe.tell()
    with pytest.raises(NotChargeableError):
        charge(payment, clerk)
    payment.refresh_from_db()
    assert (payment.amount_owed, payment.payable_online) == (FEE, True)


def test_the_same_form_sent_twice_charges_once(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User
) -> None:
    payment = absent()
    for _ in range(2):
        charge(payment, clerk, key="c0ffee")
    assert charged(stripe) == [FEE]


def test_two_clicks_on_two_screens_charge_once(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User
) -> None:
    payment = absent()
    charge(Payment.objects.get(pk=payment.pk), clerk)
    with pytest.raises(NotChargeableError):
        charge(payment, clerk)
    assert charged(stripe) == [FEE]


def test_a_decline_changes_nothing_that_is_owed_and_another_try_has_another_key(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User
) -> None:
    payment = absent(NEVER_PAYS)
    with pytest.raises(DeclinedError) as declined:
        charge(payment, clerk, key="c0ffee")
    assert declined.value.code == "generic_decline"
    stripe.tell()
    payment.refresh_from_db()
    assert (payment.status, payment.amount_owed, payment.fee_to_charge) == (S.FAILED, FEE, FEE)
    assert (payment.failure_code, payment.reviews) == ("generic_decline", [])
    assert [intent["status"] for intent in stripe.listed("payment_intents")] == ["canceled"]
    Fact.objects.filter(kind="card").update(stripe_id=attached(stripe, payment))  # the patient has left another card
    charge(payment, clerk, key="decade")
    assert (payment.status, payment.amount_received) == (S.PAID, FEE)


def attached(stripe: StripeAtHome, payment: Payment) -> str:
    """Attach another card to the payment's customer at Stripe, and return the PaymentMethod's id."""
    post(stripe, "payment_methods/pm_card_visa/attach", customer=payment.facts.get(kind="card").details["customer"])
    return str(stripe.listed("payment_methods")[0]["id"])


def test_a_declined_fee_sends_no_e_mail_about_a_debit(absent: Callable[..., Payment], clerk: User) -> None:
    payment = absent(NEVER_PAYS)
    with pytest.raises(DeclinedError):
        charge(payment, clerk)
    assert outbox.queue() == []
    last = payment.changes.get(to_status=S.FAILED)
    with translation.override("en"):
        assert describe(last, to_staff=True) == "Payment failed · Kept card declined (no reason given)"
        assert describe(last, to_staff=False) == "Payment failed"


def test_authentication_required_cancels_the_intent_and_then_a_link_is_paid_once(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User
) -> None:
    payment = absent(ALWAYS_ASKS)
    with pytest.raises(DeclinedError) as declined:
        charge(payment, clerk)
    assert declined.value.code == fees.AUTHENTICATION_REQUIRED
    assert [intent["status"] for intent in stripe.listed("payment_intents")] == ["canceled"]
    stripe.tell()
    payment.refresh_from_db()
    assert (payment.status, payment.amount_owed, payment.payable_online) == (S.FAILED, FEE, True)
    assert "Your bank asks you to confirm" in in_english(payment, to_staff=False)
    session = open_checkout(payment)
    assert stripe.session(session)["amount_total"] == FEE
    stripe.do("pay", session=session)
    stripe.tell()
    call_command("sweep", "--quiet-for", "0")  # makes nothing a second time
    payment.refresh_from_db()
    assert (payment.status, payment.amount_received, payment.reviews) == (S.PAID, FEE, [])
    assert charged(stripe) == [FEE]


def test_no_link_is_offered_while_the_intent_is_not_canceled(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User
) -> None:
    payment = absent(ALWAYS_ASKS)
    stripe.do("api", mode="403", match="/cancel")
    with pytest.raises(StripeUnavailableError):
        charge(payment, clerk)
    payment.refresh_from_db()
    assert (payment.status, payment.attempt, payment.payable_online) == (S.PROCESSING, "charging", False)
    with pytest.raises(NotPayableError):
        open_checkout(payment)
    stripe.do("api", mode="ok")
    sweep_after(stripe, minutes=2)
    payment.refresh_from_db()
    assert (payment.status, payment.amount_owed, payment.payable_online) == (S.FAILED, FEE, True)


def test_an_intent_that_stripe_refuses_to_cancel_is_asked_what_it_became(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User
) -> None:
    payment = absent(ALWAYS_ASKS)
    with unanswered(stripe, processed=True):
        charge(payment, clerk)
    request = Fact.objects.get(stripe_id__startswith="request_").value
    stale = fees._made_for(request)
    assert stale is not None
    post(stripe, f"payment_intents/{stale[0]['id']}/confirm", payment_method=attached(stripe, payment))
    fees._settle(request, stale, "", None)
    payment.refresh_from_db()
    assert (payment.status, payment.amount_received) == (S.PAID, FEE)


@pytest.mark.parametrize("later", [{"minutes": 2}, {"days": 2}])
def test_a_charge_whose_answer_and_webhooks_were_lost_is_made_once(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User, later: dict[str, float]
) -> None:
    payment = absent()
    with unanswered(stripe, processed=True):
        charge(payment, clerk)
    payment.refresh_from_db()
    assert (payment.status, payment.amount_owed, payment.amount_on_its_way) == (S.PROCESSING, 0, FEE)
    assert "being charged" in in_english(payment, to_staff=True)
    sweep_after(stripe, **later)
    payment.refresh_from_db()
    assert (payment.status, payment.amount_received) == (S.PAID, FEE)
    assert charged(stripe) == [FEE]


@pytest.mark.parametrize(("later", "expected"), [({"minutes": 2}, [FEE]), ({"hours": 2}, [])])
def test_a_request_that_never_left_is_sent_once_or_withdrawn_when_it_is_old(
    absent: Callable[..., Payment],
    stripe: StripeAtHome,
    clerk: User,
    monkeypatch: pytest.MonkeyPatch,
    later: dict[str, float],
    expected: list[int],
) -> None:
    payment = absent()
    with monkeypatch.context() as crash:
        crash.setattr(fees, "send", None)  # the process dies between the commit and the request
        with pytest.raises(TypeError):
            charge(payment, clerk)
    for _ in range(2):
        sweep_after(stripe, **later)
    payment.refresh_from_db()
    assert charged(stripe) == expected
    assert (payment.status, payment.amount_owed) == ((S.PAID, 0) if expected else (S.FAILED, FEE))


def test_the_patients_open_page_is_closed_before_the_card_is_charged(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User
) -> None:
    payment = absent()
    session = open_checkout(payment)
    charge(payment, clerk)
    assert stripe.session(session)["status"] == "expired"
    assert charged(stripe) == [FEE]


def test_nothing_is_charged_if_the_patient_has_just_paid(
    absent: Callable[..., Payment], stripe: StripeAtHome, clerk: User
) -> None:
    payment = absent()
    stripe.do("pay", session=open_checkout(payment))
    with pytest.raises(NotChargeableError):
        charge(payment, clerk)
    assert charged(stripe) == [FEE]


def fee_page(client: Client, payment: Payment, **posted: Any) -> Any:
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    path = reverse("clinic:charge_fee", args=[payment.appointment.reference])
    return client.post(path, posted, follow=True) if posted else client.get(path)


def test_staff_confirm_the_fee_on_a_page_that_shows_what_was_agreed(
    absent: Callable[..., Payment], as_clerk: Client
) -> None:
    payment = absent()
    page = text_of(fee_page(as_clerk, payment))
    assert "Charge €30.00 to Visa •• 4242?" in page
    assert "may charge it at most €30.00 in all" in page
    assert "€30.00 charged to Visa •• 4242." in text_of(fee_page(as_clerk, payment, amount=FEE, key=uuid4().hex))
    assert "Nothing can be charged to the card now." in text_of(fee_page(as_clerk, payment))


def test_the_page_says_that_a_card_was_declined_and_offers_another_try(
    absent: Callable[..., Payment], as_clerk: Client
) -> None:
    payment, key = absent(NEVER_PAYS), uuid4().hex
    answer = fee_page(as_clerk, payment, amount=FEE, key=key)
    assert "The card was declined (no reason given). Nothing was charged, and the fee is still owed." in text_of(answer)
    assert answer.status_code == 409
    assert key not in answer.content.decode()


def test_the_page_offers_a_link_if_the_bank_wants_the_patient(absent: Callable[..., Payment], as_clerk: Client) -> None:
    payment = absent(ALWAYS_ASKS)
    answer = fee_page(as_clerk, payment, amount=FEE, key=uuid4().hex)
    assert "The bank wants the patient to confirm this payment. Nothing was charged." in text_of(answer)
    assert reverse("clinic:collect", args=[payment.appointment.reference]) in answer.content.decode()


@pytest.mark.parametrize("amount", ["2000", "-3000", "x", ""])
def test_a_page_that_shows_another_amount_charges_nothing(
    absent: Callable[..., Payment], stripe: StripeAtHome, as_clerk: Client, amount: str
) -> None:
    answer = fee_page(as_clerk, absent(), amount=amount, key=uuid4().hex)
    assert "nothing was charged" in text_of(answer)
    assert charged(stripe) == []


def test_the_page_says_that_stripe_did_not_answer(
    absent: Callable[..., Payment], stripe: StripeAtHome, as_clerk: Client
) -> None:
    payment = absent()
    stripe.do("api", mode="error500", match="/v1/payment_intents")
    answer = fee_page(as_clerk, payment, amount=FEE, key=uuid4().hex)
    assert "This site finds out by itself whether the card was charged." in text_of(answer)
