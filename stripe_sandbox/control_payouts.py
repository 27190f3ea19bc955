"""The control API's actions on payouts: what Stripe's schedule, its Dashboard and the clinic's bank do. See README.md.

Each action's docstring lists the keys of its JSON body: `?` marks an optional key.
"""

from dataclasses import dataclass

from stripe_sandbox import balance, control_body, payouts
from stripe_sandbox.control_http import Actions
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Json

_STATES = ("in_transit", "paid", "failed", "canceled")


@dataclass
class PayoutActions:
    sandbox: Sandbox

    def actions(self) -> Actions:
        return {
            "payout": (self.pay_out, ("amount", "currency", "instant")),
            "payout_status": (self.payout_status, ("payout", "status")),
        }

    def pay_out(self, body: Json) -> Json:
        """Pay out everything on the balance now, one automatic payout for each currency; answers {data: [payouts]}.

        Body: {amount?, currency?, instant?}; with `amount` (minor units of `currency`), it is one manual payout.
        """
        amount = control_body.integer(body, "amount")
        if amount is None:
            return {"data": payouts.pay_out(self.sandbox, at_once=True)}
        balance.make_available(self.sandbox, at_once=True)
        currency = control_body.text(body, "currency", "eur")
        instant = control_body.truth(body, "instant", default=False)
        return {"data": [payouts.pay_out_by_hand(self.sandbox, amount, currency, instant=instant, metadata={})]}

    def payout_status(self, body: Json) -> Json:
        """Change a payout's status, or complete the reconciliation of an automatic one.

        Body: {payout, status: in_transit|paid|failed|canceled|reconciled}; even a paid one can fail.
        """
        payout = self.sandbox.store.get("payout", control_body.text(body, "payout"), "payout")
        status = control_body.choice(body, "status", *_STATES, "reconciled")
        if status != "reconciled":
            payouts.move(self.sandbox, payout, status)
        elif payout["reconciliation_status"] == "in_progress":
            payouts.reconcile(self.sandbox, payout)
        else:
            raise StripeError(f"This payout's reconciliation is {payout['reconciliation_status']}.", param="status")
        return payout
