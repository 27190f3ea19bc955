"""Tests that follow docs/secrets.md on a running site, with the local Stripe."""

import re
import sys
import urllib.error
from typing import Any

import pytest
import stripe as sdk

from payments.gateway.rights import RIGHTS
from payments_site.demo.site import ROOT
from tests import forked
from tests.clinic import Clinic
from tests.docs.page import take
from tests.live_site import LiveSite
from tests.waits import wait_until

PAGE = (ROOT / "docs/secrets.md").read_text()
WEBHOOK, API_KEY, SECRET_KEY = (
    [block.text.strip() for block in take("docs/secrets.md", section)]
    for section in ("The webhook's secret", "Stripe's API key", "SECRET_KEY")
)
SECRET = re.compile(r"whsec_\w+")


def run(command: str, site: LiveSite) -> str:
    """Run a command of the page with the site's settings, answer its questions with yes, and return what it prints."""
    program, *arguments = command.split(" ", 1)
    start = {"manage": [sys.executable, "manage.py"], "python3": [sys.executable]}[program]
    words = arguments[0].split() if program == "manage" else ["-c", arguments[0].removeprefix("-c ").strip('"')]
    return forked.output([*start, *words], cwd=ROOT, env=site.settings, answers="y\ny\n")


def restart(site: LiveSite, **settings: str) -> None:
    site.settings |= settings
    site.server.kill()
    site.server = site.new_server("web", site.server.port)
    site.server.start()


def something_happens(site: LiveSite) -> None:
    """Let Stripe send an event, and wait until every endpoint has accepted it."""
    v1 = sdk.StripeClient(site.settings["STRIPE_SECRET_KEY"], base_addresses={"api": site.sandbox_url}).v1
    line: Any = {"price_data": {"currency": "eur", "unit_amount": 5000, "product_data": {"name": "x"}}, "quantity": 1}
    session = v1.checkout.sessions.create({"mode": "payment", "line_items": [line], "success_url": site.url})
    v1.checkout.sessions.expire(session.id)
    wait_until(lambda: all(each["state"] == "delivered" for each in site.deliveries()), "all is delivered")
    assert site.deliveries()


def is_signed_in(clinic: Clinic) -> bool:
    try:
        return clinic.get("/payments/live/", clinic.patients[0]).status in (200, 204)
    except urllib.error.HTTPError as error:
        return error.code != 401


def test_the_page_names_the_rights_that_are_tried() -> None:
    table = PAGE.split("<!-- rights -->")[1].split("<!-- /rights -->")[0]
    rows = [tuple(row) for row in re.findall(r"^\| (.+?) \| (read|write) \| (.+?) \|$", table, re.M)]
    assert rows == [(right.resource, right.level, right.purpose) for right in RIGHTS]


@pytest.mark.slow
def test_secrets_are_replaced_as_the_page_says(site: LiveSite) -> None:
    clinic = Clinic(site)
    old = site.settings["STRIPE_WEBHOOK_SECRET"]
    site.at_stripe("clock", advance=60)  # so that Stripe makes the second endpoint later than the first
    first, check, delete, catch_up = WEBHOOK
    new = SECRET.findall(run(first, site))[0]
    restart(site, STRIPE_WEBHOOK_SECRET=f"{new},{old}")
    run(check, site)
    site.at_stripe("clock", advance=60)
    something_happens(site)
    assert "Deleted" in run(delete, site)
    restart(site, STRIPE_WEBHOOK_SECRET=new)
    something_happens(site)
    assert clinic.tell(clinic.story().completed(), secret=old) == 400
    assert clinic.tell(clinic.story().completed(), secret=new) == 200
    run(catch_up, site)

    for command in API_KEY:
        run(command, site)

    make, check, jobs = SECRET_KEY
    replaced, fresh = site.settings["SECRET_KEY"], run(make, site).strip()
    assert len(fresh) > 50
    restart(site, SECRET_KEY=fresh, SECRET_KEY_FALLBACKS=replaced)
    assert is_signed_in(clinic)
    run(check, site)
    assert "tidy_webhooks" in run(jobs, site)
    restart(site, SECRET_KEY_FALLBACKS="")
    assert not is_signed_in(clinic)
