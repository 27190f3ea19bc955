"""Tests of the way from a backup to a site that is current again, as docs/operations.md describes it."""

import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
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
    """A backup of a site's database, made and restored with the commands in docs/operations.md."""

    def __init__(self, site: LiveSite, file: Path) -> None:
        self.site, self.file = site, file
        self.url = site.settings["DATABASE_URL"]
        if self.on_postgres:
            self._run("pg_dump", "-Fc", "-f", str(file), self.url)
        else:
            with closing(sqlite3.connect(site.database_file)) as source, closing(sqlite3.connect(file)) as target:
                source.backup(target)  # what sqlite3's command .backup does

    @property
    def on_postgres(self) -> bool:
        return self.url.startswith("postgres")

    def restore(self) -> None:
        if self.on_postgres:
            self._run("pg_restore", "--clean", "--if-exists", "--no-owner", "-d", self.url, str(self.file))
            return
        for suffix in ("-wal", "-shm"):
            self.site.database_file.with_name(self.site.database_file.name + suffix).unlink(missing_ok=True)
        self.site.database_file.write_bytes(self.file.read_bytes())

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([postgres_binaries() / program, *arguments], check=True)


def live(site: LiveSite, first: int, count: int) -> None:
    """Have the patients of these appointments pay, fail to, or be refunded, at the sandbox."""
    site.python("-m", "tests.faults.scripted_day", "live", str(first), str(count))


def message_ids(site: LiveSite) -> list[str]:
    texts = [file.read_bytes() for file in site.mails.iterdir()] if site.mails.exists() else []
    parts = [part for text in texts for part in text.split(b"-" * 79 + b"\n") if part.strip()]
    return [str(message_from_bytes(part)["Message-ID"]) for part in parts]


@pytest.mark.parametrize("postgres", [False, True], ids=["sqlite", "postgres"])
def test_a_restored_backup_becomes_what_stripe_says(
    make_site: Callable[..., LiveSite], tmp_path: Path, postgres: bool
) -> None:
    site = make_site(postgres=postgres, REFUND_APPROVAL_LIMITS="")
    site.python("-m", "tests.faults.scripted_day", "book", "30")
    clinic = Clinic(site)
    staff = clinic.staff[0]
    live(site, 0, 15)
    site.manage("send_emails")
    backup = Backup(site, tmp_path / "backup")

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
