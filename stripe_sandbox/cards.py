"""Stripe's test cards and test IBANs, each with the result of paying with it. https://docs.stripe.com/testing"""

import hashlib
from dataclasses import dataclass

# decline_code: (error code, message). https://docs.stripe.com/declines/codes
DECLINES = {
    "authentication_required": (
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
    ),
    "authentication_failed": (
        "payment_intent_authentication_failure",
        "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
    ),
    "card_velocity_exceeded": ("card_declined", "Your card was declined for making repeated attempts too frequently."),
    "expired_card": ("expired_card", "Your card has expired."),
    "fraudulent": ("card_declined", "Your card was declined."),
    "generic_decline": ("card_declined", "Your card was declined."),
    "incorrect_cvc": ("incorrect_cvc", "Your card's security code is incorrect."),
    "insufficient_funds": ("card_declined", "Your card has insufficient funds."),
    "lost_card": ("card_declined", "Your card was declined."),
    "processing_error": (
        "processing_error",
        "An error occurred while processing your card. Try again in a little bit.",
    ),
    "stolen_card": ("card_declined", "Your card was declined."),
    "test_mode_live_card": (
        "card_declined",
        "Your card was declined. Your request was in test mode, but used a non test card.",
    ),
}


@dataclass(frozen=True)
class TestMethod:
    """A test card or IBAN: its number, and how payments, disputes and refunds with it end.

    A card is named `pm_card_<token>` or `tok_<token>` in API calls.
    """

    __test__ = False  # not a pytest class

    number: str
    token: str = ""
    brand: str = "visa"
    funding: str = "credit"
    country: str = "US"
    decline: str | None = None
    authenticate: bool = False
    always: bool = False  # the bank asks for 3-D Secure even if the card was set up for payments off session
    keepable: bool = False  # the card can be set up although payments with it are declined
    dispute: str | None = None
    inquiry: bool = False
    refund: str = "succeeds"  # succeeds, pending (later succeeds) or fails (later)
    settles: str = ""  # a bank debit: "succeeds" or "fails", both also " slowly"; "" waits for the control API

    @property
    def last4(self) -> str:
        return self.number[-4:]

    @property
    def fingerprint(self) -> str:
        """Return a hash of the number; as at Stripe, PaymentMethods of one card or IBAN have equal fingerprints."""
        return hashlib.sha256(self.number.encode()).hexdigest()[:16]


CARDS = (
    TestMethod("4242424242424242", "visa"),
    TestMethod("4000002500000003", "fr", country="FR"),
    TestMethod("4000056655665556", "visa_debit", funding="debit"),
    TestMethod("5555555555554444", "mastercard", brand="mastercard"),
    TestMethod("5200828282828210", "mastercard_debit", brand="mastercard", funding="debit"),
    TestMethod("378282246310005", "amex", brand="amex"),
    TestMethod("6011111111111117", "discover", brand="discover"),
    TestMethod("3056930009020004", "diners", brand="diners"),
    TestMethod("3566002020360505", "jcb", brand="jcb"),
    TestMethod("6200000000000005", "unionpay", brand="unionpay"),
    TestMethod("4000000000000077", "bypassPending"),
    TestMethod("4000000000000002", "chargeDeclined", decline="generic_decline"),
    TestMethod("4000000000009995", "chargeDeclinedInsufficientFunds", decline="insufficient_funds"),
    TestMethod("4000000000009987", "chargeDeclinedLostCard", decline="lost_card"),
    TestMethod("4000000000009979", "chargeDeclinedStolenCard", decline="stolen_card"),
    TestMethod("4000000000000069", "chargeDeclinedExpiredCard", decline="expired_card"),
    TestMethod("4000000000000127", "chargeDeclinedIncorrectCvc", decline="incorrect_cvc"),
    TestMethod("4000000000000119", "chargeDeclinedProcessingError", decline="processing_error"),
    TestMethod("4000000000006975", "visa_chargeDeclinedVelocityLimitExceeded", decline="card_velocity_exceeded"),
    TestMethod("4000000000000341", "chargeCustomerFail", decline="generic_decline", keepable=True),
    TestMethod("4100000000000019", "radarBlock", decline="fraudulent"),
    TestMethod("4000002760003184", "authenticationRequired", authenticate=True, always=True),
    TestMethod("4000002500003155", "authenticationRequiredOnSetup", authenticate=True),
    TestMethod("4000000000003220", "threeDSecure2Required", authenticate=True, always=True),
    TestMethod("4000008400001629", "threeDSecureRequiredChargeDeclined", authenticate=True, decline="generic_decline"),
    TestMethod(
        "4000008260003178",
        "authenticationRequiredChargeDeclinedInsufficientFunds",
        authenticate=True,
        decline="insufficient_funds",
        keepable=True,
    ),
    TestMethod("4000000000003055", "threeDSecureOptional"),
    TestMethod("4000000000000259", "createDispute", dispute="fraudulent"),
    TestMethod("4000000000002685", "createDisputeProductNotReceived", dispute="product_not_received"),
    TestMethod("4000000000001976", "createDisputeInquiry", dispute="fraudulent", inquiry=True),
    TestMethod("4000000000007726", "pendingRefund", refund="pending"),
    TestMethod("4000000000005126", "refundFail", refund="fails"),
)

