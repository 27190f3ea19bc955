"""Tests of the pages on which the desk takes money, gives it back, corrects entries and decides about missing money."""

import datetime
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from appointments.models import Appointment
from payments.desk import refund_approvals
from payments.desk.journal import lines_of
from payments.desk.review import WORDS, cases_of
from payments.domain.facts import Kind
from payments.domain.methods import Method
from payments.domain.status import PaymentStatus, Review
from payments.models import Payment
from payments.views import access
from tests.payments.clients import client_of, desk_page_of, page_of, signed_in, text_of
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
today = pytest.mark.usefixtures("noon")  # for tests of what is only possible on the day of an entry
Book = Callable[..., Payment]
REFUND = {"through": "stripe", "reason": "requested_by_customer"}


def take(client: Client, payment: Payment, amount: str, method: str = "cash", **fields: str) -> Any:
    form = {"method": method, "amount": amount, "key": uuid4().hex, **fields}
    return client.post(f"{desk_page_of(payment)}take/", form, follow=True)


def refund(client: Client, payment: Payment, **fields: str) -> Any:
    """Post the refund form with a new key; `fields` are added to the form's usual fields or replace them."""
    return client.post(f"{desk_page_of(payment)}refund/", {**REFUND, "key": uuid4().hex, **fields})


def give_back(client: Client, payment: Payment, amount: str, **fields: str) -> Payment:
    """Post the confirmed refund form for `amount` euros, and return the payment with its new values."""
    assert refund(client, payment, amount=amount, confirmed="1", **fields).status_code == 302
    payment.refresh_from_db()
    return payment


def decide(client: Client, payment: Payment, name: str, **fields: str) -> Any:
    path = f"{desk_page_of(payment)}decide/{name}/"
    answer = client.post(path, {"key": uuid4().hex, **fields}, follow=True)
    payment.refresh_from_db()
    return answer


def cancel(client: Client, payment: Payment, fee: str = "0") -> Any:
    answer = client.post(f"{desk_page_of(payment)}cancel/", {"fee": fee})
    payment.refresh_from_db()
    return answer


def take_back(story: Story, amount: int = 5000) -> Payment:
    """Let the patient's bank take back `amount` cents in a dispute that the clinic loses, and return the payment."""
    deliver(story.dispute("needs_response", amount=amount))
    deliver(story.dispute("lost", "closed", amount=amount))
    story.payment.refresh_from_db()
    return Payment.objects.with_appointment().get(pk=story.payment.pk)


def actions(payment: Payment) -> list[tuple[Review, str]]:
    return [(case.review, case.action) for case in cases_of([payment])]


# Taking money


@pytest.mark.parametrize("method", list(Method))
def test_each_method_can_pay_a_part_and_the_rest_stays_owed(as_clerk: Client, payment: Payment, method: Method) -> None:
    take(as_clerk, payment, "20,00", method)
    page = take(as_clerk, payment, "15,50", "terminal")
    payment.refresh_from_db()
    assert (payment.amount_received, payment.amount_owed, payment.status) == (3550, 1450, PaymentStatus.UNDERPAID)
    assert "Reste à payer 14,50 €" in text_of(page)
    assert payment.reviews == []


def test_the_change_is_said_after_the_form_and_only_the_amount_counts(as_clerk: Client, payment: Payment) -> None:
    page = take(as_clerk, payment, "35,00", received="50")
    assert "Monnaie à rendre : 15,00 €" in text_of(page)
    payment.refresh_from_db()
    assert payment.amount_received == 3500


def test_too_little_cash_is_refused_but_only_for_cash(as_clerk: Client, payment: Payment) -> None:
    page = take(as_clerk, payment, "35,00", received="30")
    assert (page.status_code, "moins que le montant" in text_of(page)) == (422, True)
    assert take(as_clerk, payment, "35,00", "terminal", received="30").status_code == 200
    payment.refresh_from_db()
    assert payment.amount_received == 3500


