"""Tests that the site's payments agree with Stripe's after a day of mixed outcomes, duplicate and reordered events."""

import json
import os
import time
import urllib.request
from collections.abc import Callable

import pytest

from tests.live_site import LiveSite

PAYMENTS = int(os.environ.get("DAY_PAYMENTS", "100"))  # 1000 takes some minutes
LARGEST_ON_SQLITE = 200  # with more, a webhook may wait too long to write


@pytest.mark.faults
@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_day_of_payments_leaves_no_difference_to_stripe(make_site: Callable[..., LiveSite]) -> None:
    site = make_site(postgres=PAYMENTS > LARGEST_ON_SQLITE)
    started = time.monotonic()
    site.python("-m", "tests.faults.scripted_day", str(PAYMENTS))
    lived = time.monotonic()
    site.manage("sweep", "--quiet-for", "0")
    compared = site.manage("reconcile")  # raises if a payment differs
    print(f"{PAYMENTS} payments in {lived - started:.0f} s, compared in {time.monotonic() - lived:.0f} s")  # noqa: T201
    assert f"{PAYMENTS} compared, 0 differed" in compared.splitlines()
    with urllib.request.urlopen(f"{site.sandbox_url}/_sandbox/state", timeout=10) as answer:
        assert json.load(answer)["deliveries_waiting"] == 0
    assert "Traceback" not in site.server.log()
