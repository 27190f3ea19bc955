"""Tests of closing the till's day: what belongs to which day, counting, sealing, correcting, and the month."""

import datetime
import hashlib
from collections.abc import Callable
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from djstripe.models import BalanceTransaction

from accounts.models import User
from payments.desk import till
from payments.desk.closing_report import Drawer, Report
from payments.desk.closings import Sheet, TillChangedError, correct, open_sheet, seal
from payments.desk.giving_back import give_back
from payments.desk.refund_orders import Order
from payments.domain.methods import Method
from payments.domain.tally import Tally, tally, totals
from payments.models import Closing, ClosingHead, Fact, JournalLine, Payment
from payments.models.closing import SealedError, formula_1
from tests.payments.clients import text_of
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
Book = Callable[..., Payment]
PARIS = ZoneInfo("Europe/Paris")
MONDAY = datetime.date(2024, 11, 25)
SHORT, LONG = datetime.date(2024, 3, 31), datetime.date(2024, 10, 27)  # days of 23 and 25 hours


def at(day: datetime.date, hour: int = 12, minute: int = 0, second: int = 0, fold: int = 0) -> time_machine.travel:
    """Return a context manager in which the clock stands at this time of the clinic's day."""
    moment = datetime.datetime.combine(day, datetime.time(hour, minute, second, fold=fold), PARIS)
    return time_machine.travel(moment, tick=False)


def take(payment: Payment, amount: int, clerk: User, method: Method = Method.CASH, **details: str) -> str:
    key = uuid4().hex
    till.take_payment(payment, amount, method, clerk, key=key, **details)
    payment.refresh_from_db()
    return f"offline_{key}"


def close(clerk: User, *drawers: Drawer, reason: str = "", **found: int) -> Closing:
    """Seal what is open now; `found` says how much was found of euros by method, if not what is expected."""
    sheet = open_sheet()
    assert sheet.day
    all_found = {(line.tally.currency, line.tally.method): line.tally.net for line in sheet.lines}
    all_found |= {("eur", method): amount for method, amount in found.items()}
    return seal(sheet.day, all_found, drawers, reason, clerk, seen=sheet.fingerprint)


def ids(sheet: Sheet) -> list[str]:
    return [entry.id for entry in sheet.entries]


# Days


@pytest.mark.parametrize("day", [SHORT, LONG], ids=["23 hours", "25 hours"])
@pytest.mark.postgres
def test_a_day_ends_at_midnight_also_when_the_clocks_change(book: Book, clerk: User, day: datetime.date) -> None:
    one = datetime.timedelta(days=1)
    moments = [(day - one, 23, 59, 59), (day, 0, 0, 0), (day, 2, 30, 0), (day, 23, 59, 59), (day + one, 0, 0, 0)]
    with at(day - one):
        payment = book(50000)
    for amount, moment in enumerate(moments, start=1):
        with at(*moment):
            take(payment, amount, clerk)
    found = JournalLine.objects.between(day, day)
    assert sorted(found.values_list("amount", flat=True)) == [2, 3, 4]
    with at(day + one):
        closings = [close_earliest(clerk) for _ in range(3)]
    amounts = [[entry.amount for entry in Report(each.content).entries] for each in closings]
    assert amounts == [[1], [2, 3, 4], [5]]


def close_earliest(clerk: User) -> Closing:
    """Close the earliest day with open entries, as a clinic does that closes each of its days."""
    first = Fact.objects.open_entries().order_by("created").first()
    assert first
    day = timezone.localdate(datetime.datetime.fromtimestamp(first.created, datetime.UTC))
    sheet = open_sheet(day)
    return seal(day, {}, [], "", clerk, seen=sheet.fingerprint)


def test_the_closing_is_of_the_earliest_day_that_is_open(book: Book, clerk: User, as_clerk: Client) -> None:
    payment = book()
    with at(MONDAY):
        take(payment, 1000, clerk)
    with at(MONDAY + datetime.timedelta(days=2)):
        take(payment, 500, clerk)
        sheet = open_sheet()
        assert (sheet.day, sheet.later, sheet.late) == (MONDAY, 1, [])
        whole = open_sheet(MONDAY + datetime.timedelta(days=2))
        assert (len(whole.entries), whole.later, whole.late, whole.since) == (2, 0, [], MONDAY)
        assert "les jours précédents depuis lundi 25 novembre" in text_of(
            as_clerk.get(f"/desk/closing/?day={whole.day}")
        )


