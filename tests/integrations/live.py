"""A live site with an API key, and something to ask for: the names that the OpenAPI document uses as examples."""

from collections.abc import Callable

from accounts.models import User
from appointments.models import Appointment, Practitioner, Service
from payments.models import Payment
from tests.integrations.client import make_key
from tests.live_site import LiveSite

SCRIPT = "from tests.integrations import live; print(live.prepare())"


def prepare() -> str:
    """Store in the default database what the document's examples name, and return the text of a key with all scopes."""
    patient = User.objects.create_user("camille", external_id="patient-4711", first_name="Camille", last_name="Roux")
    doctor = Practitioner.objects.create(pk=1, name="Dr Anne Mercier", specialty="Dermatology")
    service = Service.objects.create(pk=1, name="Consultation", minutes=30, price_amount=5500)
    start = "2031-03-10T09:00:00+01:00"
    visit = Appointment(external_id="visit-815", patient=patient, practitioner=doctor, service=service.name)
    visit.price_amount = service.price_amount
    visit.start, visit.end = (
        Appointment._meta.get_field("start").to_python(text) for text in (start, start[:11] + "09:30:00+01:00")
    )
    visit.save()
    Payment.objects.update(public_id="6f1a3b1e-7f0c-4b3e-9a57-0d5c1b6f2a11")
    return make_key(User.objects.create_user("agenda", is_staff=True))[1]


def start(make_site: Callable[..., LiveSite]) -> tuple[LiveSite, str]:
    """Start a site on which a key may ask as often as it likes; return the site and the key's text."""
    site = make_site(API_REQUESTS_PER_MINUTE="1000000")
    return site, site.manage("shell", "--no-imports", "--command", SCRIPT).split()[-1]
