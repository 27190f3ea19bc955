"""The control page: lists payments, with buttons for what can happen next to each, and webhook deliveries."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from stripe_sandbox import checkout, disputes, payments, vouchers
from stripe_sandbox.api import Api
from stripe_sandbox.control_texts import TEXTS
from stripe_sandbox.deliveries import Delivery
from stripe_sandbox.delivery_modes import MODES
from stripe_sandbox.faults import MODES as API_MODES
from stripe_sandbox.money import format_money
from stripe_sandbox.pages import HEADERS, templates
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json
from stripe_sandbox.texts import pick_language
from stripe_sandbox.versions import CHOICES
from stripe_sandbox.webhooks import Webhooks

_SESSIONS, _DELIVERIES, _PAYOUTS = 30, 60, 10
_VOUCHERS = ("multibanco", "bank_transfer")

# A button: (name in the control API, its JSON body, key of its label in TEXTS)
Action = tuple[str, Json, str]


@dataclass
class ControlPage:
    sandbox: Sandbox
    webhooks: Webhooks
    api: Api

    def routes(self) -> list[web.RouteDef]:
        return [web.get(path, self.show) for path in ("/", "/_sandbox", "/_sandbox/")]

    async def show(self, request: web.Request) -> web.Response:
        """Render the control page; the query's `session` limits it to one Checkout Session and its deliveries."""
        chosen = request.query.get("session")
        sessions = list(self.sandbox.store.select("checkout.session", **({"id": chosen} if chosen else {})))
        rows = [self._row(session) for session in sessions[:_SESSIONS]]
        language = pick_language(None, request.headers.get("Accept-Language", ""))
        html = templates.get_template("control.html").render(
            language=language,
            t=lambda key: TEXTS[key][language == "fr"],
            status=lambda found: TEXTS.get(found, (found, found))[language == "fr"],  # it may be one nobody knows
            money=lambda amount, currency: format_money(amount, currency, language),
            clock=lambda at: datetime.fromtimestamp(at, UTC).astimezone(),
            chosen=chosen,
            rows=rows,
            payouts=[(found, _of_payout(found)) for found in self._payouts()],
            deliveries=self._deliveries(rows if chosen else None),
            endpoints=list(self.sandbox.store.select("webhook_endpoint")),
            mode=self.webhooks.mode,
            modes=MODES,
            api_mode=self.api.fault.mode,
            api_modes=API_MODES,
            api_version=self.sandbox.api_version,
            api_versions=dict.fromkeys((*CHOICES, self.sandbox.api_version)),
            now=self.sandbox.now(),
            offset=self.sandbox.clock_offset,
            problem=request.query.get("problem", ""),
        )
        return web.Response(text=html, content_type="text/html", headers=HEADERS)

    def _row(self, session: Json) -> Json:
        store, intent = self.sandbox.store, checkout.intent_of(self.sandbox, session)
        intent_id = session["payment_intent"]
        refunds = list(store.select("refund", payment_intent=intent_id)) if intent_id else []
        disputed = list(store.select("dispute", payment_intent=intent_id)) if intent_id else []
        charge = store.find(intent["latest_charge"] or "") if intent else None
        return {
            "session": session,
            "lines": store.private[session["id"]]["lines"],
            "state": _state(session, intent),
            "refunds": refunds,
            "disputes": disputed,
            "actions": [
                *_of_session(session, intent),
                *_of_charge(charge),
                *(action for refund in refunds for action in _of_refund(refund)),
                *(action for dispute in disputed for action in _of_dispute(dispute)),
            ],
        }

    def _payouts(self) -> list[Json]:
        return list(self.sandbox.store.select("payout"))[:_PAYOUTS]

    def _deliveries(self, rows: list[Json] | None) -> list[Delivery]:
        newest_first = list(reversed(self.webhooks.deliveries.values()))
        if rows is not None:
            wanted = {found for row in rows for found in self._ids(row)}
            newest_first = [delivery for delivery in newest_first if delivery.object in wanted]
        return newest_first[:_DELIVERIES]

    def _ids(self, row: Json) -> set[Any]:
        intent_id = row["session"]["payment_intent"]
        charges = self.sandbox.store.select("charge", payment_intent=intent_id) if intent_id else []
        others = [found["id"] for found in [*row["refunds"], *row["disputes"], *charges]]
        return {row["session"]["id"], intent_id, *others}


