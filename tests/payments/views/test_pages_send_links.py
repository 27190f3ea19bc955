"""Tests of the pages on which staff send pay links, by e-mail and by text message."""

import datetime
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import requests
import time_machine
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from payments import apps
from payments.emails.outbox import DUMMY
from payments.models import Email, PayLink, Payment
from payments.signals import sms_requested
from tests.docs.page import take
from tests.integrations.receiver import answers, receiving
from tests.payments.clients import desk_page_of, text_of
from tests.payments.emails.test_outbox import send
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
[SEND] = take("docs/operations.md", "Reminders and text messages")
ALL = "/desk/links/?period=all"
Book = Callable[..., Payment]
sent_texts: list[tuple[str, str]] = []


def one(payment: Payment) -> str:
    return f"/desk/links/?reference={payment.appointment.reference}"


def links_page_of(payment: Payment) -> str:
    return f"{desk_page_of(payment)}?way=link"


def person(name: str, **fields: str) -> User:
    return User.objects.create_user(name, first_name=name.title(), **fields)


def test_one_link_is_sent_after_the_address_was_shown(as_clerk: Client, payment: Payment) -> None:
    assert one(payment) in as_clerk.get(links_page_of(payment)).content.decode()
    page = as_clerk.get(one(payment))
    assert "camille@example.com" in text_of(page)
    assert "50,00 €" in text_of(page)
    assert not Email.objects.exists(), "looking sends nothing"
    form = {"send": f"{payment.appointment.reference}.0"}
    after = [as_clerk.post(one(payment), form, follow=True) for _ in range(2)]
    assert after[0].redirect_chain == [(links_page_of(payment), 302)]
    assert "1 lien part par e-mail." in text_of(after[0])
    assert "Rien n’a été envoyé" in text_of(after[1])
    part = f"{desk_page_of(payment)}links/"
    assert ", every " in as_clerk.get(part).content.decode(), "the part looks again until the e-mail is sent"
    assert len(send()) == 1
    assert "Lien par e-mail · envoyé le" in text_of(sent := as_clerk.get(part))
    assert ", every " not in sent.content.decode()


def test_all_unpaid_of_a_list_get_a_link_and_the_others_are_named(
    as_clerk: Client, book: Book, payment: Payment, story: Story
) -> None:
    deliver(story.completed())
    ann, bob, carl = (person(name, email=f"{name}@example.com") for name in ("ann", "bob", "carl"))
    for who in (ann, bob, carl, person("dora")):
        book(patient=who)
    assert "/desk/links/?period=all" in as_clerk.get("/desk/?period=all").content.decode()
    page = as_clerk.get(ALL)
    assert {each.payment.appointment.patient for each in page.context["reachable"]} == {ann, bob, carl}
    assert "Sans adresse e-mail Dora" in text_of(page)
    assert "example.com" not in text_of(page), "addresses of many people stand on no page"
    chosen = [each.name for each in page.context["reachable"] if each.payment.appointment.patient != bob]
    answer = as_clerk.post(ALL, {"send": chosen}, follow=True)
    assert answer.redirect_chain == [("/desk/?period=all", 302)]
    assert "2 liens partent par e-mail." in text_of(answer)
    messages = [message for message in send() if "Paiement" in message.subject]
    assert sorted(message.to[0] for message in messages) == ["ann@example.com", "carl@example.com"]
    html = as_clerk.get(ALL).content.decode()
    assert html.count("checked") == 1, "who has got a link gets another one only if that is wanted"
    assert html.count("envoyé le") == 2


def test_nobody_outside_the_selection_is_written_to(as_clerk: Client, book: Book, payment: Payment) -> None:
    other = book()
    as_clerk.post(one(payment), {"send": f"{other.appointment.reference}.0"})
    assert not Email.objects.exists()


def test_nobody_chosen_is_an_error_beside_the_names(as_clerk: Client, payment: Payment) -> None:
    answer = as_clerk.post(ALL, {})
    assert answer.status_code == 422
    assert "Choisissez au moins un patient." in text_of(answer)


def test_who_paid_between_the_page_and_the_click_gets_no_link(as_clerk: Client, payment: Payment, story: Story) -> None:
    as_clerk.get(one(payment))
    deliver(story.completed())
    answer = as_clerk.post(one(payment), {"send": f"{payment.appointment.reference}.0"}, follow=True)
    assert "Rien n’a été envoyé" in text_of(answer)
    assert "Rien ne peut être payé en ligne" in text_of(as_clerk.get(one(payment)))


def test_a_list_without_debts_says_so(as_clerk: Client) -> None:
    assert "Personne dans cette liste" in text_of(as_clerk.get(ALL))


def test_without_a_mail_server_there_is_no_button(as_clerk: Client, payment: Payment, settings: Settings) -> None:
    settings.EMAIL_BACKEND = DUMMY
    for path in ("/desk/?period=all", links_page_of(payment)):
        assert "/desk/links/" not in as_clerk.get(path).content.decode()
    answer = as_clerk.post(one(payment), {"send": f"{payment.appointment.reference}.0"})
    assert "EMAIL_URL" in text_of(answer)
    assert not Email.objects.exists()


