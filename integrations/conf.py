"""The settings of the app `integrations`. people/conf.py says how they are declared and read."""

from payments.conf import PaymentsSettings
from people.conf import COUNT, NETWORKS, Setting


class IntegrationsSettings(PaymentsSettings):
    CLINIC_API_REQUESTS_PER_MINUTE = Setting(
        COUNT, "How many requests an API key may make in each web process.", default=600
    )
    CLINIC_OUTGOING_WEBHOOK_NETWORKS = Setting(
        NETWORKS, "Networks to which webhooks may be sent although they aren't public, also without TLS.", default=[]
    )


app_settings = IntegrationsSettings()