def _state(session: Json, intent: Json | None) -> str:
    """Return the state of the session's payment, such as "paid" or "declined", as a key of control_texts.TEXTS."""
    if session["status"] == "expired" or session["payment_status"] != "unpaid":
        return str(session["status"] if session["status"] == "expired" else session["payment_status"])
    if intent and vouchers.awaits_money(intent):
        return "awaits_money"
    if intent and intent["status"] in ("processing", "requires_action", "requires_capture"):
        return str(intent["status"])
    if intent and intent["last_payment_error"]:
        return "declined" if session["status"] == "open" else "failed"
    return str(session["status"])


def _of_session(session: Json, intent: Json | None) -> list[Action]:
    target = {"session": session["id"]}
    if intent and vouchers.awaits_money(intent):
        return [("settle", target, "do_receive"), ("expire", target, "do_expire_voucher")]
    if intent and intent["status"] == "requires_capture":
        return [("capture", target, "do_capture"), ("expire", target, "do_expire_authorization")]
    if intent and payments.awaits_authentication(intent):
        return [
            ("authenticate", target, "do_authenticate"),
            ("authenticate", target | {"success": False}, "do_refuse"),
            ("expire", target, "do_expire"),
        ]
    if session["status"] == "open":
        return [
            ("pay", target, "do_pay"),
            ("pay", target | {"outcome": "declined"}, "do_decline"),
            ("pay", target | {"outcome": "processing"}, "do_processing"),
            *(("pay", target | {"outcome": name}, f"do_{name}") for name in _VOUCHERS if session["currency"] == "eur"),
            ("expire", target, "do_expire"),
        ]
    if intent and intent["status"] == "processing":
        return [("settle", target, "do_settle"), ("settle", target | {"success": False}, "do_fail")]
    return []


def _of_charge(charge: Json | None) -> list[Action]:
    if charge is None or charge["status"] != "succeeded" or charge["disputed"] or not charge["captured"]:
        return []
    target = {"charge": charge["id"]}
    refund: list[Action] = [] if charge["refunded"] else [("refund", target, "do_refund")]
    if disputes.is_debit(charge):
        return [*refund, ("dispute", target, "do_return")]
    return [*refund, ("dispute", target, "do_dispute"), ("dispute", target | {"warning": True}, "do_warning")]


def _of_refund(refund: Json) -> list[Action]:
    target = {"refund": refund["id"]}
    succeeds: Action = ("refund_status", target | {"status": "succeeded"}, "do_refund_succeeds")
    fails: Action = ("refund_status", target | {"status": "failed"}, "do_refund_fails")
    return {"pending": [succeeds, fails], "succeeded": [fails]}.get(refund["status"], [])


def _of_dispute(dispute: Json) -> list[Action]:
    def button(status: str, words: str) -> Action:
        return ("dispute_status", {"dispute": dispute["id"], "status": status}, words)

    review, win, lose = button("under_review", "do_review"), button("won", "do_win"), button("lost", "do_lose")
    escalate, close = button("needs_response", "do_escalate"), button("closed", "do_close")
    return {
        "needs_response": [review, win, lose],
        "under_review": [win, lose],
        "lost": [win] if dispute["payment_method_details"] else [],
        "warning_needs_response": [review, escalate, close],
        "warning_under_review": [escalate, close],
    }.get(dispute["status"], [])


def _of_payout(payout: Json) -> list[Action]:
    def button(status: str, words: str) -> Action:
        return ("payout_status", {"payout": payout["id"], "status": status}, words)

    reconcile = [button("reconciled", "do_reconcile")] if payout["reconciliation_status"] == "in_progress" else []
    arrive, fail = button("paid", "do_arrive"), button("failed", "do_return_payout")
    open_to = {"pending": [arrive, fail], "in_transit": [arrive, fail], "paid": [fail]}
    return [*reconcile, *open_to.get(payout["status"], [])]
