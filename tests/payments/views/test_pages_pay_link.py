"""Tests of pay links: paying without an account, reading the receipt, and all that ends a link."""

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
from pytest_django.fixtures import Settings

from accounts.models import User
from payments.desk import till
from payments.domain.methods import Method
from payments.models import PayLink, Payment
from payments.models.pay_link import RECEIPT_SHOWN, VALID, LinkState
from tests.payments.clients import desk_page_of, text_of, token_of
from tests.payments.sandbox import StripeAtHome
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
Channel = PayLink.Channel


def link_of(payment: Payment) -> str:
    return f"/p/{token_of(payment)}/"


def test_a_link_opens_one_payment_and_names_nobody(client: Client, payment: Payment) -> None:
    page = client.get(link_of(payment))
    assert "50,00 €" in text_of(page)
    assert "Roux" not in text_of(page)
    assert "Consultation" not in text_of(page)
    assert page.headers["X-Robots-Tag"] == "noindex"


def test_once_paid_a_link_shows_the_receipt_and_asks_for_nothing_more(
    client: Client, payment: Payment, story: Story
) -> None:
    links = [link_of(payment), f"/p/{token_of(payment, Channel.EMAIL)}/"]
    deliver(story.completed())
    for link in links:
        page = client.get(link)
        assert page.status_code == 200
        for shown in ("Reçu de paiement", "Consultation", "Dr Anne Mercier", "50,00 €", "Il n’y a plus rien à payer."):
            assert shown in text_of(page)
        assert "pay/" not in page.content.decode()
        assert client.post(f"{link}pay/")["Location"] == link


def test_a_payment_that_comes_while_the_page_is_made_is_not_called_nothing_due(payment: Payment, story: Story) -> None:
    token = token_of(payment)
    deliver(story.failed())
    read = PayLink.objects.find(token)
    deliver(story.completed())
    assert read.state == LinkState.OPEN  # as the payment was when it was read
    assert PayLink.objects.find(token).state == LinkState.PAID


def test_a_paid_link_shows_the_receipt_for_a_month_only(client: Client, payment: Payment, story: Story) -> None:
    link = link_of(payment)
    deliver(story.completed())
    for after, status in ((VALID * 1.5, 200), (RECEIPT_SHOWN + VALID, 410)):
        with time_machine.travel(timezone.now() + after):
            page = client.get(link)
        assert page.status_code == status
    assert "Consultation" not in text_of(page)
    assert "n’est plus affiché ici" in text_of(page)


def test_a_link_for_which_nothing_is_due_any_more_says_so(
    client: Client, payment: Payment, as_clerk: Client, clerk: User
) -> None:
    link = link_of(payment)
    payment.appointment.status = "canceled"
    payment.appointment.save(actor=clerk)
    page = client.get(link)
    assert page.status_code == 410
    assert "Il n’y a rien à payer" in text_of(page)
    payment.appointment.status = "booked"
    payment.appointment.save(actor=clerk)
    assert client.get(link).status_code == 410, "what has ended stays ended"
    assert link_of(payment) != link


def test_a_link_that_was_paid_in_part_asks_for_the_rest_alone(client: Client, payment: Payment, clerk: User) -> None:
    link = link_of(payment)
    till.take_payment(payment, 2000, Method.CASH, clerk, key=uuid4().hex)
    assert "Payer en ligne · 30,00 €" in text_of(client.get(link))
    till.take_payment(payment, 3000, Method.CASH, clerk, key=uuid4().hex)
    assert "Il n’y a plus rien à payer." in text_of(client.get(link))


def test_what_is_owed_later_is_asked_for_by_a_new_link_alone(
    client: Client, payment: Payment, story: Story, clerk: User
) -> None:
    link = link_of(payment)
    deliver(story.completed())
    payment.appointment.price_amount = 6000
    payment.appointment.save(actor=clerk)
    page = client.get(link)
    assert "Votre paiement a été reçu." in text_of(page)
    assert "pay/" not in page.content.decode()
    payment.refresh_from_db()
    assert "Payer en ligne · 10,00 €" in text_of(client.get(link_of(payment)))
    assert "Reçu de paiement" in text_of(client.get(link))