def test_an_entry_after_the_seal_goes_to_the_next_day(book: Book, clerk: User, as_clerk: Client) -> None:
    payment = book()
    with at(MONDAY):
        take(payment, 1000, clerk)
        close(clerk)
        late = take(payment, 500, clerk)
        sheet = open_sheet()
        assert (sheet.day, sheet.later) == (None, 1)
        assert "1 mouvement a été enregistré depuis" in text_of(as_clerk.get("/desk/closing/"))
    with at(MONDAY + datetime.timedelta(days=3)):
        sheet = open_sheet()
        assert (sheet.day, ids(sheet)) == (MONDAY + datetime.timedelta(days=3), [late])
        assert sheet.late == sheet.entries
        assert "Enregistrés après la clôture de leur jour" in text_of(as_clerk.get("/desk/closing/"))
        assert close(clerk).number == 2
    assert not Fact.objects.open_entries().exists()


# Sums


def test_two_currencies_are_never_added(book: Book, clerk: User) -> None:
    with at(MONDAY):
        take(book(), 2000, clerk)
        take(book(8000, "jpy"), 8000, clerk)
        take(book(), 700, clerk, Method.TERMINAL)
        closing = close(clerk, Drawer("eur", 0, 0, 2000, 0), Drawer("jpy", 0, 0, 8000, 0))
    sections = Report(closing.content).sections
    assert [(each.currency, each.total.net) for each in sections] == [("eur", 2700), ("jpy", 8000)]
    with pytest.raises(ValueError, match="two currencies"):
        _ = Tally("eur") + Tally("jpy")


@pytest.mark.postgres
def test_totals_are_made_of_one_currency_each(book: Book, clerk: User) -> None:
    with at(MONDAY):
        take(book(), 2000, clerk)
        take(book(8000, "jpy"), 8000, clerk)
        lines = JournalLine.objects.between(MONDAY, MONDAY)
        assert lines.tallies() == tally(line.value for line in lines)
        assert [(each.currency, each.received) for each in totals(lines.tallies())] == [("eur", 2000), ("jpy", 8000)]
        assert JournalLine.objects.tallies_by_day(MONDAY.replace(day=1), MONDAY) == {MONDAY: lines.tallies()}


def test_a_closing_says_what_everybody_took_and_which_cheques_go_to_the_bank(book: Book, clerk: User) -> None:
    colleague = User.objects.create_user("other", is_staff=True, first_name="Nadia", last_name="Petit")
    colleague.groups.set(clerk.groups.all())
    with at(MONDAY):
        payment = book(20000)
        take(payment, 2000, clerk)
        take(payment, 3000, colleague, Method.CHEQUE, deposited="2024-11-27")
        wrong = take(payment, 4000, colleague, Method.CHEQUE, deposited="2024-11-26")
        till.reverse(payment, wrong, "x", colleague)
        give_back(payment, Order(500, "duplicate", Method.CASH), clerk, key=uuid4().hex)
        report = Report(close(clerk).content)
    assert [(name, [(each.method, each.count, each.net) for each in sums]) for name, sums in report.staff] == [
        ("Inès Faure", [("cash", 2, 1500)]),
        ("Nadia Petit", [("cheque", 3, 3000)]),
    ]
    assert [(day, [each.amount for each in cheques]) for day, cheques, _sums in report.cheques] == [
        (datetime.date(2024, 11, 27), [3000])
    ]


def test_the_online_row_is_what_the_journal_says_of_the_day(book: Book, clerk: User) -> None:
    payment = book()
    deliver(Story(payment).succeeded())
    line = JournalLine.objects.get()
    day = timezone.localdate(datetime.datetime.fromtimestamp(line.at, datetime.UTC))
    with at(day):
        take(book(), 1000, clerk)
        report = Report(close(clerk).content)
    (section,) = report.sections
    assert section.online == Tally("eur", "", 1, 5000, 0)
    assert section.total == totals(JournalLine.objects.between(day, day).tallies())[0]


