"""Tests of the journal: which movements it shows on which day, its sums, its filters and its CSV file."""

import csv
import datetime
import io
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from djstripe.models import BalanceTransaction
from pytest_django.fixtures import Settings

from accounts.models import User
from appointments.money import format_amount
from payments import ledger
from payments.desk import till
from payments.desk.giving_back import give_back
from payments.desk.refund_orders import Order
from payments.doctor.journal import in_journal
from payments.domain.facts import Kind
from payments.domain.methods import Method
from payments.gateway.client import StripeUnavailableError
from payments.ledger import Cause, Source
from payments.models import Fact, JournalLine, Payment
from tests.payments.clients import client_of, text_of
from tests.payments.desk.test_transfers import mirrored, pay_out
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
today = pytest.mark.usefixtures("noon")  # so that midnight can't pass during the test
Book = Callable[..., Payment]
ALL = "?first=&last="


def take(payment: Payment, amount: int, clerk: User, method: Method = Method.CASH, **details: str) -> None:
    till.take_payment(payment, amount, method, clerk, key=uuid4().hex, **details)
    payment.refresh_from_db()


def lines() -> list[tuple[Any, ...]]:
    return list(JournalLine.objects.values_list("kind", "amount", "method", "fact"))


@pytest.mark.postgres
def test_the_journal_follows_the_facts(story: Story) -> None:
    """What proves a payment, and by which method it was made, changes while Stripe's objects arrive."""
    payment, tag = story.payment, story.tag
    for event, expected in (
        (story.completed(), [("payment", 5000, "", f"cs_test_{tag}A")]),
        (story.succeeded(), [("payment", 5000, "", f"pi_{tag}A")]),
        (story.charged(), [("payment", 5000, "card", f"ch_{tag}A")]),
        (story.refund(1000, "pending"), [("payment", 5000, "card", f"ch_{tag}A")]),
        (story.refund(1000), [("payment", 5000, "card", f"ch_{tag}A"), ("refund", -1000, "card", f"re_{tag}A1")]),
        (story.refund(1000, "failed"), [("payment", 5000, "card", f"ch_{tag}A")]),
    ):
        deliver(event)
        assert lines() == expected
        assert in_journal(payment)


@pytest.mark.postgres
def test_the_journal_is_the_same_in_whatever_order_events_arrive(story: Story) -> None:
    completed, charged, refund = story.completed(), story.charged(), story.refund(1000)
    for event in (refund, completed, charged, story.dispute("needs_response")):
        deliver(event)
    deliver(story.dispute("lost", "closed", amount=2000))
    assert in_journal(story.payment)
    assert {amount for _kind, amount, _method, _fact in lines()} == {5000, -1000, -2000}


@pytest.mark.postgres
def test_a_line_says_who_made_the_entry_or_asked_for_the_refund(payment: Payment, clerk: User) -> None:
    take(payment, 2000, clerk)
    deliver(Story(payment).succeeded())
    payment.refresh_from_db()
    with pytest.raises(StripeUnavailableError):
        give_back(payment, Order(500, "duplicate"), clerk, key="a" * 32)
    refund = Story(payment).refund(500)
    refund["data"]["object"]["metadata"] = {"refund_request": f"request_{'a' * 32}"}
    refund["data"]["object"]["payment_intent"] = Fact.objects.get(kind=Kind.INTENT).stripe_id
    deliver(refund)
    found = set(JournalLine.objects.values_list("kind", "method", "actor"))
    assert found == {("payment", "cash", clerk.pk), ("payment", "", None), ("refund", "", clerk.pk)}


def test_a_journal_that_was_tampered_with_is_put_right(payment: Payment, clerk: User) -> None:
    take(payment, 2000, clerk)
    JournalLine.objects.update(amount=1)
    assert not in_journal(payment)
    ledger.rederive(payment, Cause(Source.RECONCILE))
    assert in_journal(Payment.objects.get(pk=payment.pk))


# The page


def test_sums_are_by_method_and_currency(book: Book, clerk: User, as_accountant: Client) -> None:
    take(book(), 2000, clerk)
    take(book(), 1500, clerk, Method.TERMINAL)
    take(book(8000, "jpy"), 8000, clerk)
    page = as_accountant.get("/desk/journal/" + ALL)
    sums = [(total.currency, total.net, [each.method for each in of]) for total, of in page.context["sums"]]
    assert sums == [("eur", 3500, ["cash", "terminal"]), ("jpy", 8000, ["cash"])]
    text = text_of(page)
    assert "Total 2 35,00 € 35,00 €" in text
    yen = format_amount(8000, "jpy").replace("\u00a0", " ").replace("\u202f", " ")
    assert f"Total 1 {yen} {yen}" in text


