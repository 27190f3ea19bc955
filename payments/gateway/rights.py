"""Lists what the site does with its Stripe key, and tries whether a restricted key may do it.

A right to write is tried on an object that doesn't exist, and a right to read on a short list, so nothing changes.
Stripe refuses a key before it looks for the object: docs.stripe.com/keys/restricted-api-keys
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..conf import app_settings
from .client import StripePermissionError, StripeRefusedError, call

READ, WRITE = "read", "write"


class Right(NamedTuple):
    """A right of a restricted key: the row of Stripe's form, the choice there, and what the site needs it for."""

    resource: str
    level: str
    purpose: str
    attempt: Callable[[Any], Any]  # makes a request that needs the right, with the API's namespace v1


ONE: Any = {"limit": 1}
RIGHTS = (
    Right("Checkout Sessions", WRITE, "the pay button", lambda v1: v1.checkout.sessions.expire("cs_none")),
    Right("Customers", WRITE, "keeping a card", lambda v1: v1.customers.update("cus_none", {})),
    Right("PaymentMethods", WRITE, "removing a kept card", lambda v1: v1.payment_methods.detach("pm_none")),
    Right("SetupIntents", WRITE, "keeping a card", lambda v1: v1.setup_intents.cancel("seti_none")),
    Right("PaymentIntents", WRITE, "charging a fee to a kept card", lambda v1: v1.payment_intents.cancel("pi_none")),
    Right("Charges and Refunds", WRITE, "refunds; reading charges", lambda v1: v1.refunds.update("re_none", {})),
    Right("Disputes", READ, "asking Stripe about disputes", lambda v1: v1.disputes.list(ONE)),
    Right("Events", READ, "catch_up", lambda v1: v1.events.list(ONE)),
    Right("Balance transactions", READ, "fees and net amounts", lambda v1: v1.balance_transactions.list(ONE)),
    Right("Payouts", READ, "the page “Transfers”", lambda v1: v1.payouts.list(ONE)),
    Right("Account", READ, "payments_doctor", lambda v1: v1.accounts.retrieve_current()),
    Right("Webhook Endpoints", WRITE, "stripe_setup", lambda v1: v1.webhook_endpoints.update("we_none", {})),
)


def key_is_restricted() -> bool:
    return app_settings.STRIPE_SECRET_KEY.startswith("rk_")


def refusal(right: Right) -> str | None:
    """Return None if the site's key has the right; else Stripe's name of the missing permission, or "" if it has none.

    Raises StripeKeyError if Stripe doesn't know the key, and StripeUnavailableError.
    """
    try:
        call(lambda stripe: right.attempt(stripe.v1))
    except StripePermissionError as error:
        return error.permission
    except StripeRefusedError as error:
        if not error.is_unknown_object:
            raise
    return None