# Money at Stripe that arrives later


def paid_online(payment: Payment) -> tuple[Story, datetime.date]:
    """Deliver the event of a payment by card; return the payment's story and the clinic's day of the money."""
    story = Story(payment)
    deliver(story.charged())
    return story, timezone.localdate(datetime.datetime.fromtimestamp(payment.journal_lines.get().at, datetime.UTC))


def online(closing: Closing) -> list[int]:
    return [entry.amount for entry in Report(closing.content).online]


def close_day_after(day: datetime.date, days: int, clerk: User) -> Closing:
    with at(day + datetime.timedelta(days=days)):
        return close(clerk)


@pytest.mark.postgres
def test_what_is_paid_online_after_the_closing_is_visibly_in_the_next_one(
    book: Book, clerk: User, as_clerk: Client
) -> None:
    _story, day = paid_online(book())
    late = book(3000)
    with at(day):
        assert online(close(clerk)) == [5000]
        deliver(Story(late).charged())  # dated on the day that is closed
        assert open_sheet().later == 1
        assert "1 mouvement a été enregistré depuis" in text_of(as_clerk.get("/desk/closing/"))
    with at(day + datetime.timedelta(days=1)):
        for path in ("/desk/closing/", "/desk/closing/2/"):
            if path != "/desk/closing/":
                assert online(close(clerk)) == [3000]
            page = text_of(as_clerk.get(path))
            assert "Enregistrés après la clôture de leur jour" in page, path
            assert f"30,00 € · {late.appointment.reference}" in page, path
    assert online(close_day_after(day, 2, clerk)) == []
    assert not JournalLine.objects.filter(is_open=True).exists()


@pytest.mark.postgres
def test_nothing_is_lost_or_counted_twice_when_stripe_tells_more(book: Book, clerk: User) -> None:
    """Whatever Stripe tells of a payment later, all closings together hold what the journal says."""
    payment = book()
    story, day = paid_online(payment)
    closings = [close_day_after(day, 0, clerk)]
    for event in (
        story.refund(1000, name="1"),
        story.succeeded(),  # now other objects prove the payment
        story.refund(500, name="2"),
        story.refund(1000, "failed", name="1"),  # so the first refund is no movement any more
    ):
        deliver(event)
        closings.append(close_day_after(day, len(closings), clerk))
    assert [online(each) for each in closings] == [[5000], [-1000], [], [-500], [1000]]
    assert sum(line.amount for line in payment.journal_lines.all()) == 4500
    assert sum(sum(online(each)) for each in closings) == 4500


def test_money_at_stripe_in_two_currencies_is_never_added(book: Book, clerk: User) -> None:
    _story, day = paid_online(book())
    paid_online(book(8000, "jpy"))
    sections = Report(close_day_after(day, 0, clerk).content).sections
    assert [(each.currency, each.total.net, each.total.count) for each in sections if each.online] == [
        ("eur", 5000, 1), ("jpy", 8000, 1),
    ]  # fmt: skip


def test_a_refund_through_stripe_is_named_with_whoever_gave_it(book: Book, clerk: User) -> None:
    payment = book()
    story, day = paid_online(payment)
    deliver(story.refund(1000))
    payment.journal_lines.filter(amount=-1000).update(actor=clerk)
    report = Report(close_day_after(day, 0, clerk).content)
    assert [(name, [each.net for each in sums]) for name, sums in report.staff] == [("Inès Faure", [-1000])]


def test_nobody_seals_money_at_stripe_that_they_have_not_seen(book: Book, clerk: User, as_clerk: Client) -> None:
    _story, day = paid_online(book())
    with at(day):
        sheet = open_sheet()
        fields = {"day": str(sheet.day), "seen": sheet.fingerprint, "opening_eur": "0", "counted_eur": "0"}
        paid_online(book(3000))
        assert "80,00 €" in text_of(as_clerk.post("/desk/closing/", fields))  # the page that asks to confirm
        assert as_clerk.post("/desk/closing/", {**fields, "confirmed": "1"}).status_code == 409
        assert not Closing.objects.exists()
        fields["seen"] = open_sheet().fingerprint
        assert as_clerk.post("/desk/closing/", {**fields, "confirmed": "1"}).status_code == 302
    assert sorted(online(Closing.objects.get())) == [3000, 5000]


