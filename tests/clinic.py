"""People, appointments and signed-in sessions on a live site, and what Stripe says of their payments."""

import json
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from payments.models import Payment
from tests.live_site import LiveSite
from tests.payments.stripe_story import Event, Story, sign

MAKE = """
import datetime, json
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from appointments.models import Appointment, Practitioner

def person(name, is_staff):
    user = User.objects.create_user(name, f"{{name}}@clinic.example", {password!r}, first_name=name.title(),
                                    last_name="Canary", is_staff=is_staff)
    session = SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return {{"name": name, "id": user.pk, "session": session.session_key}}

doctor = Practitioner.objects.create(name="Dr Anne Mercier", specialty="Dermatology")
day = timezone.localtime().replace(hour=12, minute=0, second=0, microsecond=0)
people = [person(f"staff{{n}}", True) for n in range({staff})]
people += [person(f"patient{{n}}", False) for n in range({patients})]
for patient in people[{staff}:]:
    patient["payments"] = []
    for n in range({each}):
        start = day + datetime.timedelta(minutes=n)
        visit = Appointment.objects.create(patient_id=patient["id"], practitioner=doctor, service="Consultation",
            start=start, end=start + datetime.timedelta(minutes=20), price_amount=5000 + n, currency="eur")
        patient["payments"].append([str(visit.payment.public_id), visit.payment.amount_due, visit.reference])
print(json.dumps(people))
"""


@dataclass
class Person:
    name: str
    id: int
    session: str
    payments: list[Payment]
    references: list[str]

    @property
    def feed(self) -> str:
        return "staff" if self.name.startswith("staff") else f"patient.{self.id}"


class Clinic:
    """`clinic.patients[0].payments[0]`; `clinic.tell(story.completed())` posts what Stripe would."""

    def __init__(
        self, site: LiveSite, *, staff: int = 1, patients: int = 1, each: int = 1, password: str | None = None
    ) -> None:
        self.site = site
        script = MAKE.format(staff=staff, patients=patients, each=each, password=password)
        people = []
        for made in json.loads(site.manage("shell", "--no-imports", "--command", script).splitlines()[-1]):
            rows = made.pop("payments", [])
            payments = [Payment(public_id=uuid.UUID(row[0]), amount_due=row[1], currency="eur") for row in rows]
            people.append(Person(**made, payments=payments, references=[row[2] for row in rows]))
        self.staff, self.patients = people[:staff], people[staff:]

    def story(self, patient: int = 0, payment: int = 0) -> Story:
        return Story(self.patients[patient].payments[payment])

    def tell(self, event: Event, url: str = "", *, secret: str = "", seconds: float = 15) -> int:
        """POST a signed event as Stripe does; the answer's status, 0 when the server can't be reached."""
        body = json.dumps(event)
        headers = {"Stripe-Signature": sign(body, secret or self.site.settings["STRIPE_WEBHOOK_SECRET"])}
        request = urllib.request.Request(
            f"{url or self.site.url}/stripe/webhook/", body.encode(), {"Content-Type": "application/json", **headers}
        )
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def tell_until_taken(self, event: Event, tries: int = 40) -> None:
        """As Stripe does, again and again until somebody says 2xx."""
        for _ in range(tries):
            if self.tell(event) == 200:
                return
            time.sleep(0.25)
        raise AssertionError("nobody took the event")

    def get(self, path: str, person: Person, url: str = "", **headers: str) -> HTTPResponse:
        request = urllib.request.Request(
            f"{url or self.site.url}{path}", headers={"Cookie": f"sessionid={person.session}", **headers}
        )
        answer: HTTPResponse = urllib.request.urlopen(request, timeout=10)
        return answer

    def head(self, person: Person, url: str = "") -> int:
        """The newest number of the person's feed: bookings, too, are told."""
        return int(self.get("/payments/live/?after=999999999", person, url).headers["X-Live-Seq"])


def open_socket(site: LiveSite, person: Person, after: int = 0, url: str = "", **options: Any) -> ClientConnection:
    address = (url or site.url).replace("http", "ws")
    page: ClientConnection = connect(
        f"{address}/ws/payments/?after={after}&feed={person.feed}&lang=fr",
        origin=Origin(site.url),
        additional_headers={"Cookie": f"sessionid={person.session}"},
        **options,
    )
    return page


def told(page: ClientConnection, seconds: float = 8) -> dict[str, Any]:
    return dict(json.loads(page.recv(seconds)))
