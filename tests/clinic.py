"""Makes signed-in users and appointments on a running site, and posts Stripe's events about their payments to it."""

import json
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
from tests.people import Made
from tests.waits import PATIENCE, wait_until


@dataclass
class Person:
    name: str
    id: int
    session: str
    payments: list[Payment]
    references: list[str]
    epoch: str = ""

    @classmethod
    def of(cls, made: Made) -> "Person":
        rows = made["payments"]
        payments = [Payment(public_id=uuid.UUID(row[0]), amount_due=row[1], currency="eur") for row in rows]
        return cls(made["name"], made["id"], made["session"], payments, [row[2] for row in rows], made["epoch"])

    @property
    def feed(self) -> str:
        return "staff" if self.name.startswith("staff") else f"patient.{self.id}"


class Clinic:
    """A live site with staff and patients: `clinic.patients[0].payments[0]` is the first patient's first payment.

    `clinic.story()` makes Stripe's events about this payment; `clinic.tell(event)` posts an event as Stripe does.
    """

    def __init__(
        self, site: LiveSite, made: list[Made] | None = None, *, staff: int = 1, patients: int = 1, each: int = 1,
        password: str | None = None,
    ) -> None:  # fmt: skip
        """Use the people in `made` if given; otherwise create `staff` members of staff and `patients` patients.

        Each created patient has `each` appointments. `made` is what `people.make` returned.
        """
        self.site = site
        folk = [Person.of(one) for one in made or self._make(f"{staff}, {patients}, {each}, {password!r}")]
        self.staff = [person for person in folk if person.feed == "staff"]
        self.patients = [person for person in folk if person.feed != "staff"]

    def _make(self, whom: str) -> list[Made]:
        script = f"import json; from tests import people; print(json.dumps(people.make({whom})))"
        made: list[Made] = json.loads(self.site.manage("shell", "--no-imports", "--command", script).splitlines()[-1])
        return made

    def story(self, patient: int = 0, payment: int = 0) -> Story:
        return Story(self.patients[patient].payments[payment])

    def signed(self, event: Event, secret: str = "") -> tuple[bytes, dict[str, str]]:
        """Return the body and the headers of a webhook request with this event, signed with the site's own secret."""
        body = json.dumps(event)
        signature = sign(body, secret or self.site.settings["STRIPE_WEBHOOK_SECRET"])
        return body.encode(), {"Content-Type": "application/json", "Stripe-Signature": signature}

    def tell(self, event: Event, url: str = "", *, secret: str = "", seconds: float = PATIENCE) -> int:
        """Sign the event and post it to the webhook; return the HTTP status, or 0 if the server can't be reached."""
        request = urllib.request.Request(f"{url or self.site.url}/stripe/webhook/", *self.signed(event, secret))
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def tell_until_taken(self, event: Event) -> None:
        """Post the event repeatedly until the webhook answers with 200."""
        wait_until(lambda: self.tell(event) == 200, "somebody takes the event")

    def get(self, path: str, person: Person, url: str = "", **headers: str) -> HTTPResponse:
        request = urllib.request.Request(
            f"{url or self.site.url}{path}", headers={"Cookie": f"sessionid={person.session}", **headers}
        )
        answer: HTTPResponse = urllib.request.urlopen(request, timeout=PATIENCE)
        return answer

    def head(self, person: Person, url: str = "") -> int:
        """Return the number of the newest entry in the person's feed, which lists bookings and payments."""
        return int(self.get("/payments/live/?after=999999999", person, url).headers["X-Live-Seq"])


def socket_path(person: Person, after: int) -> str:
    """Return the path and query to which a person's page that has all entries up to number `after` connects."""
    return f"/ws/payments/?epoch={person.epoch}&after={after}&feed={person.feed}&lang=fr"


def open_socket(site: LiveSite, person: Person, after: int = 0, url: str = "", **options: Any) -> ClientConnection:
    address = (url or site.url).replace("http", "ws")
    page: ClientConnection = connect(
        address + socket_path(person, after),
        origin=Origin(site.url),
        additional_headers={"Cookie": f"sessionid={person.session}"},
        **options,
    )
    return page


def told(page: ClientConnection, seconds: float = PATIENCE) -> dict[str, Any]:
    return dict(json.loads(page.recv(seconds)))