def test_a_closing_says_of_stripe_what_stripe_says(payment: Payment, clerk: User, stripe: StripeAtHome) -> None:
    """The closing's sums are those of Stripe's balance transactions of that day."""
    charge = stripe.do("pay", session=open_checkout(payment))["payment_intent"]["latest_charge"]
    stripe.do("refund", charge=charge, amount=1000)
    stripe.do("clock", advance=700)
    stripe.tell()
    call_command("mirror")
    (section,) = Report(close(clerk).content).sections
    assert section.online
    rows = BalanceTransaction.objects.all()
    assert section.online.received == sum(row.amount for row in rows if row.amount > 0) == 5000
    assert section.online.given_back == sum(row.amount for row in rows if row.amount < 0) == -1000


@pytest.mark.usefixtures("steady_session")
def test_the_pages_ask_as_many_queries_however_many_movements_there_are(
    book: Book, clerk: User, as_clerk: Client, as_accountant: Client
) -> None:
    day = paid_online(book())[1]
    counts: dict[str, set[int]] = {}
    for ago in (1, 0):
        with at(day - datetime.timedelta(days=ago)):
            for _ in range(1 if ago else 12):
                take(book(), 1000, clerk)
                deliver(Story(book()).charged())
            count(counts, "open", as_clerk, "/desk/closing/")
            count(counts, "sealed", as_clerk, f"/desk/closing/{close(clerk).number}/")
            count(counts, "month", as_accountant, "/desk/closing/month/")
    assert counts == {"open": {13}, "sealed": {8}, "month": {8}}  # of which six are asked by every page for staff


def count(counts: dict[str, set[int]], name: str, client: Client, path: str) -> None:
    """Add to `counts[name]` how many queries the page asks."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path).status_code == 200
    counts.setdefault(name, set()).add(len(queries))


# Counting


def post(client: Client, **fields: str) -> Any:
    """Post the closing's form as the page shows it now, with these fields."""
    sheet = open_sheet()
    return client.post("/desk/closing/", {"day": str(sheet.day), "seen": sheet.fingerprint, **fields})


def test_any_count_is_sealed_and_a_difference_needs_a_reason(book: Book, clerk: User, as_clerk: Client) -> None:
    with at(MONDAY):
        take(book(), 2000, clerk)
        take(book(), 3000, clerk, Method.TERMINAL)
        count = {"opening_eur": "0", "counted_eur": "18", "found_eur_terminal": "30,00"}
        answer = post(as_clerk, **count)
        assert (answer.status_code, "Indiquez d’où vient l’écart" in text_of(answer)) == (422, True)
        count["reason"] = "Erreur de rendu"
        answer = post(as_clerk, **count)
        assert "Sceller la clôture n° 1 ?" in text_of(answer)
        assert not Closing.objects.exists()
        answer = post(as_clerk, **count, change="1")
        assert 'value="18"' in answer.content.decode()
        answer = post(as_clerk, **count, confirmed="1")
        assert answer["Location"] == "/desk/closing/1/"
        page = text_of(as_clerk.get("/desk/closing/1/"))
    assert "−2,00 €" in page
    assert "Erreur de rendu" in page
    (section,) = Report(Closing.objects.get().content).sections
    assert [(line.tally.method, line.difference) for line in section.lines] == [("cash", -200), ("terminal", 0)]


def test_the_morning_s_float_may_differ_from_what_was_left(book: Book, clerk: User, as_clerk: Client) -> None:
    with at(MONDAY):
        take(book(), 2000, clerk)
        close(clerk, Drawer("eur", 0, 10000, 12000, 10000))
    with at(MONDAY + datetime.timedelta(days=1)):
        count = {"opening_eur": "95", "counted_eur": "95"}
        assert "100,00" in as_clerk.get("/desk/closing/").content.decode()
        assert post(as_clerk, **count).status_code == 422
        post(as_clerk, **count, reason="Un billet de 5 manque", confirmed="1")
    (drawer,) = Report(Closing.objects.get(number=2).content).drawers
    assert (drawer.gap, drawer.found, drawer.left) == (-500, 0, 9500)


