"""Tests of LiveSite: each site has real server processes, keeps its data, and shares nothing with other sites."""

import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from tests.live_site import LiveSite

MakeSite = Callable[..., LiveSite]


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def users(site: LiveSite) -> int:
    with sqlite3.connect(site.database_file) as database:
        return int(database.execute("SELECT count(*) FROM clinic_accounts_user").fetchone()[0])


@pytest.mark.faults
def test_a_killed_server_comes_back_with_its_data(site: LiveSite) -> None:
    assert status(f"{site.url}/login/") == 200
    site.manage("createsuperuser", "--noinput", "--username", "admin", "--email", "admin@clinic.example")
    site.kill()
    with pytest.raises(urllib.error.URLError):
        status(f"{site.url}/login/")
    site.server.start()
    assert status(f"{site.url}/login/") == 200
    assert users(site) == 1


@pytest.mark.faults
def test_two_sites_share_nothing(make_site: MakeSite) -> None:
    first, second = make_site(start=False), make_site(start=False)
    first.manage("createsuperuser", "--noinput", "--username", "admin", "--email", "admin@clinic.example")
    assert users(first) == 1
    assert users(second) == 0
    assert len({first.url, first.sandbox_url, second.url, second.sandbox_url}) == 4
    assert first.settings["STRIPE_WEBHOOK_SECRET"] != second.settings["STRIPE_WEBHOOK_SECRET"]


@pytest.mark.faults
@pytest.mark.redis
def test_two_servers_on_postgres_and_redis_show_the_same_site(make_site: MakeSite) -> None:
    site = make_site(postgres=True, redis=True)
    other = site.start_another_server()
    assert status(f"{site.url}/login/") == status(f"{other}/login/") == 200
    assert site.settings["DATABASE_URL"].startswith("postgres://")
