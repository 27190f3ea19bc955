"""Tests of transfers: what Stripe sends to the bank, line by line, with the sandbox as Stripe."""

import csv
import datetime
import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone, translation
from djstripe.models import BalanceTransaction
from djstripe.models import Payout as PayoutCopy

from payments.desk.transfers import AtStripe, Transfer, at_stripe, payment_at_stripe, transfer_of
from payments.gateway import djstripe, retrieve
from payments.gateway.balance import Contents, payouts_by_id
from payments.models import BalanceLink, Cursor, EventReceipt, Payment
from tests.payments.clients import desk_page_of, text_of
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.streamed import content_of
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
Capture = pytest.CaptureFixture[str]
SECONDS = 600  # until a charge of the tests' sandbox has its balance transaction


@pytest.fixture(autouse=True)
def _known_account(db: None) -> None:
    djstripe.bootstrap()


@pytest.fixture
def stripe(stripe: StripeAtHome) -> StripeAtHome:
    """Return the sandbox with a clock that doesn't pass midnight in UTC, when it makes payouts by itself."""
    stripe.do("clock", offset=-3_600 * (datetime.datetime.now(datetime.UTC).hour == 23))
    return stripe


@pytest.fixture
def charge(payment: Payment, stripe: StripeAtHome) -> str:
    """Return the id of a charge of 50 €, whose balance transaction isn't made yet. Its events have arrived."""
    return pay(payment, stripe)


def pay(payment: Payment, stripe: StripeAtHome) -> str:
    paid = stripe.do("pay", session=open_checkout(payment))
    stripe.tell()
    return str(paid["payment_intent"]["latest_charge"])


def mirrored(stripe: StripeAtHome) -> None:
    """Deliver the sandbox's new events, and have dj-stripe's copies made."""
    stripe.tell()
    call_command("mirror")


def pay_out(stripe: StripeAtHome, **body: Any) -> str:
    """Have everything on the balance paid out, or `amount` by hand; return the payout's id. Its events aren't sent."""
    stripe.do("clock", advance=SECONDS)
    (payout,) = stripe.do("payout", **body)["data"]
    if payout["automatic"]:
        stripe.do("payout_status", payout=payout["id"], status="reconciled")
    return str(payout["id"])


def transfer(payout_id: str) -> Transfer:
    with translation.override("en"):
        return transfer_of(payouts_by_id([payout_id])[payout_id])


def english(client: Client, path: str) -> str:
    return text_of(client.get(path, headers={"Accept-Language": "en"}))


def lines(payout_id: str) -> list[tuple[str, int, int, int]]:
    found = transfer(payout_id)
    assert sum(line.net for line in found.lines) == found.payout.amount
    return [(line.label, line.gross, line.fee, line.net) for line in found.lines]


def page_of(payout_id: str) -> str:
    return f"/desk/transfers/{payout_id}/"


# 14: a charge has no balance transaction in its first seconds


def test_a_fee_is_not_known_until_stripe_tells_it(charge: str, payment: Payment, stripe: StripeAtHome) -> None:
    mirrored(stripe)
    assert at_stripe([charge]) == {}
    assert payment_at_stripe(payment).not_known_yet == 1
    stripe.do("clock", advance=SECONDS)
    assert [event["type"] for event in stripe.events()][-1] == "charge.updated"
    assert stripe.tell() == ["no_change"]
    assert at_stripe([charge]) == {}  # the webhook doesn't ask Stripe; the mirror does
    call_command("mirror")
    assert at_stripe([charge]) == {charge: AtStripe("eur", 5_000, 100, 4_900)}
    assert payment_at_stripe(payment).not_known_yet == 0


# 15: the payout's own row is in its list, and no row names its payout


