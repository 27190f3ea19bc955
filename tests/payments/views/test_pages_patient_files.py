"""Tests of the front desk's pages about patients, and of invitations."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client

from accounts.models import User
from payments.logs import mask
from payments.models import Note, Payment, RecordView
from tests.payments.clients import text_of

pytestmark = pytest.mark.django_db
Book = Callable[..., Payment]


@pytest.fixture(autouse=True)
def send_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.clear()
    monkeypatch.setattr("accounts.adapters.send_soon", lambda send: send())


def file_of(person: User) -> str:
    return f"/desk/patients/{person.public_id}/"


@pytest.mark.parametrize("text", ["cam rou", "ROUX", "camille@", "0639 980142", "+33 6 39 98 01 42"])
def test_patients_are_found_as_people_say_them(as_clerk: Client, patient: User, text: str) -> None:
    User.objects.filter(pk=patient.pk).update(phone="06 39 98 01 42")
    User.objects.create_user("staff2", first_name="Camille", last_name="Roux", is_staff=True)
    assert list(as_clerk.get("/desk/patients/", {"q": text}).context["people"]) == [patient]


def test_nobody_is_listed_before_a_search(as_clerk: Client, patient: User) -> None:
    assert not as_clerk.get("/desk/patients/").context["people"]
    assert "Personne" in text_of(as_clerk.get("/desk/patients/", {"q": "nobody at all"}))


def test_a_file_shows_notes_and_what_is_owed_in_each_currency(
    as_clerk: Client, clerk: User, patient: User, book: Book
) -> None:
    for amount, currency in ((5000, "eur"), (2500, "eur"), (3000, "chf")):
        book(amount, currency)
    Note.objects.create(payment=Payment.objects.latest("pk"), author=clerk, text="Parle peu français")
    shown = as_clerk.get(file_of(patient))
    assert "Parle peu français" in text_of(shown)
    assert [(row["currency"], row["owed"]) for row in shown.context["balances"]] == [("chf", 3000), ("eur", 7500)]
    assert RecordView.objects.get().user == clerk


def test_a_file_without_appointments_is_shown(as_clerk: Client, patient: User) -> None:
    assert "Aucun rendez-vous" in text_of(as_clerk.get(file_of(patient)))


def test_contact_data_is_corrected(as_clerk: Client, patient: User) -> None:
    page = f"{file_of(patient)}edit/"
    sent = {"first_name": "Camille", "last_name": "Roux-Martin", "birth_date": "1980-05-04", "phone": "06 39 98 01 42",
            "email": "", "preferred_language": "fr"}  # fmt: skip
    assert as_clerk.post(page, sent).status_code == 302
    patient.refresh_from_db()
    assert (patient.last_name, patient.email, f"{patient.birth_date}") == ("Roux-Martin", "", "1980-05-04")
    for wrong in ({"last_name": ""}, {"birth_date": "2999-01-01"}, {"email": "x"}):
        assert as_clerk.post(page, sent | wrong).status_code == 422


def test_an_address_belongs_to_one_patient(as_clerk: Client, patient: User) -> None:
    User.objects.create_user("hugo", email="hugo@example.com")
    answer = as_clerk.post(f"{file_of(patient)}edit/", {"last_name": "Roux", "email": "HUGO@example.com"})
    assert answer.status_code == 422


def test_staff_have_no_patients_file(as_clerk: Client, clerk: User) -> None:
    assert as_clerk.get(file_of(clerk)).status_code == 404


def invitation(as_clerk: Client, patient: User) -> str:
    """Invite the patient and return the path of the link in the e-mail."""
    User.objects.filter(pk=patient.pk).update(last_login=None)
    assert as_clerk.post(f"{file_of(patient)}invite/").status_code == 302
    [link] = re.findall(r"https?://\S+/welcome/\S+", str(mail.outbox[-1].body))
    return str(urlsplit(link).path)


def test_an_invitation_leads_to_a_password_once(as_clerk: Client, patient: User, client: Client) -> None:
    path = invitation(as_clerk, patient)
    assert mail.outbox[0].to == [patient.email]
    for _ in range(3):  # programs that check e-mails open links
        assert client.get(path).status_code == 200
        assert client.head(path).status_code == 200
    page = client.post(path, follow=True)
    chosen = {"password1": "quatre mots au hasard ici", "password2": "quatre mots au hasard ici"}
    assert client.post(page.redirect_chain[-1][0], chosen).status_code == 302
    patient.refresh_from_db()
    assert patient.check_password(chosen["password1"])
    assert client.get(path).status_code == 410


def test_an_invitation_ends_with_another_address(as_clerk: Client, patient: User, client: Client) -> None:
    path = invitation(as_clerk, patient)
    User.objects.filter(pk=patient.pk).update(email="other@example.com")
    assert client.get(path).status_code == client.post(path).status_code == 410


def test_nobody_is_invited_twice_at_once_nor_who_can_sign_in_already(as_clerk: Client, patient: User) -> None:
    invitation(as_clerk, patient)
    as_clerk.post(f"{file_of(patient)}invite/")
    assert len(mail.outbox) == 1
    cache.clear()
    patient.refresh_from_db()
    Client().force_login(patient)
    as_clerk.post(f"{file_of(patient)}invite/")
    assert len(mail.outbox) == 1


def test_no_token_of_an_invitation_is_logged(as_clerk: Client, patient: User) -> None:
    path = invitation(as_clerk, patient)
    assert mask(f"Not Found: {path}") == "Not Found: /welcome/***/"