def test_a_debit_on_its_way_ends_no_link(client: Client, payment: Payment, story: Story) -> None:
    link = link_of(payment)
    deliver(story.completed(payment_status="unpaid"))
    page = client.get(link)
    assert "14 jours ouvrés" in text_of(page)
    assert "Payer en ligne" not in text_of(page)
    deliver(story.async_failed())
    assert "Payer en ligne" in text_of(client.get(link))


@pytest.mark.parametrize("change", [lambda token: token[:-1], lambda token: f"x{token}", lambda token: "a:b:c"])
def test_a_forged_link_opens_nothing(client: Client, payment: Payment, change: Callable[[str], str]) -> None:
    assert client.get(f"/p/{change(token_of(payment))}/").status_code == 404


def test_a_token_tells_nothing_and_is_stored_nowhere(payment: Payment, book: Callable[..., Payment]) -> None:
    tokens = {token_of(payment), token_of(payment, Channel.EMAIL), token_of(book())}
    assert len(tokens) == 3
    for token in tokens:
        assert re.fullmatch(r"pl-[\w-]{22}", token)
        stored = [str(value) for row in PayLink.objects.values() for value in row.values()]
        assert not [value for value in stored if token in value or token.removeprefix("pl-") in value]


def test_a_link_stays_the_same_until_it_ends(payment: Payment) -> None:
    assert token_of(payment) == token_of(payment)
    first = PayLink.objects.get()
    with time_machine.travel(timezone.now() + VALID / 2):
        assert token_of(payment) == first.token
        assert PayLink.objects.get().expires_at > first.expires_at, "it is valid for two weeks after it was last shown"


def test_a_link_works_after_the_secret_key_was_changed_until_it_is_shown_again(
    client: Client, payment: Payment, settings: Settings
) -> None:
    link = link_of(payment)
    settings.SECRET_KEY = "another key, of more than fifty characters, for this one test"
    assert client.get(link).status_code == 200
    new = link_of(payment)
    assert client.get(new).status_code == 200
    assert client.get(link).status_code == 410


def test_a_link_expires_with_a_way_out(client: Client, payment: Payment) -> None:
    link = link_of(payment)
    with time_machine.travel(timezone.now() + VALID + datetime.timedelta(minutes=1)):
        answer = client.get(link)
        assert client.post(f"{link}pay/")["Location"] == link
    assert answer.status_code == 410
    assert "Ce lien a expiré" in text_of(answer)


def test_staff_end_a_link_and_it_says_so(client: Client, as_clerk: Client, payment: Payment, clerk: User) -> None:
    link, other = link_of(payment), f"/p/{token_of(payment, Channel.EMAIL)}/"
    number = PayLink.objects.get(channel=Channel.DESK).pk
    desk = as_clerk.get(f"{desk_page_of(payment)}?way=link").content.decode()
    assert desk.count("/end/") == 2
    for _ in range(2):
        as_clerk.post(f"{desk_page_of(payment)}links/{number}/end/")
    answer = client.get(link)
    assert answer.status_code == 410
    assert "Ce lien n’est plus valable" in text_of(answer)
    assert client.get(other).status_code == 200
    ended = PayLink.objects.get(pk=number)
    assert (ended.ended_because, ended.ended_by) == ("staff", clerk)
    assert "désactivé" in text_of(as_clerk.get(f"{desk_page_of(payment)}links/"))
    assert client.post(f"{link}pay/")["Location"] == link
    assert not payment.facts.exists()


def test_an_ended_link_shows_no_receipt_either(client: Client, payment: Payment, story: Story) -> None:
    link = link_of(payment)
    PayLink.objects.get().end(PayLink.Ending.STAFF)
    deliver(story.completed())
    assert client.get(link).status_code == 410
    assert "Consultation" not in text_of(client.get(link))


def test_only_a_link_of_this_payment_is_ended(as_clerk: Client, payment: Payment, book: Callable[..., Payment]) -> None:
    token_of(other := book())
    number = PayLink.objects.get(payment=other).pk
    assert as_clerk.post(f"{desk_page_of(payment)}links/{number}/end/").status_code == 404