def test_a_transfer_is_made_of_all_rows_but_its_own(charge: str, stripe: StripeAtHome) -> None:
    stripe.do("refund", charge=charge, amount=1_000)
    payout_id = pay_out(stripe)
    mirrored(stripe)
    assert sorted(lines(payout_id)) == [("Payment", 5_000, 100, 4_900), ("Refund", -1_000, 0, -1_000)]
    assert at_stripe([charge])[charge].payout_ids == (payout_id,)
    own = PayoutCopy.objects.get().balance_transaction_id
    assert BalanceLink.objects.get(stripe_id=own).payout_id == payout_id
    assert "payout" not in BalanceTransaction.objects.get(id=own).stripe_data


def test_a_line_names_its_payment_and_one_of_another_site_does_not(
    charge: str, payment: Payment, book: Callable[..., Payment], stripe: StripeAtHome, as_accountant: Client
) -> None:
    other = book()
    theirs = pay(other, stripe)
    payout_id = pay_out(stripe)
    mirrored(stripe)
    other.facts.update(payment=None)
    found = {line.row.source_id: line.payment for line in transfer(payout_id).lines if line.row}
    assert found == {charge: payment, theirs: None}
    text = text_of(as_accountant.get(page_of(payout_id)))
    assert text.count(payment.appointment.reference) == 1
    assert "Camille Roux" in text


# 16: unknown categories and a difference are lines


def test_an_unknown_category_and_a_difference_are_lines_of_their_own(
    charge: str, stripe: StripeAtHome, as_accountant: Client
) -> None:
    payout_id = pay_out(stripe)
    mirrored(stripe)
    row = BalanceTransaction.objects.get(source=charge)
    row.stripe_data |= {"reporting_category": "moon_tax"}
    row.save()
    copy = PayoutCopy.objects.get()
    copy.stripe_data |= {"amount": 4_950}
    copy.save()
    found = transfer(payout_id)
    assert [(line.label, line.net) for line in found.lines] == [
        ("Other (moon tax)", 4_900),
        ("Difference that Stripe does not explain", 50),
    ]
    assert (found.difference, found.total.net) == (50, 4_950)
    text = english(as_accountant, page_of(payout_id))
    assert "don’t add up to this transfer" in text
    assert "add up to this transfer exactly" not in text


# 17: contents that nobody knows, or not yet


@pytest.mark.parametrize("instant", [False, True])
def test_of_a_transfer_by_hand_nobody_knows_the_contents(
    charge: str, stripe: StripeAtHome, as_accountant: Client, instant: bool
) -> None:
    payout_id = pay_out(stripe, amount=1_000, instant=instant)
    mirrored(stripe)
    found = transfer(payout_id)
    assert (found.payout.contents, found.payout.instant, found.lines) == (Contents.UNKNOWABLE, instant, ())
    words = "Stripe does not know which payments it contains"
    for path in ("/desk/transfers/", page_of(payout_id)):
        assert words in english(as_accountant, path)
    following = pay_out(stripe)
    mirrored(stripe)
    kinds = {line.label: line.net for line in transfer(following).lines}
    assert kinds == {"Payment": 4_900, "Another transfer to the bank": -1_010 if instant else -1_000}


def test_the_list_is_fetched_once_it_is_complete(charge: str, stripe: StripeAtHome) -> None:
    stripe.do("clock", advance=SECONDS)
    (payout,) = stripe.do("payout")["data"]
    mirrored(stripe)
    assert transfer(payout["id"]).payout.contents == Contents.PENDING
    assert not BalanceLink.objects.filter(payout_id=payout["id"]).exists()
    stripe.do("payout_status", payout=payout["id"], status="reconciled")
    mirrored(stripe)
    assert transfer(payout["id"]).payout.contents == Contents.KNOWN


def test_every_page_of_the_list_is_fetched(
    book: Callable[..., Payment], stripe: StripeAtHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieve, "PAGE", 2)
    for amount in (1_000, 2_000, 3_000, 4_000):
        pay(book(amount), stripe)
    payout_id = pay_out(stripe)
    mirrored(stripe)
    assert sorted(gross for _label, gross, _fee, _net in lines(payout_id)) == [1_000, 2_000, 3_000, 4_000]


