"""Tests of paying through a signed link, without an account."""

import datetime
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import User
from payments.desk import till
from payments.desk.pay_links import VALID, payment_of, token_of
from payments.domain.methods import Method
from payments.models import Payment
from tests.payments.clients import desk_page_of, text_of
from tests.payments.sandbox import StripeAtHome
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db


def link_of(payment: Payment) -> str:
    return f"/p/{token_of(payment)}/"


def test_a_link_opens_one_payment_and_names_nobody(client: Client, payment: Payment) -> None:
    page = client.get(link_of(payment))
    assert "50,00 €" in text_of(page)
    assert "Roux" not in text_of(page)
    assert "Consultation" not in text_of(page)
    assert page.headers["X-Robots-Tag"] == "noindex"


def test_a_link_says_when_it_is_paid_and_asks_for_nothing_more(client: Client, payment: Payment, story: Story) -> None:
    deliver(story.completed())
    page = client.get(link_of(payment))
    assert "Merci, votre paiement est confirmé." in text_of(page)
    assert "pay/" not in page.content.decode()


@pytest.mark.parametrize("change", [lambda token: token[:-1], lambda token: f"x{token}", lambda token: "a:b:c"])
def test_a_forged_link_opens_nothing(client: Client, payment: Payment, change: Callable[[str], str]) -> None:
    assert client.get(f"/p/{change(token_of(payment))}/").status_code == 404


def test_a_link_expires_with_a_way_out(client: Client, payment: Payment) -> None:
    link = link_of(payment)
    with time_machine.travel(timezone.now() + VALID + datetime.timedelta(minutes=1)):
        answer = client.get(link)
    assert answer.status_code == 410
    assert "Ce lien a expiré" in text_of(answer)


def test_a_links_token_is_told_to_no_other_host(client: Client, payment: Payment, story: Story) -> None:
    link = link_of(payment)
    deliver(story.completed())
    answers = [client.get(link), client.post(f"{link}pay/"), client.post(f"{link}confirm/")]
    with time_machine.travel(timezone.now() + VALID + datetime.timedelta(minutes=1)):
        answers.append(client.get(link))
    assert [answer.status_code for answer in answers] == [200, 302, 302, 410]
    assert {answer.headers["Referrer-Policy"] for answer in answers} == {"same-origin"}


def test_a_link_takes_back_no_session_of_another_payment(
    client: Client, book: Callable[..., Payment], payment: Payment
) -> None:
    other = Story(book())
    deliver(other.completed())
    session = {"session_id": other.session("A", "complete", "paid")["id"]}
    assert client.get(link_of(payment), session).status_code == 404


def test_the_desk_shows_the_link_as_a_qr_code(as_clerk: Client, payment: Payment) -> None:
    page = as_clerk.get(f"{desk_page_of(payment)}collect/", headers={"host": "testserver:1234"})
    assert page.context["link"].startswith("http://testserver/p/")
    assert '<svg viewBox="0 0 ' in page.content.decode()
    assert payment_of(page.context["link"].rstrip("/").rpartition("/")[2]) == payment


def test_a_link_and_the_desks_screen_show_what_is_asked_for_now(
    client: Client, as_clerk: Client, payment: Payment, clerk: User
) -> None:
    payment.appointment.deposit_amount = 2000
    payment.appointment.save()
    for asked, words in (("20,00 €", "Versez maintenant un acompte de 20,00 €."), ("30,00 €", "Il reste 30,00 €")):
        for page in (client.get(link_of(payment)), as_clerk.get(f"{desk_page_of(payment)}collect/")):
            [price] = re.findall(r'<p class="price">(.*?)</p>', page.content.decode())
            assert price.replace("\xa0", " ") == asked
            assert words in text_of(page)
        till.take_payment(payment, 2000, Method.CASH, clerk, key=uuid4().hex)


def test_two_hundred_clicks_open_one_page(client: Client, payment: Payment, stripe: StripeAtHome) -> None:
    link = link_of(payment)
    pages = {client.post(f"{link}pay/")["Location"] for _ in range(200)}
    assert len(pages) == 1
    assert payment.facts.filter(kind="session").count() == 1


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_clicks_of_six_people_at_once_open_one_page(payment: Payment, stripe: StripeAtHome) -> None:
    def click(number: int) -> str:
        try:
            return str(Client().post(f"{link_of(payment)}pay/")["Location"])
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        pages = set(pool.map(click, range(6)))
    (page,) = pages
    open_ones = [session["id"] for session in stripe.listed("checkout/sessions") if session["status"] == "open"]
    assert [page.rpartition("/")[2]] == open_ones


@pytest.mark.parametrize(
    ("who", "shown"), [("client", False), ("as_clerk", True), ("stranger", False), ("patient", True)]
)
def test_only_the_patient_and_staff_see_the_patients_address_at_stripe(
    request: pytest.FixtureRequest, client: Client, payment: Payment, stripe: StripeAtHome, who: str, shown: bool
) -> None:
    people = {"stranger": User(username="mallory"), "patient": payment.appointment.patient}
    if who in people:
        people[who].save()
        client.force_login(people[who])
    visitor = client if who in people else request.getfixturevalue(who)
    page = visitor.post(f"{link_of(payment)}pay/")["Location"]
    session = stripe.session(page.rpartition("/")[2])
    assert session["customer_email"] == (payment.appointment.patient.email if shown else None)


def test_too_many_pages_are_refused_with_the_time_to_try_again(
    client: Client, payment: Payment, stripe: StripeAtHome
) -> None:
    noon = timezone.localtime().replace(hour=12, minute=0, second=0, microsecond=0)
    with time_machine.travel(noon, tick=False):
        begun = [{"attempt": f"{number}", "at": noon.timestamp() - 60 * number, "terms": ""} for number in range(10)]
        Payment.objects.update(checkouts=begun[::-1])
        answer = client.post(f"{link_of(payment)}pay/", follow=True)
    assert "Réessayez à 12:52" in text_of(answer)
    assert not payment.facts.exists()
