"""The control API: `POST /_sandbox/...` with a JSON body makes something happen at Stripe. See README.md.

Tests, the demo and the control page use it. Each action's docstring gives its body; `?` marks optional keys.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from aiohttp import web

from stripe_sandbox import cards, checkout, disputes, endpoints, jobs, methods, refunds
from stripe_sandbox.api import Api
from stripe_sandbox.control_http import handler
from stripe_sandbox.delivery_modes import MODES, Mode
from stripe_sandbox.errors import StripeError
from stripe_sandbox.faults import MODES as API_MODES
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
        """{session, card?|iban?|outcome?, email?, name?}: pay as on the hosted page; `error` says why it failed."""
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
        """{session, success?}: finish the 3-D Secure step."""
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
        """{session|payment_intent, success?}: let a bank debit that is processing succeed or fail."""
        intent = self._intent(body)
        checkout.settle(self.sandbox, intent, body.get("success", True))
        return intent

    def expire(self, body: Json) -> Json:
        """{session}: expire it now, whatever its expires_at."""
        session = self._get("checkout.session", body, "session")
        checkout.expire(self.sandbox, session)
        return session

    def refund(self, body: Json) -> Json:
        """{charge|payment_intent|session, amount?, reason?}: refund as on Stripe's Dashboard."""
        return refunds.create(self.sandbox, self._charge(body), body.get("amount"), body.get("reason"), {})

    def refund_status(self, body: Json) -> Json:
        """{refund, status: succeeded|failed|canceled}: change a refund's status."""
        refund = self._get("refund", body, "refund")
        refunds.finish(self.sandbox, refund, _choice(body, "status", "succeeded", "failed", "canceled"))
        return refund

    def dispute(self, body: Json) -> Json:
        """{charge|payment_intent|session, reason?, amount?, warning?}: open a dispute, or an inquiry with `warning`."""
        reason, inquiry = body.get("reason", "fraudulent"), bool(body.get("warning"))
        return disputes.open_dispute(
            self.sandbox, self._charge(body), reason, inquiry=inquiry, amount=body.get("amount")
        )

    def dispute_status(self, body: Json) -> Json:
        """{dispute, status: won|lost|under_review|closed}: change a dispute's status; `closed` loses a chargeback."""
        dispute = self._get("dispute", body, "dispute")
        status = _choice(body, "status", "won", "lost", "under_review", "closed")
        if status == "under_review":
            disputes.update(self.sandbox, dispute)
        else:
            disputes.close(self.sandbox, dispute, won=status == "won")
        return dispute

    def clock(self, body: Json) -> Json:
        """{offset: seconds from real time} or {advance: seconds}: move Stripe's clock and run what is then due."""
        advanced = self.sandbox.clock_offset + body.get("advance", 0)
        self.sandbox.clock_offset = float(body.get("offset", advanced))
        jobs.run_due(self.sandbox)
        return {"offset": self.sandbox.clock_offset, "now": self.sandbox.now()}

    def delivery(self, body: Json) -> Json:
        """{mode, seconds?, times?, types?}: set how webhooks are delivered, see delivery_modes.Mode."""
        _choice(body, "mode", *MODES)
        self.webhooks.set_mode(Mode(**body | {"types": tuple(body.get("types", ()))}))
        return asdict(self.webhooks.mode)

    def set_fault(self, body: Json) -> Json:
        """{mode, count?, seconds?, match?, processed?}: make the API fail, see faults.Fault."""
        _choice(body, "mode", *API_MODES)
        self.api.fault = Fault(**body)
        return asdict(self.api.fault)

    def set_endpoint(self, body: Json) -> Json:
        """{url, secret?, secrets?, events?}: add a webhook endpoint, or change the one that has this URL."""
        secrets = body.get("secrets") or ([body["secret"]] if body.get("secret") else None)
        endpoint = endpoints.replace(self.sandbox, body.get("url", ""), body.get("events"), secrets)
        return endpoint | {"secrets": endpoints.secrets_of(self.sandbox, endpoint["id"])}

    def resend(self, body: Json) -> Json:
        """{delivery}: send a delivery again, now."""
        delivery = self.webhooks.deliveries.get(body.get("delivery", ""))
        if delivery is None:
            raise StripeError(f"No such delivery: '{body.get('delivery')}'", status=404, param="delivery")
        self.webhooks.resend(delivery)
        return delivery.as_json()

    def reset(self, body: Json) -> Json:
        """{endpoints?}: delete all objects and return to real time; `endpoints: true` deletes webhook endpoints too."""
        self.webhooks.forget()
        self.api.fault = Fault()
        self.api.answered.clear()
        self.sandbox.reset(keep_endpoints=not body.get("endpoints"))
        return {}

    async def deliveries(self, request: web.Request) -> web.Response:
        """Answer with the deliveries that match ?event=&object=&type=&state=, newest first, at most ?limit=."""
        wanted = {key: value for key, value in request.query.items() if key != "limit"}
        found = [delivery.as_json() for delivery in reversed(self.webhooks.deliveries.values())]
        matching = [item for item in found if all(item.get(key) == value for key, value in wanted.items())]
        return web.json_response({"data": matching[: int(request.query.get("limit", 100))]})

    async def state(self, request: web.Request) -> web.Response:
        """Answer with the modes, the clock, the number of objects and the number of deliveries that wait."""
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
