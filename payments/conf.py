"""The settings of the app `payments`. people/conf.py says how they are declared and read."""

from people.conf import AMOUNTS, COUNT, ORIGIN, SECONDS, SWITCH, TEXT, TEXTS, PeopleSettings, Setting

STRIPE = "https://api.stripe.com"


class PaymentsSettings(PeopleSettings):
    CLINIC_NAME = Setting(
        TEXT, "The clinic's name, on pages, receipts and in e-mails.", example='"Clinique des Tilleuls"'
    )
    CLINIC_ADDRESS = Setting(TEXT, "Its postal address, on receipts and in e-mails.", default="")
    CLINIC_CONTACT = Setting(TEXT, "How patients reach it, such as its phone number.", default="")
    CLINIC_LEGAL_LINES = Setting(TEXTS, "Lines that the law wants at the end of a receipt.", default=[])

    STRIPE_SECRET_KEY = Setting(
        TEXT,
        'The secret key of the Stripe account; "" if nobody pays online.',
        example='"sk_test_..."  # from Stripe\'s Dashboard, Developers, API keys',
    )
    STRIPE_WEBHOOK_SECRETS = Setting(
        TEXTS,
        "Secrets with which Stripe signs webhooks; more than one while a secret is being replaced.",
        example='["whsec_..."]  # from Stripe\'s Dashboard, Developers, Webhooks, or from `stripe listen`',
    )
    STRIPE_ACCOUNT_ID = Setting(TEXT, "The Stripe account's id, acct_...", default="")
    STRIPE_LIVE_MODE = Setting(SWITCH, "Whether money is real; False is Stripe's test mode.", default=False)
    STRIPE_API_HOST = Setting(
        ORIGIN, "The address of Stripe's API, or of a stand-in such as the sandbox.", default=STRIPE
    )

    CLINIC_FRONT_DESK_REFUND_LIMITS = Setting(
        AMOUNTS,
        "How much of one payment the front desk may refund. It can refund none in other currencies.",
        default={},
    )
    CLINIC_REFUND_APPROVAL_LIMITS = Setting(
        AMOUNTS, "Above how much of one payment a second person must approve a refund.", default={}
    )
    CLINIC_PAYMENT_REMINDER_DAYS = Setting(
        COUNT, "How many days after the appointment a patient who owes money gets a reminder; 0: never.", default=0
    )
    CLINIC_SMS_FUNCTION = Setting(
        TEXT, 'The dotted path of your function send(phone, text); "": pages offer no text messages.', default=""
    )
    CLINIC_METRICS_TOKEN = Setting(
        TEXT, 'What /metrics wants as a bearer token; "": it answers only requests from this machine.', default=""
    )
    CLINIC_PROBE_SECONDS = Setting(
        SECONDS, "Between two tests of live delivery in a web process; 0: it makes none.", default=60
    )
    CLINIC_BACKUP_FOLDER = Setting(
        TEXT,
        'Where `payments_backup` puts copies of the database; "": they are made elsewhere.',
        default="",
    )
    CLINIC_OPERATOR_EMAIL = Setting(TEXT, "The address that gets what `payments_doctor --mail` finds.", default="")
    CLINIC_WEB_PROCESSES = Setting(COUNT, "How many web processes you start. Only system checks use it.", default=1)

    @property
    def real_stripe(self) -> bool:
        """Whether STRIPE_API_HOST is Stripe itself and not a stand-in."""
        return self.STRIPE_API_HOST == STRIPE


app_settings = PaymentsSettings()
