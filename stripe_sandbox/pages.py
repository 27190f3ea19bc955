"""Serves the customer's pages: hosted Checkout, its 3-D Secure step, receipts, and notices that a session has ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import jinja2
from aiohttp import web

from stripe_sandbox import checkout, hosted_form, vouchers
from stripe_sandbox.errors import StripeError
from stripe_sandbox.money import format_money
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json
from stripe_sandbox.texts import TEXTS, pick_language, text

# The policy has no form-action, because form-action would also block the redirect back to the clinic's site.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
SHOWN_CARDS = {
    "4242424242424242": "outcome_paid",
    "4000000000000002": "outcome_declined",
    "4000000000009995": "outcome_funds",
    "4000002760003184": "outcome_3ds",
    "4000002500003155": "outcome_setup",
    "4000000000000341": "outcome_later",
    "4000000000000259": "outcome_dispute",
    "4000000000007726": "outcome_refund_pending",
    "4000000000005126": "outcome_refund_fails",
}
SHOWN_IBANS = {
    "FR1420041010050500013M02606": "outcome_sepa_ok",
    "FR3020041010050500013M02609": "outcome_sepa_slow",
    "FR8420041010050500013M02607": "outcome_sepa_fails",
    "FR5720041010050500013M02608": "outcome_sepa_returned",
}


def grouped(number: str) -> str:
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


templates = jinja2.Environment(
    loader=jinja2.PackageLoader("stripe_sandbox"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
templates.filters |= {"grouped": grouped}


@dataclass
class Pages:
    sandbox: Sandbox

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/receipts/{id}", self.show_receipt),
            web.get("/instructions/{id}", self.show_instructions),
            web.get("/c/pay/{id}", self.show),
            web.post("/c/pay/{id}", self.pay),
            web.get("/c/pay/{id}/authenticate", self.show_authentication),
            web.post("/c/pay/{id}/authenticate", self.authenticate),
        ]

    async def show(self, request: web.Request) -> web.Response:
        session = self._session(request)
        if session is None:
            return self._over(request, None, "missing", 404)
        if session["status"] != "open":
            return self._over(request, session, "expired" if session["status"] == "expired" else "complete")
        return self._form(request, session, {}, {})

    async def pay(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        if session is None:
            return self._over(request, None, "missing", 404)
        if session["status"] == "complete":  # the button was pressed twice
            return self._leave(session)
        if session["status"] != "open":
            return self._over(request, session, "expired" if session["status"] == "expired" else "complete")
        typed = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        asks = checkout.needs_method(session)
        errors = hosted_form.check(typed, session, self.sandbox.now()) if asks else {}
        if errors:
            return self._form(request, session, typed, errors, status=422)
        method = hosted_form.make_method(self.sandbox, typed, session) if asks else None
        try:
            checkout.pay(self.sandbox, session, method)
        except StripeError as error:
            return self._form(request, session, typed, {"declined": _declined(error)}, status=402)
        if session["status"] == "open":
            raise web.HTTPSeeOther(f"/c/pay/{session['id']}/authenticate")
        return self._leave(session)

    async def show_authentication(self, request: web.Request) -> web.Response:
        session = self._session(request)
        if session is None or not checkout.awaits_authentication(self.sandbox, session):
            return await self.show(request)
        return self._render(request, "secure.html", session)

    async def authenticate(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        if session is None or not checkout.awaits_authentication(self.sandbox, session):
            return await self.show(request)
        success = (await request.post()).get("action") == "complete"
        try:
            checkout.authenticate(self.sandbox, session, success)
        except StripeError as error:
            return self._form(request, session, {}, {"declined": _declined(error)}, status=402)
        return self._leave(session)

    async def show_receipt(self, request: web.Request) -> web.Response:
        """Render the receipt at a paid charge's `receipt_url`; answer 404 for any other id."""
        charge = self.sandbox.store.objects["charge"].get(request.match_info["id"])
        if charge is None or not charge["paid"]:
            return self._over(request, None, "missing", 404)
        paid_on = datetime.fromtimestamp(charge["created"], UTC).astimezone()
        return self._render(request, "receipt.html", None, charge=charge, paid_on=paid_on)

    async def show_instructions(self, request: web.Request) -> web.Response:
        """Render the page that says how to pay a voucher or transfer; answer 404 if the intent waits for neither."""
        intent = self.sandbox.store.objects["payment_intent"].get(request.match_info["id"])
        if intent is None or not vouchers.awaits_money(intent):
            return self._over(request, None, "missing", 404)
        details = intent["next_action"][intent["next_action"]["type"]]
        return self._render(request, "instructions.html", None, intent=intent, details=details)

    def _session(self, request: web.Request) -> Json | None:
        return self.sandbox.store.objects["checkout.session"].get(request.match_info["id"])

    def _leave(self, session: Json) -> web.Response:
        url = success_url(session)
        return web.Response(status=303, headers=HEADERS | {"Location": url})

    def _form(
        self, request: web.Request, session: Json, typed: Mapping[str, str], errors: dict[str, str], status: int = 200
    ) -> web.Response:
        kinds = session["payment_method_types"]
        kept = {name: typed.get(name, "") for name in ("email", "name", "card_number", "exp", "iban")}
        return self._render(
            request,
            "pay.html",
            session,
            status=status,
            lines=self.sandbox.store.private[session["id"]]["lines"],
            kinds=[kind for kind in ("card", "sepa_debit") if kind in kinds],
            chosen="sepa_debit" if hosted_form.is_debit(typed, session) else "card",
            typed=kept,
            keeps=session["mode"] == "setup",
            errors=errors,
            test_cards=SHOWN_CARDS,
            test_ibans=SHOWN_IBANS,
        )

    def _over(self, request: web.Request, session: Json | None, why: str, status: int = 200) -> web.Response:
        link = None if session is None else success_url(session) if why == "complete" else session["cancel_url"]
        return self._render(request, "over.html", session, status=status, why=why, link=link)

    def _render(
        self, request: web.Request, template: str, session: Json | None, status: int = 200, **values: Any
    ) -> web.Response:
        locale = session["locale"] if session else None
        language = pick_language(locale, request.headers.get("Accept-Language", ""))
        name = self.sandbox.settings.business_name
        html = templates.get_template(template).render(
            session=session,
            language=language,
            business=name,
            t=lambda key, **more: text(language, key, **{"name": name} | more),
            money=lambda amount, currency: format_money(amount, currency, language),
            **values,
        )
        return web.Response(text=html, content_type="text/html", status=status, headers=HEADERS)


def success_url(session: Json) -> str:
    url: str = session["success_url"]
    return url.replace("{CHECKOUT_SESSION_ID}", quote(session["id"]))


def _declined(error: StripeError) -> str:
    """Return the key in TEXTS of the message for a declined payment.

    The key is the error's decline code or error code, if TEXTS has it, else "card_declined".
    """
    codes = (error.error.get("decline_code"), error.error.get("code"))
    return next((code for code in codes if code in TEXTS), "card_declined")
