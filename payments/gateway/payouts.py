"""Copies Stripe's payouts and what they contain into dj-stripe's tables. Only `manage.py mirror` calls this.

https://docs.stripe.com/payouts/reconciliation
"""

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Min
from django.utils import timezone
from djstripe.models import BalanceTransaction, Payout

from ..conf import app_settings
from ..domain.facts import Kind
from ..models import BalanceLink, Cursor, Fact
from .client import call
from .retrieve import listed

LOOKED_BACK = datetime.timedelta(days=30)  # in which a payout that was paid can still fail
COMPARED = ("status", "reconciliation_status", "failure_balance_transaction")  # what changes in a payout
RUN = "payouts"  # the name of the cursor's run


def copy_payout(payout_id: str) -> None:
    """Fetch a payout and, if Stripe can tell, all balance transactions in it, and store dj-stripe's copies and links.

    Before its reconciliation is completed, the list of an automatic payout is incomplete, so it isn't fetched. Raises
    StripeUnavailableError and StripeRefusedError.
    """
    key = app_settings.STRIPE_SECRET_KEY
    data, _ = call(lambda stripe: stripe.v1.payouts.retrieve(payout_id, {"expand": ["destination"]}))
    rows = [row for row, _ in listed("balance_transactions", payout=payout_id)] if _has_list(data) else []
    _copy_rows(rows, key)
    destination = data["destination"]
    if not isinstance(destination, Mapping) or destination["object"] != "bank_account":
        data["destination"] = None  # dj-stripe has no place for a debit card
    link_sources(Payout.sync_from_stripe_data(data, api_key=key).stripe_data)
    if rows:
        BalanceLink.objects.note_payout(payout_id, {row["id"]: _id_of(row["source"]) for row in rows})


def _has_list(payout: Mapping[str, Any]) -> bool:
    return bool(payout["automatic"] and payout["reconciliation_status"] == "completed")


def _copy_rows(rows: list[dict[str, Any]], key: str) -> None:
    """Store dj-stripe's copies of balance transactions, unless a copy is available, after which nothing changes."""
    ids = [row["id"] for row in rows]
    final = BalanceTransaction.objects.filter(id__among=ids, stripe_data__status="available")
    known = set(final.values_list("id", flat=True))
    for row in rows:
        if row["id"] not in known:
            BalanceTransaction.sync_from_stripe_data(row, api_key=key)


def link_sources(data: Mapping[str, Any]) -> None:
    """Store the links of the balance transactions of a charge, refund, dispute or payout that dj-stripe has copied.

    `data` is the JSON of that object.
    """
    names = ("balance_transaction", "failure_balance_transaction")
    ids = [_id_of(data.get(name)) for name in names] + [_id_of(row) for row in data.get("balance_transactions") or ()]
    rows = BalanceTransaction.objects.filter(id__in=filter(None, ids))
    BalanceLink.objects.note_sources(dict(rows.values_list("id", "source")))


def _id_of(value: object) -> str:
    """Return the id in a field of Stripe's JSON that holds an id, an expanded object or null, which gives ""."""
    found = value.get("id") if isinstance(value, Mapping) else value
    return found if isinstance(found, str) else ""


def outdated_payouts() -> tuple[list[str], int]:
    """List the account's payouts at Stripe; return the ids of those whose copies are missing or outdated, oldest first.

    Also return the Unix time up to which all payouts were listed, for `caught_up`. The list begins LOOKED_BACK before
    the last complete run or, before the first, with the oldest charge. Raises StripeUnavailableError and
    StripeRefusedError.
    """
    now = int(timezone.now().timestamp())
    oldest = Fact.objects.filter(kind=Kind.CHARGE).aggregate(oldest=Min("created"))["oldest"]
    cursor = Cursor.objects.filter(run=RUN).first()
    if oldest is None:
        return [], now
    since = max(oldest, cursor.position - int(LOOKED_BACK.total_seconds())) if cursor else oldest
    found = [payout for payout, _ in listed("payouts", created={"gte": since})]
    return list(_outdated(reversed(found))), now


def _outdated(found: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    found = list(found)
    ids = [payout["id"] for payout in found]
    stored = dict(Payout.objects.filter(id__among=ids).values_list("id", "stripe_data"))
    known = BalanceLink.objects.known_payouts(ids)
    for payout in found:
        copy = stored.get(payout["id"])
        changed = copy is None or any(_id_of(copy.get(name)) != _id_of(payout[name]) for name in COMPARED)
        if changed or (_has_list(payout) and payout["id"] not in known):
            yield payout["id"]


def caught_up(until: int) -> None:
    """Note that the copies of all payouts that were made until this Unix time are up to date."""
    Cursor.objects.update_or_create(run=RUN, defaults={"position": until})
