"""Makes a transfer from Stripe to the bank in the tables of a live site: `transfers.make()` in manage.py's shell."""

import datetime
from typing import Any

from django.utils import timezone
from djstripe.models import BalanceTransaction, Payout

from payments.models import BalanceLink, Fact

PAYOUT_ID = "po_made"


def make() -> None:
    """Make a transfer that the bank returned, with a line about the oldest charge and lines about nothing of ours."""
    charge = Fact.objects.filter(kind="charge").exclude(payment=None).earliest("pk")
    rows = [
        row("txn_charge", "charge", 5_000, 100, charge.stripe_id),
        row("txn_refund", "refund", -1_000, 0, "re_theirs"),
        row("txn_fee", "moon_tax", -300, 0, ""),
        row("txn_own", "payout", -3_600, 0, PAYOUT_ID),
        row("txn_return", "payout_reversal", 3_600, 0, PAYOUT_ID),
    ]
    payout = {"amount": 3_650, "automatic": True, "reconciliation_status": "completed", "status": "failed"}
    payout |= {"arrival_date": int(timezone.now().timestamp()), "failure_code": "account_closed"}
    Payout.objects.create(
        id=PAYOUT_ID,
        currency="eur",
        created=timezone.now(),
        balance_transaction=rows[3],
        failure_balance_transaction=rows[4],
        stripe_data=payout,
    )
    sources = {found.id: found.source for found in rows}
    BalanceLink.objects.note_sources({"txn_return": sources.pop("txn_return")})
    BalanceLink.objects.note_payout(PAYOUT_ID, sources)


def row(stripe_id: str, category: str, amount: int, fee: int, source_id: str) -> Any:
    data = {"reporting_category": category, "fee": fee, "net": amount - fee}
    created = timezone.now() - datetime.timedelta(days=3)
    values = {"currency": "eur", "source": source_id, "type": category, "created": created, "stripe_data": data}
    return BalanceTransaction.objects.create(id=stripe_id, amount=amount, **values)