def test_a_cheque_keeps_its_day_of_deposit_and_any_payment_its_note(as_clerk: Client, payment: Payment) -> None:
    take(as_clerk, payment, "20,00", "cheque", deposited="2031-02-03", note="BNP 123")
    page = text_of(take(as_clerk, payment, "10,00", "cash", deposited="2031-02-03"))
    deposits = {line.movement.method: line.deposited for line in lines_of(payment)}
    assert deposits == {"cheque": datetime.date(2031, 2, 3), "cash": None}
    assert "BNP 123" in page
    assert "en banque le 03/02/2031" in page


def test_a_deposit_and_what_was_received_are_offered_as_amounts(as_clerk: Client, payment: Payment) -> None:
    payment.appointment.deposit_amount = 2000
    payment.appointment.save()
    form = as_clerk.get(f"{desk_page_of(payment)}take/").context["form"]
    assert form["amount"].value() == "50,00"
    assert [quick.words for quick in form.quick_amounts] == ["Acompte · 20,00\xa0€", "Tout ce qui est dû · 50,00\xa0€"]
    assert as_clerk.get(f"{desk_page_of(payment)}cancel/").context["form"].quick_amounts == []
    take(as_clerk, payment, "20,00")
    assert as_clerk.get(f"{desk_page_of(payment)}take/").context["form"].quick_amounts == []
    [kept] = as_clerk.get(f"{desk_page_of(payment)}cancel/").context["form"].quick_amounts
    assert kept == ("20,00", "Tout ce qui a été reçu · 20,00\xa0€")


def test_several_movements_are_summed_up(as_clerk: Client, payment: Payment) -> None:
    total = "Total encaissé 35,00 €"
    assert total not in text_of(take(as_clerk, payment, "20,00"))
    assert total in text_of(take(as_clerk, payment, "15,00", "terminal"))


def test_nobody_takes_more_than_is_owed(as_clerk: Client, payment: Payment) -> None:
    take(as_clerk, payment, "20,00")
    page = take(as_clerk, payment, "30,01")
    assert (page.status_code, "au plus 30,00 €" in text_of(page)) == (422, True)


def test_an_amount_is_never_taken_or_kept_in_another_currency_than_the_page_showed(
    as_clerk: Client, payment: Payment
) -> None:
    payment.appointment.currency = "chf"
    payment.appointment.save()
    taken = take(as_clerk, payment, "20,00", currency="eur")
    kept = as_clerk.post(f"{desk_page_of(payment)}cancel/", {"fee": "20", "currency": "eur"})
    for page in (taken, kept):
        assert (page.status_code, "La devise est maintenant CHF" in text_of(page)) == (422, True)
    payment.refresh_from_db()
    assert (payment.amount_received, payment.appointment.canceled) == (0, False)
    take(as_clerk, payment, "20,00", currency="chf")
    payment.refresh_from_db()
    assert payment.amount_received == 2000