def test_filters_narrow_lines_and_sums_alike(book: Book, clerk: User, as_accountant: Client) -> None:
    take(book(), 2000, clerk)
    take(book(), 1500, clerk, Method.TERMINAL)
    take(book(8000, "jpy"), 8000, clerk)
    for query, amounts in (
        ("&method=cash", {2000, 8000}),
        ("&currency=eur", {2000, 1500}),
        ("&method=cash&currency=eur", {2000}),
        ("&method=insurer", set()),
        ("&method=%00", {2000, 1500, 8000}),
    ):
        page = as_accountant.get(f"/desk/journal/{ALL}{query}")
        assert {line.amount for _appointment, line, _at_stripe in page.context["lines"]} == amounts, query
        assert page.context["page"].paginator.count == len(amounts)


@today
def test_the_journal_shows_today_unless_told_otherwise(book: Book, clerk: User, as_accountant: Client) -> None:
    deliver(Story(book()).succeeded())  # a month ago
    assert "Aucun mouvement d’argent ces jours-là" in text_of(as_accountant.get("/desk/journal/"))
    take(book(), 2000, clerk)
    assert len(as_accountant.get("/desk/journal/").context["lines"]) == 1
    assert len(as_accountant.get("/desk/journal/" + ALL).context["lines"]) == 2
    tomorrow = timezone.localdate() + datetime.timedelta(days=1)
    assert not as_accountant.get(f"/desk/journal/?first={tomorrow}").context["lines"]


def test_an_invalid_day_is_told_beside_its_field_and_refuses_the_file(as_accountant: Client) -> None:
    for query in ("first=x", "first=2024-02-30", "last=0001-01-01", "first=2024-02-02&last=2024-02-01"):
        page = as_accountant.get(f"/desk/journal/?{query}")
        assert 'class="field-error"' in page.content.decode(), query
        assert as_accountant.get(f"/desk/journal.csv?{query}").status_code == 400, query


def test_only_accountants_and_managers_see_the_journal(as_clerk: Client) -> None:
    assert as_clerk.get("/desk/journal/").status_code == 403
    assert as_clerk.get("/desk/journal.csv").status_code == 403


@pytest.mark.usefixtures("steady_session")
def test_the_journal_asks_as_many_queries_however_many_movements_there_are(
    payment: Payment, clerk: User, as_accountant: Client
) -> None:
    take(payment, 10, clerk)
    line = JournalLine.objects.get()
    counts = []
    for first, last in ((1, 60), (60, 600)):
        JournalLine.objects.bulk_create(
            JournalLine(payment=payment, number=number, kind=line.kind, amount=1, currency="eur", at=line.at,
                        method=Method.CASH, fact_id=line.fact_id, actor=clerk)
            for number in range(first, last)
        )  # fmt: skip
        with CaptureQueriesContext(connection) as queries:
            page = as_accountant.get(f"/desk/journal/{ALL}&page=2")
        counts.append(len(queries))
    assert page.context["page"].paginator.count == 600
    assert counts[0] == counts[1] <= 9, queries.captured_queries  # of which seven are asked by every page for staff


# The file


def file_of(client: Client, query: str = "") -> list[dict[str, str]]:
    text = client.get(f"/desk/journal.csv{query}").content.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text), delimiter=";"))


@today
def test_the_file_holds_each_movement_of_its_days(book: Book, clerk: User, as_accountant: Client) -> None:
    payment = book()
    take(payment, 2000, clerk, Method.CHEQUE, note="BNP 123", deposited="2031-02-03")
    till.reverse(payment, payment.facts.get(kind=Kind.OFFLINE).stripe_id, "x", clerk)
    deliver(Story(book()).charged())  # a month ago
    columns = ("Jour", "Heure", "Patient", "Mouvement", "Moyen", "Montant", "Par", "Remis en banque le", "Note",
               "Objet Stripe")  # fmt: skip
    day, noon = f"{timezone.localdate():%Y-%m-%d}", "12:00"
    assert [tuple(row[name] for name in columns) for row in file_of(as_accountant)] == [
        (day, noon, "Camille Roux", "Paiement", "Chèque", "20,00", "Inès Faure", "2031-02-03", "BNP 123", ""),
        (day, noon, "Camille Roux", "Saisi par erreur", "Chèque", "-20,00", "Inès Faure", "", "x", ""),
    ]
    whole = file_of(as_accountant, ALL)
    assert [row["Moyen"] for row in whole] == ["Carte", "Chèque", "Chèque"]
    assert whole[0]["Objet Stripe"].startswith("ch_")
    assert whole[0]["Paiement Stripe"].startswith("pi_")
    assert [row["Moyen"] for row in file_of(as_accountant, f"{ALL}&method=card")] == ["Carte"]