def test_a_replaced_link_leads_to_the_newest(client: Client, as_clerk: Client, payment: Payment) -> None:
    link = link_of(payment)
    page = as_clerk.post(f"{desk_page_of(payment)}links/new/", follow=True)
    assert page.context["link"] != f"http://testserver{link}"
    answer = client.get(link)
    assert answer.status_code == 410
    assert "Il existe un lien plus récent" in text_of(answer)
    assert client.get(page.context["link"].removeprefix("http://testserver")).status_code == 200


def test_a_link_opens_nothing_of_another_patient(client: Client, payment: Payment, clerk: User) -> None:
    """When an appointment turns out to be somebody else's, a link that the first patient has opens it no more."""
    link = link_of(payment)
    payment.appointment.patient = User.objects.create_user("hugo")
    payment.appointment.save(actor=clerk)
    assert client.get(link).status_code == 410
    assert client.get(link_of(payment)).status_code == 200


def test_scanners_that_get_and_head_do_nothing(client: Client, payment: Payment, stripe: StripeAtHome) -> None:
    """Mail servers open each link of an e-mail, and some follow the links of the page; only a button's POST acts."""
    link = link_of(payment)
    before = list(PayLink.objects.values())
    for path in (link, f"{link}pay/", f"{link}confirm/"):
        for ask in (client.get, client.head):
            ask(path, follow=True)
    for path in re.findall(r'(?:href|src|action)="(/p/[^"]*)"', client.get(link).content.decode()):
        client.get(path)
    assert stripe.listed("checkout/sessions") == []
    assert list(PayLink.objects.values()) == before
    assert not payment.facts.exists()
    assert client.post(f"{link}pay/")["Location"].startswith(stripe.url)


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_six_people_who_show_a_link_at_once_show_one(payment: Payment) -> None:
    def show(number: int) -> str:
        try:
            return token_of(payment)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        tokens = set(pool.map(show, range(6)))
    assert len(tokens) == PayLink.objects.count() == 1


def test_a_patient_who_pays_through_a_link_comes_back_to_the_receipt(
    client: Client, payment: Payment, stripe: StripeAtHome
) -> None:
    link = link_of(payment)
    session = client.post(f"{link}pay/")["Location"].rpartition("/")[2]
    stripe.do("pay", session=session)
    page = client.get(f"{link}?session_id={session}", follow=True)
    assert "confirmation en cours" in text_of(page)
    answer = client.post(f"{link}confirm/", headers={"HX-Request": "true"})
    assert answer.headers["HX-Refresh"] == "true"
    assert "Il n’y a plus rien à payer." in text_of(client.get(link))


def test_a_patient_who_has_paid_the_rest_is_not_asked_for_it_again(
    client: Client, payment: Payment, stripe: StripeAtHome, clerk: User
) -> None:
    till.take_payment(payment, 2000, Method.CASH, clerk, key=uuid4().hex)
    link = link_of(payment)
    session = client.post(f"{link}pay/")["Location"].rpartition("/")[2]
    stripe.do("pay", session=session)
    page = text_of(client.get(f"{link}?session_id={session}", follow=True))
    assert "confirmation en cours" in page
    assert "Payer en ligne" not in page
    client.post(f"{link}confirm/")
    assert "Il n’y a plus rien à payer." in text_of(client.get(link))


def test_a_links_token_is_told_to_no_other_host(client: Client, payment: Payment, story: Story) -> None:
    link = link_of(payment)
    deliver(story.completed())
    answers = [client.get(link), client.post(f"{link}pay/"), client.post(f"{link}confirm/")]
    with time_machine.travel(timezone.now() + RECEIPT_SHOWN + VALID):
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
    assert PayLink.objects.find(page.context["link"].rstrip("/").rpartition("/")[2]).payment == payment


def test_the_desk_shows_no_code_when_nothing_can_be_paid(as_clerk: Client, payment: Payment, story: Story) -> None:
    deliver(story.completed())
    page = as_clerk.get(f"{desk_page_of(payment)}collect/")
    assert 'class="qr"' not in page.content.decode()
    assert not PayLink.objects.exists()


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