def test_cancelling_keeps_what_somebody_else_has_just_changed(
    as_clerk: Client, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The view reads the appointment before it saves the status; here its service and price change in between."""
    read = access.open_payment_or_404

    def overtaken(*args: Any, **lookup: Any) -> Payment:
        found = read(*args, **lookup)
        other = Appointment.objects.get(pk=found.appointment_id)
        other.service, other.price_amount = "Bilan", 6000
        other.save()
        return found

    monkeypatch.setattr("payments.views.attendance.open_payment_or_404", overtaken)
    cancel(as_clerk, payment, fee="10")
    appointment = Appointment.objects.get(pk=payment.appointment_id)
    assert (appointment.canceled, appointment.service, appointment.price_amount) == (True, "Bilan", 6000)
    assert (payment.price, payment.amount_owed) == (6000, 1000)


# Refunds


@pytest.fixture
def both(as_clerk: Client, payment: Payment, stripe: StripeAtHome) -> Payment:
    """Return a payment that was paid in two ways: 20 € in cash and 30 € through Stripe."""
    take(as_clerk, payment, "20,00")
    stripe.do("pay", session=open_checkout(payment))
    stripe.tell()
    payment.refresh_from_db()
    return payment


def test_money_goes_back_by_either_way_at_most_what_came_by_it(as_clerk: Client, both: Payment) -> None:
    page = text_of(as_clerk.get(f"{desk_page_of(both)}refund/"))
    assert "au plus 30,00 €" in page
    assert "au plus 20,00 €" in page
    for through, amount, said in (("stripe", "30,01", "au plus 30,00 €"), ("cash", "20,01", "que 20,00 € à rendre")):
        answer = refund(as_clerk, both, through=through, amount=amount, confirmed="1")
        assert (answer.status_code, said in text_of(answer)) == (422, True)
    give_back(as_clerk, both, "20", through="terminal")
    give_back(as_clerk, both, "30", through="stripe")
    assert (both.amount_refunded, both.refundable, both.status) == (5000, 0, PaymentStatus.REFUNDED)


def test_what_was_taken_in_cash_never_goes_through_stripe(as_clerk: Client, payment: Payment) -> None:
    take(as_clerk, payment, "50,00")
    form = as_clerk.get(f"{desk_page_of(payment)}refund/").context["form"]
    assert [value for value, _ in form.fields["through"].choices] == ["cash", "terminal", "cheque", "transfer"]
    assert refund(as_clerk, payment, amount="50", through="stripe", confirmed="1").status_code == 422
    answer = as_clerk.post(
        f"{desk_page_of(payment)}refund/",
        {**REFUND, "through": "cash", "amount": "50", "confirmed": "1", "key": uuid4().hex},
        follow=True,
    )
    payment.refresh_from_db()
    assert (payment.status, payment.amount_refunded, payment.payable) == (PaymentStatus.REFUNDED, 5000, False)
    assert "50,00 € rendus (espèces)" in text_of(answer)


def test_what_a_refund_leaves_owed_is_said_first_and_true_afterwards(as_clerk: Client, payment: Payment) -> None:
    take(as_clerk, payment, "50,00")
    fields = {"through": "cash", "amount": "12,50"}
    assert "Il n’y aura plus rien à payer" in text_of(refund(as_clerk, payment, **fields))
    assert "Il restera 12,50 € à payer" in text_of(refund(as_clerk, payment, **fields, still_owed="1"))
    give_back(as_clerk, payment, "12,50", through="cash")
    assert (payment.amount_owed, payment.amount_waived) == (0, 1250)
    give_back(as_clerk, payment, "10", through="cash", still_owed="1")
    assert (payment.amount_owed, payment.amount_waived, payment.payable) == (1000, 1250, True)


def test_a_typed_amount_counts_and_change_keeps_what_was_typed(
    as_clerk: Client, payment: Payment, story: Story
) -> None:
    deliver(story.succeeded())
    typed = {"amount": "12,50", "still_owed": "1", "reason": "goodwill"}
    confirm = refund(as_clerk, payment, **typed)
    assert "Rembourser 12,50 € à Camille Roux" in text_of(confirm)
    form = confirm.context["form"]
    sent = {name: form[name].value() for name in ("amount", "through", "reason", "still_owed")}
    again = as_clerk.post(f"{desk_page_of(payment)}refund/", {**sent, "change": "1", "key": confirm.context["key"]})
    assert (again.status_code, again.context["key"]) == (200, confirm.context["key"])
    assert {name: again.context["form"][name].value() for name in sent} == {**REFUND, **typed}


def test_whether_it_is_still_owed_is_not_asked_about_what_was_too_much(
    as_clerk: Client, payment: Payment, story: Story
) -> None:
    deliver(story.succeeded())
    cancel(as_clerk, payment)
    form = as_clerk.get(f"{desk_page_of(payment)}refund/").context["form"]
    assert ("still_owed" in form.fields, form.initial["reason"]) == (False, "canceled")
    assert form["amount"].value() == "50,00"


def test_a_refund_that_stripe_refused_can_be_sent_again(as_clerk: Client, paid: Payment, stripe: StripeAtHome) -> None:
    intent = paid.facts.get(kind=Kind.INTENT).stripe_id
    stripe.do("refund", payment_intent=intent, amount=3000)  # in the Dashboard; the site doesn't know of it yet
    refused = refund(as_clerk, paid, amount="50", confirmed="1")
    assert (refused.status_code, "Stripe a refusé" in text_of(refused)) == (409, True)
    again = {**REFUND, "amount": "20", "confirmed": "1", "key": refused.context["key"]}
    assert as_clerk.post(f"{desk_page_of(paid)}refund/", again).status_code == 302
    stripe.tell()
    paid.refresh_from_db()
    assert paid.amount_refunded == 5000


# Entered by mistake


def mistake_path(payment: Payment) -> str:
    entry = payment.facts.get(kind=Kind.OFFLINE)
    return f"{desk_page_of(payment)}mistake/{entry.stripe_id}/"


@today
def test_an_entry_of_today_is_corrected_with_a_reason_and_stays_in_the_list(as_clerk: Client, payment: Payment) -> None:
    take(as_clerk, payment, "20,00")
    path = mistake_path(payment)
    assert path in as_clerk.get(desk_page_of(payment)).content.decode()
    assert as_clerk.post(path, {"reason": ""}).status_code == 422
    for _ in range(2):  # the second, a double click, changes nothing
        assert as_clerk.post(path, {"reason": "Mauvais patient"})["Location"] == desk_page_of(payment)
    payment.refresh_from_db()
    assert (payment.status, payment.amount_received, payment.amount_owed) == (PaymentStatus.UNPAID, 0, 5000)
    page = as_clerk.get(desk_page_of(payment))
    assert "Mauvais patient" in text_of(page)
    assert path not in page.content.decode()
    assert [line.amount for line in lines_of(payment)] == [2000, -2000]


@today
def test_only_its_author_corrects_an_entry_or_who_may_refund_any_amount(as_clerk: Client, payment: Payment) -> None:
    take(as_clerk, payment, "20,00")
    path = mistake_path(payment)
    colleague = signed_in("desk2", "front desk")
    assert colleague.post(path, {"reason": "x"}).status_code == 403
    assert path not in colleague.get(desk_page_of(payment)).content.decode()
    assert signed_in("books", "accountant").post(path, {"reason": "x"}).status_code == 302
    payment.refresh_from_db()
    assert payment.amount_received == 0


@today
def test_yesterdays_entry_stays(as_clerk: Client, clerk: User, payment: Payment) -> None:
    take(as_clerk, payment, "20,00")
    with time_machine.travel(timezone.now() + datetime.timedelta(days=1)):
        assert client_of(clerk).post(mistake_path(payment), {"reason": "x"}).status_code == 403


@today
def test_an_entry_whose_money_was_given_back_is_corrected_in_order(as_clerk: Client, payment: Payment) -> None:
    take(as_clerk, payment, "20,00")
    give_back(as_clerk, payment, "5", through="cash")
    answer = as_clerk.post(mistake_path(payment), {"reason": "x"})
    assert (answer.status_code, "rendu depuis" in text_of(answer)) == (409, True)
    given = payment.facts.get(kind=Kind.DESK_REFUND)
    for entry in (f"{desk_page_of(payment)}mistake/{given.stripe_id}/", mistake_path(payment)):
        assert as_clerk.post(entry, {"reason": "x"}).status_code == 302
    payment.refresh_from_db()
    assert (payment.amounts.net, payment.amount_refunded, payment.amount_owed) == (0, 0, 5000)


# Cancelling with a fee


def test_a_cancellation_keeps_its_fee_in_one_change_and_leads_to_the_refund_of_the_rest(
    as_clerk: Client, payment: Payment, story: Story
) -> None:
    deliver(story.succeeded())
    version = payment.changes.count()
    assert cancel(as_clerk, payment, "20,00")["Location"] == f"{desk_page_of(payment)}refund/"
    assert payment.changes.count() == version + 1
    assert "Annulé · Frais d’annulation : 20,00 € · À vérifier" in text_of(as_clerk.get(desk_page_of(payment)))
    assert (payment.amount_overpaid, payment.reviews) == (3000, [Review.PAID_AFTER_CANCEL])
    form = as_clerk.get(f"{desk_page_of(payment)}refund/").context["form"]
    assert form["amount"].value() == "30,00"
    deliver(story.refund(3000))
    payment.refresh_from_db()
    assert (payment.reviews, payment.amounts.net, payment.amount_owed) == ([], 2000, 0)


@pytest.mark.parametrize("fee", ["50,01", "-1", "x", "1,234"])
def test_a_fee_that_makes_no_sense_cancels_nothing(as_clerk: Client, payment: Payment, fee: str) -> None:
    assert cancel(as_clerk, payment, fee).status_code == 422
    assert not Appointment.objects.get().canceled


def test_a_fee_of_an_unpaid_appointment_is_owed(as_clerk: Client, as_patient: Client, payment: Payment) -> None:
    assert cancel(as_clerk, payment, "20")["Location"] == desk_page_of(payment)
    assert (payment.amount_owed, payment.payable) == (2000, True)
    assert "des frais d’annulation de 20,00 €" in text_of(as_patient.get(page_of(payment)))


def test_what_was_paid_before_a_cancellation_can_be_kept_as_a_fee(
    as_clerk: Client, payment: Payment, story: Story
) -> None:
    deliver(story.succeeded())
    cancel(as_clerk, payment)
    deliver(story.refund(3000))
    payment.refresh_from_db()
    queue = as_clerk.get("/review/")
    assert f"{desk_page_of(payment)}decide/keep-as-fee/" in queue.content.decode()
    assert payment.reviews == [Review.PAID_AFTER_CANCEL]
    decide(as_clerk, payment, "keep-as-fee")
    assert (payment.reviews, payment.terms.fee, payment.amount_owed) == ([], 2000, 0)


def test_a_price_that_was_lowered_after_payment_is_settled_by_a_refund(
    as_clerk: Client, payment: Payment, story: Story
) -> None:
    deliver(story.succeeded())
    payment.appointment.price_amount = 2000
    payment.appointment.save()
    payment.refresh_from_db()
    assert actions(payment) == [(Review.PRICE_CHANGED, "refund")]
    deliver(story.refund(3000))
    payment.refresh_from_db()
    assert (payment.reviews, payment.amount_owed) == ([], 0)


def test_a_price_that_was_raised_is_paid_by_its_rest(
    as_clerk: Client, as_patient: Client, payment: Payment, story: Story
) -> None:
    deliver(story.succeeded())
    payment.appointment.price_amount = 8000
    payment.appointment.save()
    assert "Payer en ligne · 30,00 €" in text_of(as_patient.get(page_of(payment)))
    take(as_clerk, payment, "30,00")
    payment.refresh_from_db()
    assert (payment.status, payment.reviews) == (PaymentStatus.PAID, [])


def test_an_appointment_that_is_booked_again_asks_the_price_again(
    as_clerk: Client, payment: Payment, story: Story
) -> None:
    deliver(story.succeeded())
    cancel(as_clerk, payment)
    deliver(story.refund(5000))
    as_clerk.post(f"{desk_page_of(payment)}attendance/", {"status": "booked"})
    payment.refresh_from_db()
    assert (payment.amount_owed, payment.payable, payment.status) == (5000, True, PaymentStatus.UNPAID)


# Money that a bank took back


def test_each_review_has_its_words(payment: Payment) -> None:
    assert set(WORDS) == set(Review)


def test_what_a_bank_took_back_is_asked_again_after_one_decision(
    as_clerk: Client, as_patient: Client, payment: Payment, story: Story
) -> None:
    deliver(story.succeeded())
    payment = take_back(story)
    assert actions(payment) == [(Review.TAKEN_BACK, "ask_again")]
    assert (payment.amount_owed, payment.payable) == (5000, False)
    assert f"{desk_page_of(payment)}decide/ask-again/" in as_clerk.get("/review/").content.decode()
    decide(as_clerk, payment, "ask-again")
    assert (payment.amount_owed, payment.payable, payment.reviews) == (5000, True, [])
    assert "Votre banque a repris 50,00 €" in text_of(as_patient.get(page_of(payment)))


def test_what_a_bank_took_back_in_part_is_shown_as_missing(as_clerk: Client, payment: Payment, story: Story) -> None:
    deliver(story.succeeded())
    payment = take_back(story, 2000)
    assert (payment.status, payment.amount_owed) == (PaymentStatus.UNDERPAID, 2000)
    page = text_of(as_clerk.get("/review/"))
    assert "20,00 € manquent" in page


def test_the_desk_stops_asking_with_a_reason(as_clerk: Client, payment: Payment, story: Story) -> None:
    deliver(story.succeeded())
    payment = take_back(story)
    assert decide(as_clerk, payment, "stop-asking", reason="").status_code == 422
    decide(as_clerk, payment, "stop-asking", reason="Décédé")
    assert (payment.amount_owed, payment.amount_waived, payment.reviews) == (0, 5000, [])
    assert (payment.status, payment.payable) == (PaymentStatus.CHARGED_BACK, False)


def test_a_clerk_stops_asking_for_no_more_than_the_limit(book: Book, as_clerk: Client, settings: Settings) -> None:
    settings.CLINIC_FRONT_DESK_REFUND_LIMITS = {"eur": 3000}
    story = Story(book())
    deliver(story.succeeded())
    payment = take_back(story)
    answer = decide(as_clerk, payment, "stop-asking", reason="x")
    assert (answer.status_code, "renoncer à 30,00 €" in text_of(answer)) == (422, True)
    decide(signed_in("books", "accountant"), payment, "stop-asking", reason="x")
    assert payment.amount_owed == 0


def test_what_was_given_back_and_is_owed_again_can_be_given_up(as_accountant: Client, payment: Payment) -> None:
    take(as_accountant, payment, "50,00")
    give_back(as_accountant, payment, "50", through="cash", still_owed="1")
    assert (payment.amount_owed, payment.payable) == (5000, True)
    decide(as_accountant, payment, "stop-asking", reason="x")
    assert (payment.amount_owed, payment.status) == (0, PaymentStatus.REFUNDED)


def test_a_decision_that_another_person_took_is_told(as_clerk: Client, payment: Payment, story: Story) -> None:
    deliver(story.succeeded())
    payment = take_back(story)
    decide(as_clerk, payment, "stop-asking", reason="x")
    answer = decide(as_clerk, payment, "stop-asking", reason="x")
    assert "plus rien à décider" in text_of(answer)
    assert as_clerk.get(f"{desk_page_of(payment)}decide/nonsense/").status_code == 404


def test_a_refund_that_was_given_up_is_asked_again_at_the_desk(as_clerk: Client, payment: Payment) -> None:
    take(as_clerk, payment, "50,00")
    give_back(as_clerk, payment, "50", through="cash")
    assert f"{desk_page_of(payment)}decide/ask-again/" in as_clerk.get(desk_page_of(payment)).content.decode()
    page = as_clerk.get(f"{desk_page_of(payment)}decide/ask-again/")
    assert "Le patient devra 50,00 € et pourra les payer en ligne." in text_of(page)
    decide(as_clerk, payment, "ask-again")
    assert (payment.amount_owed, payment.amount_waived, payment.payable) == (5000, 0, True)


def test_a_question_of_the_bank_is_a_review_with_its_deadline_and_money_still_goes_back(
    as_clerk: Client, payment: Payment, story: Story
) -> None:
    deliver(story.succeeded())
    deliver(story.dispute("warning_needs_response"))
    payment.refresh_from_db()
    (case,) = cases_of([Payment.objects.with_appointment().get(pk=payment.pk)])
    assert (case.review, case.action, bool(case.deadline)) == (Review.INQUIRY, "stripe", True)
    assert (payment.status, payment.refundable) == (PaymentStatus.PAID, 5000)


def test_a_cancelled_refund_is_offered_again(as_clerk: Client, payment: Payment, story: Story) -> None:
    deliver(story.succeeded())
    deliver(story.refund(2000, "canceled"))
    payment.refresh_from_db()
    assert actions(payment) == [(Review.REFUND_CANCELED, "refund")]


def test_money_that_came_back_after_the_patient_paid_again_is_refunded(
    as_clerk: Client, payment: Payment, story: Story
) -> None:
    deliver(story.succeeded())
    payment = take_back(story)
    decide(as_clerk, payment, "ask-again")
    take(as_clerk, payment, "50,00")
    deliver(story.dispute("won", "closed"))
    payment.refresh_from_db()
    assert actions(payment) == [(Review.REINSTATED, "refund")]


# Receipts and exports


@today
def test_a_receipt_names_each_movement_and_ends_in_what_the_clinic_has(
    as_clerk: Client, payment: Payment, story: Story
) -> None:
    deliver(story.succeeded())
    payment = take_back(story, 2000)
    take(as_clerk, payment, "15,00")
    given = payment.facts.get(kind=Kind.OFFLINE)
    as_clerk.post(f"{desk_page_of(payment)}mistake/{given.stripe_id}/", {"reason": "x"})
    take(as_clerk, payment, "10,00")
    give_back(as_clerk, payment, "4", through="cash")
    page = as_clerk.get(f"/payments/{payment.public_id}/receipt/")
    assert sorted(line.amount for line in page.context["receipt"].lines) == [-2000, -1500, -400, 1000, 1500, 5000]
    text = text_of(page)
    for words in ("Repris par la banque", "Saisi par erreur", "Rendu à l’accueil · Espèces", "Reste à payer"):
        assert words in text, words
    assert page.context["receipt"].total == payment.amounts.net == 3600


@pytest.mark.parametrize("name", ["ask-again", "keep-as-fee", "stop-asking"])
def test_a_decision_that_is_not_open_is_not_offered(as_clerk: Client, payment: Payment, name: str) -> None:
    take(as_clerk, payment, "50,00")
    answer = as_clerk.get(f"{desk_page_of(payment)}decide/{name}/", follow=True)
    assert answer.redirect_chain == [(desk_page_of(payment), 302)]
    assert "il n’y a plus rien à décider" in text_of(answer)


def test_net_may_be_below_zero(as_clerk: Client, payment: Payment, story: Story) -> None:
    deliver(story.succeeded())
    deliver(story.refund(4000))
    payment = take_back(story, 2000)
    assert (payment.amounts.net, payment.amount_owed) == (-1000, 2000)
    page = text_of(as_clerk.get(f"/payments/{payment.public_id}/receipt/"))
    assert "-10,00 €" in page.replace("−", "-")
    assert "Total encaissé -10,00 €" in text_of(as_clerk.get(desk_page_of(payment))).replace("−", "-")


def test_the_timeline_says_what_moved_when_the_status_stayed(as_clerk: Client, payment: Payment) -> None:
    for amount in ("10,00", "15,00"):
        page = take(as_clerk, payment, amount)
    assert "15,00 € reçus" in text_of(page)


# Approval


def test_an_approval_says_how_why_and_what_stays_owed_and_cash_needs_one_too(
    as_clerk: Client, payment: Payment, settings: Settings
) -> None:
    settings.CLINIC_REFUND_APPROVAL_LIMITS = {"eur": 3000}
    take(as_clerk, payment, "50,00")
    give_back(as_clerk, payment, "40", through="cash", still_owed="1")
    assert (payment.amount_refunded, payment.reviews) == (0, [Review.REFUND_APPROVAL])
    boss, path = signed_in("boss", "manager"), f"{desk_page_of(payment)}refund/approve/"
    page = text_of(boss.get(path))
    assert "À l’accueil : espèces" in page
    assert "Il restera 40,00 € à payer" in page
    assert "Motif À la demande du patient" in page
    assert "Un remboursement de 40,00 € attend" in text_of(boss.get("/review/"))
    (asked,) = refund_approvals.waiting(payment)
    boss.post(path, {"key": asked.key, "approve": "1"})
    payment.refresh_from_db()
    assert (payment.amount_refunded, payment.amount_owed, payment.reviews) == (4000, 4000, [])
