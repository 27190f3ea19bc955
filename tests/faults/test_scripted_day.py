"""A whole day with mixed outcomes, duplicates and reordering ends where Stripe says it ends."""

import json
import os
import urllib.request

import pytest

from tests.live_site import LiveSite

PAYMENTS = int(os.environ.get("DAY_PAYMENTS", "100"))  # 1000 takes some minutes


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_day_of_payments_leaves_no_difference_to_stripe(site: LiveSite) -> None:
    site.python("-m", "tests.faults.scripted_day", str(PAYMENTS))
    site.manage("sweep", "--quiet-for", "0")
    compared = site.manage("reconcile")
    assert f"{PAYMENTS} compared, 0 differed" in compared or "0 differed" in compared
    with urllib.request.urlopen(f"{site.sandbox_url}/_sandbox/state", timeout=10) as answer:
        assert json.load(answer)["deliveries_waiting"] == 0
    assert "Traceback" not in site.server.log()