def test_cash_is_counted_by_notes_and_coins(book: Book, clerk: User, as_clerk: Client) -> None:
    with at(MONDAY):
        take(book(), 2550, clerk)
        count = {"opening_eur": "0", "pieces_2000_eur": "1", "pieces_500_eur": "1", "pieces_50_eur": "1"}
        answer = post(as_clerk, **count, counted_eur="20")
        assert "Les billets et pièces font 25,50 €" in text_of(answer)
        post(as_clerk, **count, confirmed="1")
    (drawer,) = Report(Closing.objects.get().content).drawers
    assert (drawer.counted, drawer.counts) == (2550, [(2000, 1), (500, 1), (50, 1)])


def test_more_can_be_given_back_than_was_taken(book: Book, clerk: User, as_clerk: Client) -> None:
    payment = book()
    with at(MONDAY):
        take(payment, 3000, clerk, Method.TERMINAL)
        close(clerk)
    with at(MONDAY + datetime.timedelta(days=1)):
        give_back(payment, Order(3000, "duplicate", Method.TERMINAL), clerk, key=uuid4().hex)
        assert post(as_clerk, opening_eur="0", found_eur_terminal="-30", confirmed="1").status_code == 302
    assert not Report(Closing.objects.get(number=2).content).differs


@pytest.mark.parametrize("counted", ["", "abc", "-5", "1e5", "9" * 30])
def test_a_count_that_is_no_amount_is_told_beside_its_field(
    book: Book, clerk: User, as_clerk: Client, counted: str
) -> None:
    with at(MONDAY):
        take(book(), 2000, clerk)
        answer = post(as_clerk, opening_eur="0", counted_eur=counted, confirmed="1")
    assert (answer.status_code, 'id="id_counted_eur_error"' in answer.content.decode()) == (422, True)


def test_what_is_unsettled_is_shown_and_hinders_nothing(book: Book, clerk: User, as_clerk: Client) -> None:
    with at(MONDAY):
        book(start=timezone.now(), end=timezone.now() + datetime.timedelta(minutes=20))
        assert "1 rendez-vous à payer 50,00 €" in text_of(as_clerk.get("/desk/closing/"))
        assert post(as_clerk, opening_eur="0", counted_eur="0", confirmed="1").status_code == 302
        assert "1 rendez-vous à payer : 50,00 €" in text_of(as_clerk.get("/desk/closing/1/"))


# Sealing


def test_nobody_seals_what_they_have_not_seen(book: Book, clerk: User, as_clerk: Client) -> None:
    with at(MONDAY):
        take(book(), 2000, clerk)
        sheet = open_sheet()
        fields = {"day": str(sheet.day), "seen": sheet.fingerprint, "opening_eur": "0", "counted_eur": "20"}
        take(book(), 1000, clerk)  # on a second screen
        answer = as_clerk.post("/desk/closing/", {**fields, "confirmed": "1"})
        assert (answer.status_code, 'value="20"' in answer.content.decode()) == (409, True)
        assert "La caisse a changé depuis l’ouverture de cette page" in text_of(answer)
        with pytest.raises(TillChangedError):
            seal(MONDAY, {}, [], "", clerk, seen=sheet.fingerprint)
    assert not Closing.objects.exists()


def test_a_form_that_is_sent_twice_seals_once(book: Book, clerk: User, as_clerk: Client) -> None:
    with at(MONDAY):
        take(book(), 2000, clerk)
        sheet = open_sheet()
        fields = {"day": str(sheet.day), "seen": sheet.fingerprint, "opening_eur": "0", "counted_eur": "20"}
        for _ in range(2):
            assert as_clerk.post("/desk/closing/", {**fields, "confirmed": "1"})["Location"] == "/desk/closing/1/"
    assert Closing.objects.count() == 1


@pytest.mark.postgres
def test_a_rollback_leaves_no_gap_in_the_numbers(book: Book, clerk: User) -> None:
    with at(MONDAY):
        take(book(), 2000, clerk)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            _ = 1 / (close(clerk).number - 1)
        assert close(clerk).number == 1
    with at(MONDAY + datetime.timedelta(days=1)):
        assert close(clerk).number == 2
    assert (ClosingHead.objects.get().number, ClosingHead.objects.get().hash) == (2, Closing.objects.get(number=2).hash)


