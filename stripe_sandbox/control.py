"""The control API: `POST /_sandbox/<name>` makes something happen at the simulated Stripe. See README.md.

Tests, the demo and the control page use it. Actions on payments are in control_payments.py, those on payouts in
control_payouts.py; those here change how the simulated Stripe behaves. Each action's docstring lists the keys of its
JSON body: `?` marks an optional key.
"""

from dataclasses import asdict, dataclass, fields

from aiohttp import web

from stripe_sandbox import control_body, endpoints, jobs, versions
from stripe_sandbox.api import Api
from stripe_sandbox.control_http import Actions, handler
from stripe_sandbox.control_payments import PaymentActions
from stripe_sandbox.control_payouts import PayoutActions
from stripe_sandbox.delivery_modes import MODES, Mode
from stripe_sandbox.errors import StripeError
from stripe_sandbox.faults import Fault
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json
from stripe_sandbox.webhooks import Webhooks


@dataclass
class Control:
    sandbox: Sandbox
    webhooks: Webhooks
    api: Api

    def routes(self) -> list[web.RouteDef]:
        found = PaymentActions(self.sandbox).actions() | PayoutActions(self.sandbox).actions() | self.actions()
        acts = [web.post(f"/_sandbox/{name}", handler(act, keys)) for name, (act, keys) in found.items()]
        return [*acts, web.get("/_sandbox/deliveries", self.deliveries), web.get("/_sandbox/state", self.state)]

    def actions(self) -> Actions:
        return {
            "clock": (self.clock, ("offset", "advance")),
            "delivery": (self.delivery, ("mode", "seconds", "times", "types")),
            "account": (self.set_account, ("api_version",)),
            "api": (self.set_fault, tuple(found.name for found in fields(Fault))),
            "webhook_endpoints": (self.set_endpoint, ("url", "secret", "secrets", "events", "api_version")),
            "resend": (self.resend, ("delivery",)),
            "reset": (self.reset, ("endpoints",)),
        }

    def clock(self, body: Json) -> Json:
        """Move Stripe's clock and run the jobs that are then due.

        Body: {offset: seconds ahead of real time} or {advance: seconds to add to the present offset}
        """
        advanced = self.sandbox.clock_offset + control_body.number(body, "advance", 0)
        self.sandbox.clock_offset = control_body.number(body, "offset", advanced)
        jobs.run_due(self.sandbox)
        return {"offset": self.sandbox.clock_offset, "now": self.sandbox.now()}

    def delivery(self, body: Json) -> Json:
        """Set how webhooks are delivered from now on; delivery_modes.Mode explains the keys.

        Body: {mode, seconds?, times?, types?}
        """
        self.webhooks.set_mode(
            Mode(
                control_body.choice(body, "mode", *MODES),
                control_body.number(body, "seconds", Mode.seconds),
                control_body.integer(body, "times") or Mode.times,
                tuple(control_body.texts(body, "types") or ()),
            )
        )
        return asdict(self.webhooks.mode)

    def set_fault(self, body: Json) -> Json:
        """Make Stripe's API fail from now on; faults.Fault explains the keys.

        Body: {mode, count?, match?, method?, seconds?, retry_after?, processed?, drop_webhooks?}
        """
        self.api.fault = Fault(**body)
        return asdict(self.api.fault)

    def set_account(self, body: Json) -> Json:
        """Set the account's default API version, as an upgrade in Stripe's Workbench does. Body: {api_version}"""
        self.sandbox.api_version = versions.checked(control_body.text(body, "api_version"), "api_version")
        self.sandbox.changed = True
        return {"api_version": self.sandbox.api_version}

    def set_endpoint(self, body: Json) -> Json:
        """Add a webhook endpoint, or change the endpoint that has this URL.

        Body: {url, secret?, secrets?, events?, api_version?}; an empty `api_version` means the account's default.
        """
        version = control_body.text(body, "api_version")
        secret = control_body.text(body, "secret")
        secrets = control_body.texts(body, "secrets") or ([secret] if secret else None)
        url, events = control_body.text(body, "url"), control_body.texts(body, "events")
        if version:
            versions.checked(version, "api_version")
        endpoint = endpoints.replace(self.sandbox, url, events, secrets)
        if "api_version" in body:
            endpoint["api_version"] = version or None
        return endpoint | {"secrets": endpoints.secrets_of(self.sandbox, endpoint["id"])}

    def resend(self, body: Json) -> Json:
        """Send a webhook delivery again now. Body: {delivery: its id}"""
        delivery_id = control_body.text(body, "delivery")
        delivery = self.webhooks.deliveries.get(delivery_id)
        if delivery is None:
            raise StripeError(f"No such delivery: '{delivery_id}'", status=404, param="delivery")
        self.webhooks.resend(delivery)
        return delivery.as_json()

    def reset(self, body: Json) -> Json:
        """Delete all objects and deliveries, end all faults and return to real time.

        Body: {endpoints?}; webhook endpoints are deleted only if it is true.
        """
        everything = control_body.truth(body, "endpoints", default=False)
        self.webhooks.forget()
        self.api.fault = Fault()
        self.api.answered.clear()
        self.sandbox.reset(keep_endpoints=not everything)
        return {}

    async def deliveries(self, request: web.Request) -> web.Response:
        """Answer GET /_sandbox/deliveries with webhook deliveries, newest first, at most `limit` (100 by default).

        Other query parameters, such as `event`, `object`, `type` and `state`, name values that a delivery has to have.
        """
        limit = request.query.get("limit", "100")
        if not limit.isdecimal():
            return web.json_response({"error": {"message": "limit is a whole number"}}, status=400)
        wanted = {key: value for key, value in request.query.items() if key != "limit"}
        found = [delivery.as_json() for delivery in reversed(self.webhooks.deliveries.values())]
        matching = [item for item in found if all(item.get(key) == value for key, value in wanted.items())]
        return web.json_response({"data": matching[: int(limit)]})

    async def state(self, request: web.Request) -> web.Response:
        """Answer GET /_sandbox/state with the delivery mode, the API's fault and version, and the clock.

        The answer also says how many objects of each type there are, and how many deliveries wait to be sent.
        """
        counts = {kind: len(kept) for kind, kept in self.sandbox.store.objects.items()}
        waiting = sum(delivery.waiting for delivery in self.webhooks.deliveries.values())
        modes = {"delivery": asdict(self.webhooks.mode), "api": asdict(self.api.fault)}
        clock = {"offset": self.sandbox.clock_offset, "now": self.sandbox.now()}
        more = {"clock": clock, "api_version": self.sandbox.api_version, "deliveries_waiting": waiting}
        return web.json_response(modes | more | {"objects": counts})