@pytest.mark.parametrize("text", ["=1+1", "+33", "-1", "@SUM(A1)", "＝1+1", "＋1", "－1", "＠x", " =1+1", "\t=1+1"])
def test_no_spreadsheet_runs_a_note_as_a_formula(
    payment: Payment, clerk: User, as_accountant: Client, text: str
) -> None:
    take(payment, 2000, clerk, note=text)
    (row,) = file_of(as_accountant)
    assert row["Note"] == f"'{text}"


def test_a_file_that_cannot_be_made_is_an_error_and_not_half_a_file(
    payment: Payment, clerk: User, as_accountant: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error is put in at the second batch."""
    take(payment, 1000, clerk)
    take(payment, 1000, clerk)
    monkeypatch.setattr("payments.desk.exports.BATCH", 1)
    monkeypatch.setattr("payments.desk.exports.lines_at_stripe", Mock(side_effect=[[None], ZeroDivisionError]))
    as_accountant.raise_request_exception = False
    answer = as_accountant.get("/desk/journal.csv")
    assert answer.status_code == 500
    assert b"20,00" not in answer.content


# Fees, net amounts and transfers


def test_the_journal_says_what_stripe_keeps_and_in_which_transfer_the_rest_goes(
    book: Book, clerk: User, stripe: StripeAtHome, as_accountant: Client
) -> None:
    charge = stripe.do("pay", session=open_checkout(book()))["payment_intent"]["latest_charge"]
    mirrored(stripe)
    assert "Frais pas encore connus" in text_of(as_accountant.get("/desk/journal/" + ALL))
    names = ("Montant", "Frais", "Net chez Stripe", "Devise chez Stripe", "Versement")
    assert [[row[name] for name in names] for row in file_of(as_accountant, ALL)] == [["50,00", "", "", "", ""]]
    stripe.do("refund", charge=charge, amount=1000)
    take(book(), 1000, clerk)
    payout_id = pay_out(stripe)
    mirrored(stripe)
    assert sorted([row[name] for name in names] for row in file_of(as_accountant, ALL)) == [
        ["-10,00", "0,00", "-10,00", "EUR", payout_id],
        ["10,00", "", "", "", ""],
        ["50,00", "1,00", "49,00", "EUR", payout_id],
    ]
    page = as_accountant.get("/desk/journal/" + ALL)
    assert "Frais 1,00 € · Net 49,00 € · Versement" in text_of(page)
    assert f"/desk/transfers/{payout_id}/" in page.content.decode()
    other = User.objects.create_user("other", is_staff=True)
    other.user_permissions.add(Permission.objects.get(codename="export_payments"))  # but may not see transfers
    assert "Frais" not in client_of(other).get("/desk/journal.csv" + ALL).content.decode()
    assert "Frais" not in text_of(client_of(other).get("/desk/journal/" + ALL))


def test_the_two_lines_of_a_dispute_that_was_won_share_its_fees(
    payment: Payment, stripe: StripeAtHome, as_accountant: Client
) -> None:
    charge = stripe.do("pay", session=open_checkout(payment))["payment_intent"]["latest_charge"]
    dispute = stripe.do("dispute", charge=charge)["id"]
    stripe.tell()
    stripe.do("dispute_status", dispute=dispute, status="won")
    stripe.do("clock", advance=700)
    mirrored(stripe)
    rows = [(row["Montant"], row["Net chez Stripe"]) for row in file_of(as_accountant, ALL)]
    assert [amount for amount, _net in rows] == ["50,00", "-50,00", "50,00"]
    told = sum(row.net or 0 for row in BalanceTransaction.objects.all())
    assert sum(int(net.replace(",", "")) for _amount, net in rows) == told


def test_a_file_that_is_asked_for_in_english_is_english(payment: Payment, clerk: User, settings: Settings) -> None:
    take(payment, 2000, clerk)
    client = client_of(clerk, "accountant")
    client.cookies.load({settings.LANGUAGE_COOKIE_NAME: "en"})
    assert "Cash" in text_of(client.get("/desk/journal/"))