@pytest.mark.postgres
def test_a_sealed_closing_cannot_be_changed(book: Book, clerk: User) -> None:
    with at(MONDAY):
        entry = take(book(), 2000, clerk)
        closing = close(clerk)
    closing.content["reason"] = "another"
    for change in (
        closing.save,
        closing.delete,
        Closing.objects.all().delete,
        lambda: Closing.objects.update(day=SHORT),
    ):
        with pytest.raises(SealedError):
            change()
    models = {"closing": Closing, "fact": Fact, "head": ClosingHead}
    tables = {name: model._meta.db_table for name, model in models.items()}
    for statement in (
        "UPDATE {closing} SET formula = 2",
        "DELETE FROM {closing}",
        "UPDATE {head} SET number = number - 1",
        "UPDATE {fact} SET closing_id = NULL",
        "UPDATE {fact} SET amount = 1",
        "DELETE FROM {fact}",
    ):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement.format(**tables))
    assert Fact.objects.get(stripe_id=entry).closing_id == 1


def test_a_sealed_entry_may_be_learnt_more_about(book: Book, clerk: User) -> None:
    """A later entry of a payment with sealed entries is recorded, because it changes no sealed one."""
    payment = book()
    with at(MONDAY):
        entry = take(payment, 2000, clerk)
        close(clerk)
        till.reverse(payment, entry, "Payé par carte", clerk)
    assert Fact.objects.open_entries().get().stripe_id == f"reversal_{entry}"


def test_golden_vectors() -> None:
    """Formula 1 of the hash stays as it is, whatever the server's time zone."""
    content = {
        "entries": [], "people": {}, "online": [], "found": {"eur": {"terminal": -3000}}, "drawers": [],
        "left_open": {"owed": [], "reviews": 0}, "reason": "Écart d’un « billet »",
    }  # fmt: skip
    sealed_at = datetime.datetime(2026, 3, 29, 18, 42, 7, tzinfo=PARIS)
    first = Closing(
        number=1, day=datetime.date(2026, 3, 29), sealed_at=sealed_at, sealed_by_id=7, content=content, formula=1
    )  # fmt: skip
    assert formula_1(first).decode() == (
        '{"content":{"drawers":[],"entries":[],"found":{"eur":{"terminal":-3000}},"left_open":{"owed":[],"reviews":0},'
        '"online":[],"people":{},"reason":"Écart d’un « billet »"},"corrects":null,"day":"2026-03-29","formula":1,'
        '"number":1,"previous":"","sealed_at":"2026-03-29T16:42:07Z","sealed_by":7}'
    )
    assert first.computed_hash == "c222315f742afd01a89606ff229e2ed8eff73ad523180ac42184016d6524fd11"
    sealed_at = datetime.datetime(2026, 10, 25, 2, 30, tzinfo=PARIS)  # the first of two
    second = Closing(
        number=2, day=first.day, sealed_at=sealed_at, sealed_by_id=7, corrects_id=1, content={"reason": ""}, formula=1,
        previous_hash=first.computed_hash,
    )  # fmt: skip
    assert second.computed_hash == "ae35446dd3bc435a55eb7b70fbf432fd063e4d40ee3ab1c798183f6d84407019"
    assert second.computed_hash == hashlib.sha256(formula_1(second)).hexdigest()


@pytest.mark.postgres
def test_a_stored_closing_has_the_hash_that_it_was_sealed_with(book: Book, clerk: User) -> None:
    with at(MONDAY):
        take(book(), 2000, clerk, Method.CHEQUE, deposited="2024-11-27")
        close(clerk, reason="Écart d’un « billet »", cheque=1)
    with at(MONDAY + datetime.timedelta(days=1)):
        close(clerk)
    first, second = Closing.objects.all()
    assert [each.computed_hash for each in (first, second)] == [first.hash, second.hash]
    assert (first.previous_hash, second.previous_hash) == ("", first.hash)


# Correcting