# 18: paid isn't final, and a transfer may take money


def test_a_transfer_that_the_bank_returns_is_a_line_of_the_next(
    charge: str, book: Callable[..., Payment], stripe: StripeAtHome, as_accountant: Client
) -> None:
    failed = pay_out(stripe)
    stripe.do("payout_status", payout=failed, status="paid")
    mirrored(stripe)
    text = english(as_accountant, page_of(failed))
    assert "Sent to the bank" in text
    assert "the bank can still send this transfer back" in text
    stripe.do("payout_status", payout=failed, status="failed")
    mirrored(stripe)
    text = english(as_accountant, page_of(failed))
    assert "Sent back by the bank" in text
    assert "account_closed" in text
    assert "It will be a line of a later transfer" in text
    pay(book(2_000), stripe)
    following = pay_out(stripe)
    mirrored(stripe)
    assert sorted(lines(following)) == [
        ("Payment", 2_000, 55, 1_945),
        ("Transfer returned by the bank", 4_900, 0, 4_900),
    ]
    returned = as_accountant.get(page_of(failed))
    assert page_of(following) in returned.content.decode()


def test_a_negative_transfer_is_taken_from_the_bank(charge: str, stripe: StripeAtHome, as_accountant: Client) -> None:
    pay_out(stripe)
    stripe.do("refund", charge=charge)
    payout_id = pay_out(stripe)
    stripe.do("payout_status", payout=payout_id, status="paid")
    mirrored(stripe)
    assert lines(payout_id) == [("Refund", -5_000, 0, -5_000)]
    text = english(as_accountant, page_of(payout_id))
    assert "Taken from the bank" in text
    assert "−€50.00" in text


# 19: the balance's currency, Stripe's reporting category, and all rows of a dispute


def test_fees_and_net_are_in_the_balance_s_currency(book: Callable[..., Payment], stripe: StripeAtHome) -> None:
    charge = pay(book(8_000, "jpy"), stripe)
    payout_id = pay_out(stripe)
    mirrored(stripe)
    assert at_stripe([charge]) == {charge: AtStripe("eur", 4_960, 99, 4_861, (payout_id,))}
    assert transfer(payout_id).payout.currency == "eur"


def test_a_part_that_was_never_captured_is_no_refund(charge: str, stripe: StripeAtHome) -> None:
    payout_id = pay_out(stripe)
    mirrored(stripe)
    row = BalanceTransaction.objects.get(source=charge)
    row.type, row.stripe_data = "refund", row.stripe_data | {"reporting_category": "partial_capture_reversal"}
    row.save()
    assert [line.label for line in transfer(payout_id).lines] == ["Part that was not captured"]


def test_all_rows_of_a_dispute_count(charge: str, stripe: StripeAtHome) -> None:
    dispute = stripe.do("dispute", charge=charge, amount=2_000)["id"]
    first = pay_out(stripe)
    stripe.do("dispute_status", dispute=dispute, status="won")
    second = pay_out(stripe)
    mirrored(stripe)
    assert at_stripe([dispute]) == {dispute: AtStripe("eur", 0, 2_000, -2_000, (first, second))}
    assert ("Dispute", -2_000, 2_000, -4_000) in lines(first)
    assert lines(second) == [("Dispute won", 2_000, 0, 2_000)]


# Payouts of which no event came


def test_the_mirror_finds_payouts_of_which_no_event_came(charge: str, stripe: StripeAtHome, capsys: Capture) -> None:
    first = pay_out(stripe)
    stripe.do("refund", charge=charge)
    second = pay_out(stripe)
    call_command("mirror")
    assert "2 payouts copied" in capsys.readouterr().out
    assert {transfer(each).payout.contents for each in (first, second)} == {Contents.KNOWN}
    before = list(PayoutCopy.objects.order_by("id").values("id", "djstripe_updated"))
    call_command("mirror")
    assert "payouts copied" not in capsys.readouterr().out
    assert list(PayoutCopy.objects.order_by("id").values("id", "djstripe_updated")) == before
    stripe.do("payout_status", payout=second, status="failed")
    call_command("mirror")
    assert "1 payouts copied" in capsys.readouterr().out
    assert transfer(second).payout.status == "failed"


