"""A live site under hostile input: functions that send requests, and checks of what must hold afterwards."""

import http.client
import json
import re
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from payments_site.demo.process import HOST
from tests.clinic import Clinic, Person
from tests.live_site import LiveSite
from tests.payments.stripe_story import Story, sign
from tests.waits import PATIENCE, wait_until

Headers = Iterable[tuple[str, str]]
OLD_SECRET = "whsec_before_the_rotation_000000"  # still accepted besides the new secret
BROKEN = re.compile(r"Traceback|Exception ignored|Unhandled|\bERROR\b(?! django.security)|\bCRITICAL\b")


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Target:
    """The attacked site, its people, and a direct connection to its database.

    `foreign` maps a currency other than the euro to (story, reference): see `prepare` in conftest.py.
    """

    def __init__(self, site: LiveSite, clinic: Clinic, foreign: dict[str, tuple[Story, str]]) -> None:
        self.site, self.clinic, self.foreign = site, clinic, foreign
        self.secret = site.settings["STRIPE_WEBHOOK_SECRET"]
        self.patient, self.other = clinic.patients[:2]
        self.clerk, self.accountant = clinic.staff[:2]
        self.database = psycopg.connect(site.settings["DATABASE_URL"], autocommit=True)
        self.paid: set[str] = set()  # the currencies in which a payment was paid
        self._log = site.server.log_path.open("rb")
        self._counting = self._count_of_every_table()

    def _count_of_every_table(self) -> sql.Composed:
        found = self.database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        one = sql.SQL("SELECT {}, count(*) FROM {}")
        names = {name for (name,) in found} - {"clinic_payments_recordview"}  # viewing a record adds a row to it
        parts = [one.format(sql.Literal(name), sql.Identifier(name)) for name in sorted(names)]
        return sql.SQL(" UNION ALL ").join(parts)

    def rows(self) -> dict[str, Any]:
        """Return {table: number of rows} and, under "standing", the status, version and amounts of each payment.

        Wait before until the server's thread has stored the applied events in dj-stripe's tables.
        """
        unstored = "SELECT 1 FROM clinic_payments_eventreceipt WHERE event_stored_at IS NULL AND object_id > '' LIMIT 1"
        wait_until(lambda: not self.database.execute(unstored).fetchone(), "dj-stripe's tables have all events")
        counts: dict[str, Any] = dict(self.database.execute(self._counting).fetchall())
        standing = (
            "SELECT public_id, status, version, amount_due, amount_received FROM clinic_payments_payment ORDER BY id"
        )
        return counts | {"standing": self.database.execute(standing).fetchall()}

    def logged(self) -> str:
        """Return what the server has logged since the last call of `logged`."""
        return self._log.read().decode(errors="replace")

    @contextmanager
    def unmoved(self) -> Iterator[None]:
        """Check that the block neither adds nor deletes any row and changes no payment's status or amounts."""
        before = self.rows()
        yield
        assert self.rows() == before

    def ask(self, method: str, path: str, body: bytes = b"", headers: Headers = (), *, host: str = "") -> Answer:
        """Send a request and return the answer. `headers` may repeat a name; Host and Content-Length are added."""
        connection = http.client.HTTPConnection(HOST, self.site.server.port, timeout=PATIENCE)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            given = list(headers)
            names = {name.lower() for name, _ in given}
            for name, value in [
                ("Host", host or f"{HOST}:{self.site.server.port}"),
                ("Content-Length", str(len(body))),
            ]:
                if name.lower() not in names and not (name != "Host" and "transfer-encoding" in names):
                    connection.putheader(name, value)
            for name, value in given:
                connection.putheader(name, value.encode("latin-1"))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def as_person(self, person: Person, method: str, path: str, body: bytes = b"", headers: Headers = ()) -> Answer:
        return self.ask(method, path, body, [("Cookie", f"sessionid={person.session}"), *headers])

    def post(self, person: Person, path: str, body: bytes, headers: Headers = ()) -> Answer:
        """Post `body`, an encoded form, as this person and, as the site's own pages do, with a CSRF token."""
        token = "c" * 32
        kind = [] if any(name == "Content-Type" for name, _ in headers) else [("Content-Type", FORM)]
        cookie = ("Cookie", f"sessionid={person.session}; csrftoken={token}")
        return self.ask("POST", path, body, [cookie, ("X-CSRFToken", token), *kind, *headers])

    def webhook(self, body: bytes, *headers: tuple[str, str], path: str = "/stripe/webhook/") -> Answer:
        return self.ask("POST", path, body, [("Content-Type", "application/json"), *headers])

    def signed(self, event: Any, *headers: tuple[str, str], secret: str = "", at: float | None = None) -> Answer:
        """Post `event`, or any text, signed with `secret` (default: the site's) at Unix time `at` (default: now)."""
        text = event if isinstance(event, str) else json.dumps(event)
        return self.webhook(text.encode(), self.signature(text, secret, at), *headers)

    def signature(self, text: str, secret: str = "", at: float | None = None) -> tuple[str, str]:
        return "Stripe-Signature", sign(text, secret or self.secret, at)

    def raw(self, sent: bytes, seconds: float = 10) -> bytes:
        """Send these bytes; return what is received until the server closes the connection or `seconds` have passed."""
        with socket.create_connection((HOST, self.site.server.port), timeout=seconds) as line:
            line.sendall(sent)
            deadline, got = time.monotonic() + seconds, b""
            while time.monotonic() < deadline:
                try:
                    part = line.recv(65536)
                except (TimeoutError, ConnectionError):
                    break
                if not part:
                    break
                got += part
            return got


FORM = "application/x-www-form-urlencoded"
