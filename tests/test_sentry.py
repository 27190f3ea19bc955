"""Tests of what is reported to Sentry, with an HTTP server in Sentry's place."""

import gzip
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from payments_site.demo.site import ROOT
from tests.clinic import Clinic
from tests.live_site import LiveSite
from tests.waits import PATIENCE, wait_until

FIRST, LAST, EMAIL = "Zénobie", "Marchepied", "zenobie@example.com"
PEOPLE = f"""
from datetime import timedelta
from django.utils import timezone
from accounts.models import User
from appointments.models import Appointment, Practitioner
from payments.models import PayLink
now = timezone.now()
doctor = Practitioner.objects.create(name="Dr Anne Mercier")
patient = User.objects.create_user("zenobie", email={EMAIL!r}, first_name={FIRST!r}, last_name={LAST!r})
visit = Appointment.objects.create(patient=patient, practitioner=doctor, service="Consultation", start=now,
                                   end=now + timedelta(minutes=20), price_amount=5000)
print(PayLink.objects.offer(visit.payment, PayLink.Channel.values[0]).token)
"""


class FakeSentry:
    """Keeps the bodies of the requests that arrive."""

    def __init__(self) -> None:
        self.bodies: list[str] = []

    def reports(self) -> list[dict[str, Any]]:
        """Return the errors that were reported: in each body, lines of JSON describe and contain items."""
        found = []
        for body in list(self.bodies):
            lines = [json.loads(line) for line in body.splitlines() if line]
            found += [item for kind, item in pairwise(lines[1:]) if kind.get("type") == "event"]
        return found


@pytest.fixture
def sentry() -> Iterator[tuple[FakeSentry, str]]:
    """Yield a server in Sentry's place, and the address of a project there."""
    fake = FakeSentry()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            compressed = self.headers.get("Content-Encoding") == "gzip"
            fake.bodies.append((gzip.decompress(body) if compressed else body).decode())
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield fake, f"http://publickey@127.0.0.1:{server.server_port}/1"
    server.shutdown()
    server.server_close()


def break_ledger(site: LiveSite) -> None:
    """Let the database refuse each new fact, with a text that names the patient."""
    with sqlite3.connect(site.database_file) as file:
        file.execute(
            "CREATE TRIGGER refuse_facts BEFORE INSERT ON clinic_payments_fact"
            f" BEGIN SELECT RAISE(ABORT, '{FIRST} {LAST} <{EMAIL}> owes 50'); END"
        )


def test_a_report_names_the_fault_and_nobody(
    make_site: Callable[..., LiveSite], sentry: tuple[FakeSentry, str]
) -> None:
    fake, address = sentry
    site = make_site(SENTRY_DSN=address)
    token = site.manage("shell", "--no-imports", "--command", PEOPLE).split()[-1]
    clinic = Clinic(site)
    break_ledger(site)
    jar = CookieJar()
    browser = build_opener(HTTPCookieProcessor(jar))
    page = browser.open(f"{site.url}/p/{token}/", timeout=PATIENCE).read().decode()
    assert "50,00" in page
    form = {"csrfmiddlewaretoken": re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[0], "note": LAST}
    with pytest.raises(HTTPError) as failed:
        browser.open(f"{site.url}/p/{token}/pay/?name={LAST}", urlencode(form).encode(), timeout=PATIENCE)
    assert failed.value.code == 500
    event = clinic.story().completed()
    assert clinic.tell(event) == 503
    wait_until(lambda: len(fake.reports()) >= 2, "both errors are reported")

    page_failed = next(report for report in fake.reports() if "transaction" in report)
    assert page_failed["transaction"] == "p/<str:token>/pay/"
    assert page_failed["tags"]["request_id"] == failed.value.headers["X-Request-ID"]
    assert page_failed["logentry"] == {"message": "django.request"}
    fault = page_failed["exception"]["values"][-1]
    assert fault["type"] == "IntegrityError"
    assert "pay_by_link" in [frame["function"] for frame in fault["stacktrace"]["frames"]]
    assert "stripe_event_failed" in [report["logentry"]["message"] for report in fake.reports()]

    cookies = [cookie.value or "" for cookie in jar]
    assert cookies
    sent = "\n".join(fake.bodies)
    decoded = sent.encode().decode("unicode_escape")
    private = [FIRST, LAST, EMAIL, "zenobie", token, event["id"], event["data"]["object"]["id"], *form.values()]
    for word in (*private, *cookies, *(site.settings[name] for name in ("SECRET_KEY", "STRIPE_SECRET_KEY"))):
        assert word.lower() not in sent.lower(), word
        assert word.lower() not in decoded.lower(), word


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.modules['sentry_sdk'] = None", "the package sentry-sdk is missing"),
        ("import os; os.environ['SENTRY_DSN'] = 'sentry.example'", "not the address of a Sentry project"),
    ],
)
def test_a_report_that_is_impossible_is_told_at_the_start(code: str, said: str) -> None:
    environment = {"PATH": os.environ["PATH"], "DEBUG": "1", "SENTRY_DSN": "https://key@sentry.example/1"}
    program = f"{code}; import sys; sys.argv[1:] = ['check']; exec(open('manage.py').read())"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("manage.py: SENTRY_DSN") or said in done.stderr.splitlines()[-1]
    assert said in done.stderr