def test_a_patient_without_an_address_is_said_to_have_none(as_clerk: Client, payment: Payment, patient: User) -> None:
    User.objects.filter(pk=patient.pk).update(email="")
    assert "Ce patient n’a pas d’adresse e-mail" in text_of(as_clerk.get(links_page_of(payment)))
    assert "Sans adresse e-mail" in text_of(as_clerk.get(one(payment)))


# Text messages


@pytest.fixture
def texts() -> Iterator[list[tuple[str, str]]]:
    """Return the list of text messages that a receiver of `sms_requested` sends, as (phone, text)."""
    texts: list[tuple[str, str]] = []

    def receive(sender: type, *, phone: str, text: str, **kwargs: Any) -> None:
        if phone == "00":
            raise ConnectionError(f"cannot reach {phone}")
        texts.append((phone, text))

    sms_requested.connect(receive)
    yield texts
    sms_requested.disconnect(receive)


@pytest.fixture
def reachable(payment: Payment, patient: User) -> Payment:
    patient.phone, patient.preferred_language = "+33 6 12 34 56 78", "en"
    patient.save()
    return payment


def test_without_somebody_who_sends_them_there_are_no_text_messages(as_clerk: Client, reachable: Payment) -> None:
    page = desk_page_of(reachable)
    assert f"{page}links/sms/" not in as_clerk.get(f"{page}?way=link").content.decode()
    assert as_clerk.get(f"{page}links/sms/")["Location"] == f"{page}?way=link"


def test_a_text_message_holds_clinic_amount_and_link_alone(
    as_clerk: Client, client: Client, reachable: Payment, texts: list[tuple[str, str]]
) -> None:
    page = desk_page_of(reachable)
    assert f"{page}links/sms/" in as_clerk.get(f"{page}?way=link").content.decode()
    shown = text_of(as_clerk.get(f"{page}links/sms/"))
    for _ in range(2):
        answer = as_clerk.post(f"{page}links/sms/", follow=True)
    ((phone, text),) = texts
    link = PayLink.objects.get(channel="sms").url
    assert (phone, text) == ("+33 6 12 34 56 78", f"Clinique des Tilleuls: €50.00 to pay. Pay online: {link}")
    assert text in shown
    assert len(text) < 160
    assert "Attendez une minute" in text_of(answer), "a double click sends one"
    assert client.get(link.removeprefix("http://testserver")).status_code == 200
    with time_machine.travel(timezone.now() + datetime.timedelta(minutes=2)):
        as_clerk.post(f"{page}links/sms/")
    assert len(texts) == 2


def test_a_text_message_that_cannot_be_sent_can_be_tried_again(
    as_clerk: Client, reachable: Payment, texts: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    User.objects.filter(pk=reachable.appointment.patient_id).update(phone="00")
    answer = as_clerk.post(f"{desk_page_of(reachable)}links/sms/", follow=True)
    assert "Le SMS n’est pas parti" in text_of(answer)
    (line,) = [record for record in caplog.records if record.getMessage() == "sms_failed"]
    assert vars(line)["error"] == "ConnectionError"
    User.objects.filter(pk=reachable.appointment.patient_id).update(phone="0612345678")
    as_clerk.post(f"{desk_page_of(reachable)}links/sms/")
    assert len(texts) == 1


def test_nobody_is_texted_after_paying(
    as_clerk: Client, reachable: Payment, texts: list[tuple[str, str]], story: Story
) -> None:
    deliver(story.completed())
    answer = as_clerk.post(f"{desk_page_of(reachable)}links/sms/", follow=True)
    assert "Aucun lien ne peut partir par SMS" in text_of(answer)
    assert texts == []


def note_text(phone: str, text: str) -> None:
    sent_texts.append((phone, text))


def test_the_function_that_the_setting_names_is_called(settings: Settings) -> None:
    settings.CLINIC_SMS_FUNCTION = f"{__name__}.note_text"
    apps.send_sms(PayLink, phone="06", text="Hello")
    assert sent_texts == [("06", "Hello")]


def test_the_handbooks_function_sends_the_text_to_a_provider(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("clinic.sms")
    with receiving() as provider:
        exec(SEND.text.replace("https://sms.example/send", provider.url), vars(module))  # noqa: S102 - our own page
        monkeypatch.setitem(sys.modules, module.__name__, module)
        settings.CLINIC_SMS_FUNCTION = "clinic.sms.send"
        apps.send_sms(PayLink, phone="06", text="Hello")
        assert provider.requests[0].message == {"to": "06", "text": "Hello"}
        provider.usual = answers(500)
        with pytest.raises(requests.HTTPError):
            apps.send_sms(PayLink, phone="06", text="Hello")
