import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from django.utils.timezone import localtime

from accounts.models import User
from appointments.models import AMOUNTS, Appointment
from appointments.money import number_text
from payments.models import Payment, StatusChange
from tests.payments.clients import text_of
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager() -> User:
    return User.objects.create_superuser("manager")


@pytest.fixture
def admin_client(manager: User) -> Client:
    client = Client()
    client.force_login(manager)
    return client


def test_everything_about_a_payment_can_be_read(admin_client: Client, payment: Payment, story: Story) -> None:
    deliver(story.completed())
    fact, change, receipt = payment.facts.get(), payment.changes.latest("version"), payment.receipts.get()
    pages = {
        f"payment/{payment.pk}": payment.appointment.reference,
        f"fact/{fact.pk}": str(payment.public_id),
        f"statuschange/{change.pk}": str(payment.public_id),
        f"eventreceipt/{receipt.pk}": str(payment.public_id),
        "payment": payment.appointment.reference,
        "fact": fact.stripe_id,
        "statuschange": str(payment.public_id),
        "eventreceipt": receipt.stripe_event_id,
        "feed": "staff",
    }
    for page, content in pages.items():
        assert content in admin_client.get(f"/admin/clinic_payments/{page}/", follow=True).content.decode(), page


def test_a_payments_page_has_its_amounts_with_their_currency(
    admin_client: Client, payment: Payment, story: Story
) -> None:
    deliver(story.completed())
    deliver(story.charge_refunded(1500))
    page = text_of(admin_client.get(f"/admin/clinic_payments/payment/{payment.pk}/change/"))
    for words in ("Prix : 50,00 €", "Reçu : 50,00 €", "Remboursé : 15,00 €", "N’est plus dû : 15,00 €"):
        assert words in page.replace("\u202f", " "), words


def test_the_admins_own_words_keep_their_meaning(admin_client: Client, payment: Payment) -> None:
    page = text_of(admin_client.get("/admin/"))
    assert "Modification" in page
    assert "Monnaie à rendre" not in page


@pytest.mark.parametrize("model", ["payment", "fact", "statuschange", "eventreceipt", "feed"])
def test_nobody_changes_a_payment_here(admin_client: Client, payment: Payment, story: Story, model: str) -> None:
    deliver(story.completed())
    some = apps.get_model("clinic_payments", model).objects.earliest("pk")
    for path in ("add/", f"{some.pk}/delete/"):
        assert admin_client.get(f"/admin/clinic_payments/{model}/{path}").status_code == 403
    change = f"/admin/clinic_payments/payment/{payment.pk}/change/"
    assert admin_client.post(change, {"status": "unpaid"}).status_code == 403


def save(admin_client: Client, appointment: Appointment, **changes: object) -> Any:
    """Post the appointment's form in the admin; fields in `changes` get new values, all others keep theirs.

    Amounts are numbers of minor units, posted in major units as people type them, or the text to post.
    """
    fields = {name: getattr(appointment, name) for name in ("service", "status", "prepayment", *AMOUNTS, "currency")}
    fields |= changes
    amounts = {name: fields[name] for name in AMOUNTS if isinstance(fields[name], int)}
    fields |= {name: number_text(amount, fields["currency"]) for name, amount in amounts.items()}
    times = {
        f"{name}_{part}": text
        for name in ("start", "end")
        for part, text in enumerate(f"{localtime(getattr(appointment, name)):%d/%m/%Y %H:%M:%S}".split())
    }
    people = {"patient": appointment.patient_id, "practitioner": appointment.practitioner_id}
    path = f"/admin/clinic_appointments/appointment/{appointment.pk}/change/"
    return admin_client.post(path, {**times, **people, **fields})


def errors_of(answer: Any) -> dict[str, list[str]]:
    return answer.context["adminform"].form.errors  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", AMOUNTS)
@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [(30, "eur", "0,50"), (49, "jpy", "50"), (150_000_000, "eur", "999"), (12_345, "kwd", "0,010")],
)
def test_an_amount_that_stripe_would_refuse_is_refused_with_the_limits(
    admin_client: Client, payment: Payment, name: str, amount: int, currency: str, said: str
) -> None:
    price = {"price_amount": 20_000, "currency": currency}
    (refusal,) = errors_of(save(admin_client, payment.appointment, **price | {name: amount}))[name]
    assert said in refusal
    payment.appointment.refresh_from_db()
    assert getattr(payment.appointment, name) != amount


def test_amounts_are_typed_as_people_say_them(admin_client: Client, payment: Payment) -> None:
    path = f"/admin/clinic_appointments/appointment/{payment.appointment_id}/change/"
    shown = admin_client.get(path).context["adminform"].form["price_amount"].value()
    assert shown == number_text(payment.price, "eur")
    typed = {"price_amount": "50", "deposit_amount": "12,5", "fee_amount": "0"}
    assert save(admin_client, payment.appointment, **typed).status_code == 302
    payment.appointment.refresh_from_db()
    assert [getattr(payment.appointment, name) for name in AMOUNTS] == [5000, 1250, 0, 0]


def test_an_overlap_has_to_be_confirmed_here_too(admin_client: Client, payment: Payment, book: Any) -> None:
    start = payment.appointment.start
    other = book(start=start, end=start + datetime.timedelta(minutes=20), patient=User.objects.create_user("hugo"))
    moved = localtime(start) + datetime.timedelta(minutes=5)
    times = {"start_0": f"{moved:%d/%m/%Y}", "start_1": f"{moved:%H:%M}"}
    (refusal,) = errors_of(save(admin_client, payment.appointment, **times))["allow_overlap"]
    assert other.appointment.reference in refusal
    assert save(admin_client, payment.appointment, service="Bilan").status_code == 302, "it was not moved"
    assert save(admin_client, payment.appointment, allow_overlap="on", **times).status_code == 302


@pytest.mark.parametrize("name", ["deposit_amount", "fee_amount"])
def test_no_part_of_the_price_is_more_than_the_price(admin_client: Client, payment: Payment, name: str) -> None:
    (refusal,) = errors_of(save(admin_client, payment.appointment, price_amount=5000, **{name: 5001}))[name]
    assert "50,00" in refusal


@pytest.mark.parametrize(("asked", "name"), [("deposit", "deposit_amount"), ("card", "no_show_fee_amount")])
def test_what_is_asked_for_in_advance_has_its_amount(
    admin_client: Client, payment: Payment, asked: str, name: str
) -> None:
    assert list(errors_of(save(admin_client, payment.appointment, prepayment=asked))) == [name]
    assert save(admin_client, payment.appointment, prepayment=asked, **{name: 2000}).status_code == 302
    payment.refresh_from_db()
    assert payment.booking["prepayment"] == asked


def test_nothing_to_pay_is_a_price(admin_client: Client, payment: Payment) -> None:
    assert save(admin_client, payment.appointment, price_amount=0).status_code == 302
    payment.refresh_from_db()
    assert payment.status == "void"


def test_a_price_saved_before_does_not_block_other_changes(admin_client: Client, book: Callable[..., Payment]) -> None:
    appointment = book(amount=30).appointment
    assert save(admin_client, appointment, service="Contrôle").status_code == 302
    assert list(errors_of(save(admin_client, appointment, price_amount=31))) == ["price_amount"]


def test_canceling_an_appointment_here_says_who_did_it(admin_client: Client, manager: User, payment: Payment) -> None:
    appointment = payment.appointment
    assert save(admin_client, appointment, status="canceled").status_code == 302
    assert Appointment.objects.get(pk=appointment.pk).canceled
    assert StatusChange.objects.get(payment=payment, to_status="void").actor == manager