def test_an_interrupted_catch_up_goes_on_where_it_was(charge: str, stripe: StripeAtHome, capsys: Capture) -> None:
    first = pay_out(stripe)
    stripe.do("refund", charge=charge)
    second = pay_out(stripe)
    EventReceipt.objects.update(mirrored_at=timezone.now())  # so that only payouts are left to copy
    stripe.do("api", mode="error500", match=second)
    with pytest.raises(CommandError, match=f"1 failed: {second}"):
        call_command("mirror")
    assert "1 payouts copied" in capsys.readouterr().out
    assert not Cursor.objects.filter(run="payouts").exists()
    stripe.do("api", mode="ok")
    call_command("mirror")
    assert "1 payouts copied" in capsys.readouterr().out
    assert set(PayoutCopy.objects.values_list("id", flat=True)) == {first, second}
    assert Cursor.objects.get(run="payouts").position


def test_a_key_that_may_not_list_payouts_leaves_the_rest_of_the_mirror_at_work(
    charge: str, stripe: StripeAtHome
) -> None:
    stripe.do("api", mode="403", match="payouts")
    with pytest.raises(CommandError, match="1 failed: list of payouts"):
        call_command("mirror")
    assert not EventReceipt.objects.unmirrored().exists()


# Events


def test_an_event_about_a_payout_changes_no_payment_and_asks_nobody(payment: Payment, story: Story) -> None:
    payout = {"object": "payout", "id": "po_1", "amount": 1}
    event = story.charged() | {"type": "payout.paid", "data": {"object": payout}}
    assert deliver(event).content == b"no_change"
    receipt = EventReceipt.objects.get()
    assert (receipt.object_id, receipt.outcome, receipt.payment) == ("po_1", "no_change", None)
    assert receipt in EventReceipt.objects.unmirrored()
    assert deliver(event).content == b"no_change"
    broken = story.charged() | {"type": "payout.paid", "data": {"object": payout | {"id": None}}}
    assert deliver(broken).content == b"quarantined"


def test_events_are_listed_twenty_types_at_a_time(charge: str, stripe: StripeAtHome) -> None:
    payout_id = pay_out(stripe)
    types = [event["type"] for event in retrieve.events_since(0)]
    assert {"charge.succeeded", "charge.updated", "payout.reconciliation_completed"} <= set(types)
    call_command("catch_up")
    assert EventReceipt.objects.filter(object_id=payout_id).count() == 3


# Pages


def test_the_list_is_filtered_by_day_and_currency(
    charge: str, book: Callable[..., Payment], stripe: StripeAtHome, as_accountant: Client
) -> None:
    empty = english(as_accountant, "/desk/transfers/")
    assert "Stripe has not transferred anything yet" in empty
    pay(book(4_000, "chf"), stripe)
    stripe.do("clock", advance=SECONDS)
    found = {payout["currency"]: payout for payout in stripe.do("payout")["data"]}
    mirrored(stripe)
    arrival = datetime.datetime.fromtimestamp(found["eur"]["arrival_date"], datetime.UTC).date()
    later = arrival + datetime.timedelta(days=1)

    def shown(query: str) -> set[str]:
        html = as_accountant.get(f"/desk/transfers/{query}").content.decode()
        return {code for code, payout in found.items() if page_of(payout["id"]) in html}

    assert shown("") == {"eur", "chf"}
    assert shown("?currency=chf") == {"chf"}
    assert shown(f"?first={arrival}&last={arrival}") == {"eur", "chf"}
    assert shown(f"?first={later}") == shown(f"?last={arrival - datetime.timedelta(days=1)}") == set()
    wrong = english(as_accountant, f"/desk/transfers/?first={later}&last={arrival}")
    assert "This day is before the first one" in wrong
    assert as_accountant.get(f"/desk/transfers/lines.csv?first={later}&last={arrival}").status_code == 400


