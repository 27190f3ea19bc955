"""Runs the scheduled jobs that change objects at a set time, such as expiring a Checkout Session."""

from collections.abc import Callable

from stripe_sandbox import charges, checkout, payments, payouts, refunds, vouchers
from stripe_sandbox.sandbox import Sandbox


def run_due(sandbox: Sandbox) -> None:
    for job in sandbox.take_due():
        _JOBS[job.name](sandbox, *job.args)
    payouts.pay_out_daily(sandbox)


def _expire_session(sandbox: Sandbox, session_id: str) -> None:
    session = sandbox.store.find(session_id)
    if session and session["status"] == "open":
        checkout.expire(sandbox, session)


def _settle(sandbox: Sandbox, intent_id: str, success: bool) -> None:
    intent = sandbox.store.find(intent_id)
    if intent and (intent["status"] == "processing" or vouchers.awaits_money(intent)):
        checkout.settle(sandbox, intent, success)


def _expire_authorization(sandbox: Sandbox, intent_id: str) -> None:
    intent = sandbox.store.find(intent_id)
    if intent and intent["status"] == "requires_capture":
        payments.expire_authorization(sandbox, intent)


def _finish_refund(sandbox: Sandbox, refund_id: str, status: str) -> None:
    refund = sandbox.store.find(refund_id)
    if refund and refund["status"] in ("pending", "succeeded") and refund["status"] != status:
        refunds.finish(sandbox, refund, status)


def _put_on_balance(sandbox: Sandbox, charge_id: str, taken_at: int) -> None:
    charge = sandbox.store.find(charge_id)
    if charge and charge["balance_transaction"] is None:
        charges.put_on_balance(sandbox, charge, taken_at)


def _reconcile_payout(sandbox: Sandbox, payout_id: str) -> None:
    payout = sandbox.store.find(payout_id)
    if payout and payout["reconciliation_status"] == "in_progress":
        payouts.reconcile(sandbox, payout)


def _payout_arrives(sandbox: Sandbox, payout_id: str) -> None:
    payout = sandbox.store.find(payout_id)
    if payout and payout["status"] in ("pending", "in_transit"):
        payouts.move(sandbox, payout, "paid")


_JOBS: dict[str, Callable[..., None]] = {
    "expire_session": _expire_session,
    "settle": _settle,
    "expire_authorization": _expire_authorization,
    "finish_refund": _finish_refund,
    "put_on_balance": _put_on_balance,
    "reconcile_payout": _reconcile_payout,
    "payout_arrives": _payout_arrives,
}
