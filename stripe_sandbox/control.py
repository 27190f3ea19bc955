"""The control API: `POST /_sandbox/<name>` makes something happen at the simulated Stripe. See README.md.

Tests, the demo and the control page use it. Each action's docstring lists the keys of its JSON body: `?` marks an
optional key, `|` separates alternatives.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from aiohttp import web

from stripe_sandbox import cards, checkout, disputes, endpoints, jobs, methods, refunds
from stripe_sandbox.api import Api
from stripe_sandbox.control_http import handler
from stripe_sandbox.delivery_modes import MODES, Mode
from stripe_sandbox.errors import StripeError
from stripe_sandbox.faults import Fault
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json
from stripe_sandbox.webhooks import Webhooks

_OUTCOMES = {"paid": "4242424242424242", "declined": "4000000000000002", "processing": ""}
_ANY_IBAN = "ES9121000418450200051332"


@dataclass
class Control:
    sandbox: Sandbox
    webhooks: Webhooks
    api: Api

    def routes(self) -> list[web.RouteDef]:
        posts: dict[str, Callable[[Json], Json]] = {
            "pay": self.pay,
            "authenticate": self.authenticate,
            "settle": self.settle,
            "expire": self.expire,
            "refund": self.refund,
            "refund_status": self.refund_status,
            "dispute": self.dispute,
            "dispute_status": self.dispute_status,
            "clock": self.clock,
            "delivery": self.delivery,
            "api": self.set_fault,
            "webhook_endpoints": self.set_endpoint,
            "resend": self.resend,
            "reset": self.reset,
        }
        acts = [web.post(f"/_sandbox/{name}", handler(act)) for name, act in posts.items()]
        return [*acts, web.get("/_sandbox/deliveries", self.deliveries), web.get("/_sandbox/state", self.state)]

    def pay(self, body: Json) -> Json:
        """Pay the session as the hosted page does; `error` in the answer says why a payment was declined.

        Body: {session, card?|iban?|outcome?, email?, name?}; `outcome` is paid (by default), declined or processing.
        """
        session = self._get("checkout.session", body, "session")
        billing = {"email": body.get("email", "patient@example.com"), "name": body.get("name", "Camille Martin")}
        number = body.get("card") or _OUTCOMES.get(body.get("outcome", "paid"))
        if body.get("iban") or body.get("outcome") == "processing":
            account = cards.bank_account(body.get("iban", _ANY_IBAN))
            method = methods.create_sepa_debit(self.sandbox, account, billing)
        elif number:
            method = methods.create_card(self.sandbox, cards.card(number), billing)
        else:
            raise StripeError(f"outcome is one of {', '.join(_OUTCOMES)}", param="outcome")
        return self._attempt(session, lambda: checkout.pay(self.sandbox, session, method))

    def authenticate(self, body: Json) -> Json:
        """Finish the session's 3-D Secure step; `success` (true by default) is the customer's answer.

        Body: {session, success?}
        """
        session = self._get("checkout.session", body, "session")
        success = body.get("success", True)
        return self._attempt(session, lambda: checkout.authenticate(self.sandbox, session, success))

    def _attempt(self, session: Json, act: Callable[[], None]) -> Json:
        error = None
        try:
            act()
        except StripeError as declined:
            if declined.status != 402:
                raise
            error = declined.error
        intent = checkout.intent_of(self.sandbox, session)
        return {"session": session, "payment_intent": intent, "error": error}

    def settle(self, body: Json) -> Json:
        """Let a bank debit that is processing succeed or, with `success: false`, fail.

        Body: {session|payment_intent, success?}
        """
        intent = self._intent(body)
        checkout.settle(self.sandbox, intent, body.get("success", True))
        return intent

    def expire(self, body: Json) -> Json:
        """Expire an open session now, whatever its `expires_at`. Body: {session}"""
        session = self._get("checkout.session", body, "session")
        checkout.expire(self.sandbox, session)
        return session

    def refund(self, body: Json) -> Json:
        """Refund `amount` minor units of the charge, or all that is left, as on Stripe's Dashboard.

        Body: {charge|payment_intent|session, amount?, reason?}
        """
        return refunds.create(self.sandbox, self._charge(body), body.get("amount"), body.get("reason"), {})

    def refund_status(self, body: Json) -> Json:
        """Change a refund's status. Body: {refund, status: succeeded|failed|canceled}"""
        refund = self._get("refund", body, "refund")
        refunds.finish(self.sandbox, refund, _choice(body, "status", "succeeded", "failed", "canceled"))
        return refund

    def dispute(self, body: Json) -> Json:
        """Open a chargeback of the charge or, if `warning` is true, an inquiry; `amount` is in minor units.

        Body: {charge|payment_intent|session, reason?, amount?, warning?}
        """
        reason, inquiry = body.get("reason", "fraudulent"), bool(body.get("warning"))
        return disputes.open_dispute(
            self.sandbox, self._charge(body), reason, inquiry=inquiry, amount=body.get("amount")
        )

    def dispute_status(self, body: Json) -> Json:
        """Change a dispute's status; `closed` means `lost` for a chargeback and `warning_closed` for an inquiry.

        Body: {dispute, status: won|lost|under_review|closed}
        """
        dispute = self._get("dispute", body, "dispute")
        status = _choice(body, "status", "won", "lost", "under_review", "closed")
        if status == "under_review":
            disputes.update(self.sandbox, dispute)
        else:
            disputes.close(self.sandbox, dispute, won=status == "won")
        return dispute

    def clock(self, body: Json) -> Json:
        """Move Stripe's clock and run the jobs that are then due.

        Body: {offset: seconds ahead of real time} or {advance: seconds to add to the present offset}
        """
        advanced = self.sandbox.clock_offset + body.get("advance", 0)
        self.sandbox.clock_offset = float(body.get("offset", advanced))
        jobs.run_due(self.sandbox)
        return {"offset": self.sandbox.clock_offset, "now": self.sandbox.now()}

    def delivery(self, body: Json) -> Json:
        """Set how webhooks are delivered from now on; delivery_modes.Mode explains the keys.

        Body: {mode, seconds?, times?, types?}
        """
        _choice(body, "mode", *MODES)
        self.webhooks.set_mode(Mode(**body | {"types": tuple(body.get("types", ()))}))
        return asdict(self.webhooks.mode)

    def set_fault(self, body: Json) -> Json:
        """Make Stripe's API fail from now on; faults.Fault explains the keys.

        Body: {mode, count?, match?, method?, seconds?, retry_after?, processed?, drop_webhooks?}
        """
        self.api.fault = Fault(**body)
        return asdict(self.api.fault)

    def set_endpoint(self, body: Json) -> Json:
        """Add a webhook endpoint, or change the endpoint that has this URL.

        Body: {url, secret?, secrets?, events?}
        """
        secrets = body.get("secrets") or ([body["secret"]] if body.get("secret") else None)
        endpoint = endpoints.replace(self.sandbox, body.get("url", ""), body.get("events"), secrets)
        return endpoint | {"secrets": endpoints.secrets_of(self.sandbox, endpoint["id"])}

    def resend(self, body: Json) -> Json:
        """Send a webhook delivery again now. Body: {delivery: its id}"""
        delivery = self.webhooks.deliveries.get(body.get("delivery", ""))
        if delivery is None:
            raise StripeError(f"No such delivery: '{body.get('delivery')}'", status=404, param="delivery")
        self.webhooks.resend(delivery)
        return delivery.as_json()

    def reset(self, body: Json) -> Json:
        """Delete all objects and deliveries, end all faults and return to real time.

        Body: {endpoints?}; webhook endpoints are deleted only if it is true.
        """
        self.webhooks.forget()
        self.api.fault = Fault()
        self.api.answered.clear()
        self.sandbox.reset(keep_endpoints=not body.get("endpoints"))
        return {}

    async def deliveries(self, request: web.Request) -> web.Response:
        """Answer GET /_sandbox/deliveries with webhook deliveries, newest first, at most `limit` (100 by default).

        Other query parameters, such as `event`, `object`, `type` and `state`, name values that a delivery has to have.
        """
        wanted = {key: value for key, value in request.query.items() if key != "limit"}
        found = [delivery.as_json() for delivery in reversed(self.webhooks.deliveries.values())]
        matching = [item for item in found if all(item.get(key) == value for key, value in wanted.items())]
        return web.json_response({"data": matching[: int(request.query.get("limit", 100))]})

    async def state(self, request: web.Request) -> web.Response:
        """Answer GET /_sandbox/state with the delivery mode, the API's fault and the clock.

        The answer also counts the objects of each type and the deliveries that wait to be sent.
        """
        counts = {kind: len(kept) for kind, kept in self.sandbox.store.objects.items()}
        waiting = sum(delivery.waiting for delivery in self.webhooks.deliveries.values())
        modes = {"delivery": asdict(self.webhooks.mode), "api": asdict(self.api.fault)}
        clock = {"offset": self.sandbox.clock_offset, "now": self.sandbox.now()}
        return web.json_response(modes | {"clock": clock, "objects": counts, "deliveries_waiting": waiting})

    def _get(self, kind: str, body: Json, name: str) -> Json:
        return self.sandbox.store.get(kind, str(body.get(name, "")), name)

    def _intent(self, body: Json) -> Json:
        if "session" not in body:
            return self._get("payment_intent", body, "payment_intent")
        intent = checkout.intent_of(self.sandbox, self._get("checkout.session", body, "session"))
        if intent is None:
            raise StripeError("This Checkout Session has no PaymentIntent: nobody has tried to pay.", param="session")
        return intent

    def _charge(self, body: Json) -> Json:
        if "charge" in body:
            return self._get("charge", body, "charge")
        return self.sandbox.store.get("charge", str(self._intent(body)["latest_charge"]))


def _choice(body: Json, name: str, *choices: str) -> str:
    if body.get(name) not in choices:
        raise StripeError(f"{name} is one of {', '.join(choices)}", param=name)
    return str(body[name])