def test_a_correction_is_a_closing_of_its_own(book: Book, clerk: User, as_clerk: Client) -> None:
    with at(MONDAY):
        take(book(), 2000, clerk)
        first = close(clerk, Drawer("eur", 0, 10000, 11500, 10000), reason="5 € manquent")
        path = "/desk/closing/1/correct/"
        assert 'value="115,00"' in as_clerk.get(path).content.decode()
        same = {"corrections": "0", "found_eur_cash": "115", "reason": "Sous le tiroir"}
        assert as_clerk.post(path, same).status_code == 422
        assert as_clerk.post(path, {**same, "found_eur_cash": "120", "reason": ""}).status_code == 422
        for _ in range(2):  # the second is a double click
            as_clerk.post(path, {**same, "found_eur_cash": "120"})
        page = text_of(as_clerk.get("/desk/closing/1/"))
    second = Closing.objects.get(corrects=first)
    assert (second.number, Report(second.content).sections[0].difference) == (2, 500)
    assert Closing.objects.get(number=1).content == first.content
    assert "Corrigée par la clôture n° 2 : +5,00 € · Sous le tiroir" in page
    with pytest.raises(TillChangedError):
        correct(first, {("eur", "cash"): 1}, "x", clerk, corrections=0)


# The month


def test_accountants_see_a_month_by_method_and_day(
    book: Book, clerk: User, as_clerk: Client, as_accountant: Client
) -> None:
    with at(MONDAY):
        take(book(), 2000, clerk)
        take(book(), 3000, clerk, Method.TERMINAL)
        first = close(clerk, Drawer("eur", 0, 0, 1800, 0), reason="=2 € manquent")
    with at(MONDAY + datetime.timedelta(days=1)):
        take(book(), 1000, clerk, Method.TERMINAL)
        close(clerk)
        correct(first, {("eur", "cash"): 1900}, "Retrouvé", clerk, corrections=0)
        page = text_of(as_accountant.get("/desk/closing/month/"))
        answer = as_accountant.get("/desk/closing/month.csv?month=2024-11")
        assert "Aucun mouvement d’argent ce mois-ci" in text_of(as_accountant.get("/desk/closing/month/?month=2024-10"))
    assert "Total 20,00 € 40,00 € 60,00 € −1,00 €" in page
    lines = [line.split(";") for line in answer.content.decode("utf-8-sig").splitlines()]
    reasons = "'=2 € manquent · Retrouvé"
    assert lines[1:] == [
        ["2024-11-25", "1, 3", "EUR", "Espèces", "1", "20,00", "0,00", "20,00", "-1,00", reasons],
        ["2024-11-25", "1, 3", "EUR", "Terminal de paiement", "1", "30,00", "0,00", "30,00", "0,00", reasons],
        ["2024-11-26", "2", "EUR", "Terminal de paiement", "1", "10,00", "0,00", "10,00", "0,00", ""],
    ]


def test_the_month_holds_also_what_moved_on_days_that_nobody_closed(book: Book, as_accountant: Client) -> None:
    deliver(Story(book()).charged())
    deliver(Story(book(8000, "jpy")).charged())
    day = timezone.localdate(datetime.datetime.fromtimestamp(JournalLine.objects.earliest("at").at, datetime.UTC))
    page = as_accountant.get(f"/desk/closing/month/?month={day:%Y-%m}")
    assert [(table.currency, table.net, table.methods) for table in page.context["month"].tables] == [
        ("eur", 5000, ["online"]),
        ("jpy", 8000, ["online"]),
    ]
    assert "non clôturé" in text_of(page)


@pytest.mark.parametrize("month", ["", "2024-13", "0000-01", "9999-12", "x", "2024-11-01"])
def test_a_month_that_is_none_is_the_present_one(as_accountant: Client, month: str) -> None:
    with at(MONDAY):
        answer = as_accountant.get("/desk/closing/month/", {"month": month})
    assert "Novembre 2024" in text_of(answer)


def test_the_front_desk_closes_but_sees_no_month(as_clerk: Client) -> None:
    assert as_clerk.get("/desk/closing/").status_code == 200
    assert as_clerk.get("/desk/closing/month/").status_code == 403
    assert "closing/month" not in as_clerk.get("/desk/closing/").content.decode()
