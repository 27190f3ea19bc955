import pytest
from django.apps import apps
from django.test import Client

from accounts.models import User
from appointments.models import Appointment
from payments.models import Payment, StatusChange
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


@pytest.mark.parametrize("model", ["payment", "fact", "statuschange", "eventreceipt", "feed"])
def test_nobody_changes_a_payment_here(admin_client: Client, payment: Payment, story: Story, model: str) -> None:
    deliver(story.completed())
    some = apps.get_model("clinic_payments", model).objects.earliest("pk")
    for path in ("add/", f"{some.pk}/delete/"):
        assert admin_client.get(f"/admin/clinic_payments/{model}/{path}").status_code == 403
    change = f"/admin/clinic_payments/payment/{payment.pk}/change/"
    assert admin_client.post(change, {"status": "unpaid"}).status_code == 403


def test_canceling_an_appointment_here_says_who_did_it(admin_client: Client, manager: User, payment: Payment) -> None:
    appointment = payment.appointment
    fields = {name: getattr(appointment, name) for name in ("service", "price_amount", "currency")}
    times = {
        f"{name}_{part}": text
        for name in ("start", "end")
        for part, text in zip((0, 1), f"{getattr(appointment, name):%d/%m/%Y %H:%M:%S}".split(), strict=True)
    }
    people = {"patient": appointment.patient_id, "practitioner": appointment.practitioner_id}
    answer = admin_client.post(
        f"/admin/clinic_appointments/appointment/{appointment.pk}/change/",
        {**fields, **times, **people, "status": "canceled"},
    )
    assert answer.status_code == 302
    assert Appointment.objects.get(pk=appointment.pk).canceled
    assert StatusChange.objects.get(payment=payment, to_status="void").actor == manager