def test_the_lines_can_be_downloaded(
    charge: str, payment: Payment, stripe: StripeAtHome, as_accountant: Client
) -> None:
    stripe.do("refund", charge=charge, amount=1_000)
    by_hand, payout_id = pay_out(stripe, amount=500), pay_out(stripe)
    mirrored(stripe)

    def rows(path: str) -> list[dict[str, str]]:
        answer = as_accountant.get(path, headers={"Accept-Language": "en"})
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        return list(csv.DictReader(io.StringIO(content_of(answer).decode("utf-8-sig"))))

    one = rows(f"{page_of(payout_id)}lines.csv")
    assert {(row["Kind"], row["Gross"], row["Fee"], row["Net"]) for row in one} == {
        ("Payment", "50.00", "1.00", "49.00"),
        ("Refund", "-10.00", "0.00", "-10.00"),
        ("Another transfer to the bank", "-5.00", "0.00", "-5.00"),
    }
    assert {row["Transferred"] for row in one} == {"34.00"}
    assert {row["Reference"] for row in one} == {payment.appointment.reference, ""}
    every = rows("/desk/transfers/lines.csv")
    assert len(every) == 4
    (unknown,) = [row for row in every if row["Transfer"] == by_hand]
    assert "does not know" in unknown["Kind"]


def test_a_transfer_costs_few_queries_however_many_lines_it_has(
    book: Callable[..., Payment], stripe: StripeAtHome, as_accountant: Client, django_assert_max_num_queries: Any
) -> None:
    for _ in range(6):
        pay(book(), stripe)
    payout_id = pay_out(stripe)
    mirrored(stripe)
    for path in (page_of(payout_id), "/desk/transfers/"):
        as_accountant.get(path)
        with django_assert_max_num_queries(14):
            assert as_accountant.get(path).status_code == 200


def test_a_payment_s_page_shows_fee_and_transfer_to_those_who_may_see_transfers(
    charge: str, payment: Payment, stripe: StripeAtHome, as_accountant: Client
) -> None:
    mirrored(stripe)
    assert "Stripe has not told the fee of 1 movement yet" in english(as_accountant, desk_page_of(payment))
    payout_id = pay_out(stripe)
    mirrored(stripe)
    assert page_of(payout_id) in as_accountant.get(desk_page_of(payment)).content.decode()
    assert "€1.00 €49.00" in english(as_accountant, desk_page_of(payment))


def test_the_front_desk_does_not_see_them(
    charge: str, payment: Payment, stripe: StripeAtHome, as_clerk: Client
) -> None:
    payout_id = pay_out(stripe)
    mirrored(stripe)
    assert as_clerk.get(page_of(payout_id)).status_code == 403
    html = as_clerk.get(desk_page_of(payment)).content.decode()
    assert "/desk/transfers/" not in html
    assert payout_id not in html


def test_an_unknown_transfer_is_not_found(as_accountant: Client) -> None:
    assert as_accountant.get(page_of("po_unknown")).status_code == 404


def test_erasing_a_patient_clears_what_balance_transactions_say(
    charge: str, payment: Payment, stripe: StripeAtHome
) -> None:
    pay_out(stripe)
    mirrored(stripe)
    BalanceTransaction.objects.filter(source=charge).update(stripe_data={"description": "Camille Roux", "fee": 100})
    payment.appointment.start -= datetime.timedelta(days=2)
    payment.appointment.end -= datetime.timedelta(days=2)
    payment.appointment.save()
    call_command("erase_patient", "camille", "--yes")
    assert BalanceTransaction.objects.get(source=charge).stripe_data == {"description": None, "fee": 100}
