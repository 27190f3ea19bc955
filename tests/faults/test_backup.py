"""Tests of the way from a backup to a site that is current again, as docs/operations.md describes it."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path

import pytest

from payments_site.demo.services import postgres_binaries
from tests.clinic import Clinic, Person, open_socket, told
from tests.live_site import LiveSite

pytestmark = [pytest.mark.faults, pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(300)]
# Without cash, which has to be entered again, and without payment pages that are still open.
STATES = """
SELECT public_id, status, amount_received, amount_refunded, amount_lost FROM clinic_payments_payment
WHERE method <> 'cash' AND status NOT IN ('unpaid', 'checkout_open')
"""


class Backup:
    """A backup of a site's database, made and restored by the site's own commands."""

    def __init__(self, site: LiveSite, folder: Path) -> None:
        self.site = site
        self.site.manage("payments_backup", "--folder", str(folder))
        (self.file,) = folder.iterdir()

    def restore(self) -> None:
        self.site.manage("payments_restore", str(self.file), "--yes")


def live(site: LiveSite, first: int, count: int) -> None:
    """Have the patients of these appointments pay, fail to, or be refunded, at the sandbox."""
    site.python("-m", "tests.faults.scripted_day", "live", str(first), str(count))


def message_ids(site: LiveSite) -> list[str]:
    texts = [file.read_bytes() for file in site.mails.iterdir()] if site.mails.exists() else []
    parts = [part for text in texts for part in text.split(b"-" * 79 + b"\n") if part.strip()]
    return [str(message_from_bytes(part)["Message-ID"]) for part in parts]


@pytest.mark.parametrize("postgres", [False, True], ids=["sqlite", "postgres"])
def test_a_restored_backup_becomes_what_stripe_says(
    make_site: Callable[..., LiveSite], tmp_path: Path, postgres: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{postgres_binaries()}:{os.environ['PATH']}")
    site = make_site(postgres=postgres, REFUND_APPROVAL_LIMITS="")
    site.python("-m", "tests.faults.scripted_day", "book", "30")
    clinic = Clinic(site)
    staff = clinic.staff[0]
    live(site, 0, 15)
    site.manage("send_emails")
    (tmp_path / "backups").mkdir()
    backup = Backup(site, tmp_path / "backups")

    live(site, 15, 15)
    site.manage("send_emails")
    expected, sent = states(site), message_ids(site)
    epoch = epoch_of(site, staff)
    stopped_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S+00:00")
    site.server.kill()

    backup.restore()
    assert states(site) != expected
    site.manage("payments_doctor", "--after-restore", "--sent-until", stopped_at, "--yes")
    site.manage("catch_up")
    site.manage("reconcile", "--fix")
    site.server.start()
    site.manage("send_emails")

    assert states(site) == expected
    assert message_ids(site) == sent, "what was mailed before is mailed once"
    assert len(sent) == len(set(sent)) > 10
    assert epoch_of(site, staff) != epoch, "pages that stayed open load again"


def epoch_of(site: LiveSite, person: Person) -> str:
    """Return the epoch of the person's feed, of which a page that opens its socket is told after its entries."""
    with open_socket(site, person) as page:
        while (message := told(page)).get("t") != "hello":
            pass
    return str(message["epoch"])


def states(site: LiveSite) -> dict[str, str]:
    """Return the status and sums of each payment that Stripe has ended, by public id."""
    script = f"from django.db import connection; c = connection.cursor(); c.execute({STATES!r}); print(c.fetchall())"
    rows = eval(site.manage("shell", "--no-imports", "--command", script).splitlines()[-1], {"UUID": str})  # noqa: S307
    return {str(key): str(state) for key, *state in rows}