# https://docs.stripe.com/payments/sepa-debit/accept-a-payment#test-integration; the Italian IBAN is the Stripe CLI's
IBANS = (
    TestMethod("FR1420041010050500013M02606", settles="succeeds"),
    TestMethod("FR3020041010050500013M02609", settles="succeeds slowly"),
    TestMethod("FR8420041010050500013M02607", settles="fails"),
    TestMethod("FR7920041010050500013M02600", settles="fails slowly"),
    TestMethod("FR5720041010050500013M02608", settles="succeeds", dispute="debit_not_authorized"),
    TestMethod("DE89370400440532013000", settles="succeeds"),
    TestMethod("DE62370400440532013001", settles="fails"),
    TestMethod("AT611904300234573201", settles="succeeds"),
    TestMethod("AT321904300235473204", settles="succeeds slowly"),
    TestMethod("AT861904300235473202", settles="fails"),
    TestMethod("AT051904300235473205", settles="fails slowly"),
    TestMethod("AT591904300235473203", settles="succeeds", dispute="debit_not_authorized"),
    TestMethod("IT60X0542811101000000123456", settles="fails"),
)

_BY_NUMBER = {method.number: method for method in CARDS + IBANS}
_BY_FINGERPRINT = {method.fingerprint: method for method in CARDS + IBANS}
_BY_TOKEN = {method.token: method for method in CARDS}


def card(number: str) -> TestMethod:
    """Return the test card with this number; for any other number, a card that is declined as `test_mode_live_card`."""
    digits = number.replace(" ", "").replace("-", "")
    return _BY_NUMBER.get(digits) or TestMethod(digits, decline="test_mode_live_card")


def bank_account(iban: str) -> TestMethod:
    """Return the test IBAN; for any other IBAN, one whose debits stay processing until the control API settles them."""
    plain = iban.replace(" ", "").upper()
    return _BY_NUMBER.get(plain) or TestMethod(plain)


def by_token(token: str) -> TestMethod | None:
    """Return the test card that `token` names, such as `pm_card_visa` or `tok_visa`, or None if no card has it."""
    return _BY_TOKEN.get(token.removeprefix("pm_card_").removeprefix("tok_"))


def by_fingerprint(fingerprint: str) -> TestMethod | None:
    return _BY_FINGERPRINT.get(fingerprint)


def luhn_valid(number: str) -> bool:
    if not (number.isascii() and number.isdigit()):
        return False
    digits = [int(character) for character in reversed(number)]
    total = sum(digits[0::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return 12 <= len(digits) <= 19 and total % 10 == 0


def iban_valid(iban: str) -> bool:
    rearranged = iban[4:] + iban[:4]
    return (
        len(iban) >= 15
        and iban.isascii()
        and iban.isalnum()
        and int("".join(str(int(c, 36)) for c in rearranged)) % 97 == 1
    )
