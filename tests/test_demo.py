"""Tests of the command `./run demo`, run as a developer would run it."""

import asyncio
import datetime
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.utils import timezone

from appointments.money import format_amount
from payments.domain.status import Review
from payments_site.demo import sample, services, stories
from payments_site.demo.__main__ import schema, serve_in
from payments_site.demo.cluster import Cluster
from payments_site.demo.process import HOST, free_port, free_ports
from payments_site.demo.proxy import Proxy
from payments_site.demo.site import ROOT
from tests.clinic import Clinic, open_socket, told
from tests.conftest import is_to_be_made

# By story of the sample data: the payment's final status, and the review that staff have to do, if any.
ENDS: dict[str, tuple[str] | tuple[str, Review]] = {
    "paid": ("paid",),
    "deposit_asked": ("unpaid",),
    "paid_deposit": ("underpaid",),
    "cash": ("paid",),
    "terminal": ("paid",),
    "cheque": ("paid",),
    "transfer": ("paid",),
    "insured": ("paid",),
    "cash_and_card": ("paid",),
    "mistyped": ("paid",),
    "given_back": ("partially_refunded",),
    "opened": ("checkout_open",),
    "declined": ("checkout_open",),
    "expired": ("expired",),
    "debit": ("processing",),
    "debit_failed": ("failed",),
    "debit_returned": ("charged_back", Review.TAKEN_BACK),
    "double": ("paid", Review.DOUBLE_PAYMENT),
    "overpaid": ("paid", Review.PRICE_CHANGED),
    "refunded": ("refunded",),
    "part_refunded": ("partially_refunded",),
    "refund_failed": ("paid", Review.REFUND_FAILED),
    "refund_to_approve": ("paid", Review.REFUND_APPROVAL),
    "disputed": ("disputed", Review.DISPUTE_DEADLINE),
    "dispute_won": ("paid",),
    "lost_in_part": ("underpaid", Review.TAKEN_BACK),
    "inquiry": ("paid", Review.INQUIRY),
    "canceled": ("void",),
    "fee_due": ("unpaid",),
    "fee_kept": ("partially_refunded",),
    "paid_then_canceled": ("paid", Review.PAID_AFTER_CANCEL),
    "missed": ("unpaid",),
    "card_asked": ("unpaid",),
    "card_kept": ("unpaid",),
    "no_show_fee": ("unpaid",),
    "unpaid": ("unpaid",),
}

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(300)]


@contextmanager
def demo(
    folder: Path, *arguments: str, port: int = 0, tree: Path = ROOT
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run `./run demo` in the checkout `tree`; yield its process and the lines that it prints when it starts.

    The lines are a dict: {first word of a line: rest of the line}.
    """
    command = [str(tree / "run"), "demo", "--port", str(port), "--folder", str(folder), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as launcher:
        assert launcher.stdout
        banner: dict[str, str] = {}
        try:
            for line in launcher.stdout:
                word, _, rest = line.strip().partition(" ")
                banner[word] = f"{banner[word]}\n{rest}" if word in banner else rest
                if word == "logs":
                    break
            yield launcher, banner
        finally:
            launcher.send_signal(signal.SIGINT)
            launcher.wait(60)


class Running(NamedTuple):
    folder: Path
    launcher: subprocess.Popen[str]
    banner: dict[str, str]


@pytest.fixture(scope="session")
def original(shared_folder: Path) -> Path:
    """Return the folder of a demo with sample data, which is made once for all test processes."""
    folder = shared_folder / "demo"
    with is_to_be_made(folder) as first:
        if first:
            with demo(folder):
                pass
    return folder


@pytest.fixture
def lived(original: Path, tmp_path: Path) -> Path:
    """Return a copy of a demo's folder with sample data."""
    return Path(shutil.copytree(original, tmp_path / "demo"))


@pytest.fixture(scope="module")
def running(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Yield a demo that runs with sample data; check afterwards that Ctrl-C stops all of it."""
    folder = Path(shutil.copytree(original, tmp_path_factory.mktemp("running") / "demo"))
    with demo(folder) as (launcher, banner):
        yield Running(folder, launcher, banner)
    assert launcher.returncode == 0
    assert not is_listening(banner["site"])
    assert not is_listening(banner["sandbox"])


def status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=60) as response:
        return int(response.status)


def is_listening(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, int(url.rsplit(":", 1)[1]))) == 0


def child_of(pid: int, name: str) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # the kernel's list may miss a child while others start
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            if name in Path(f"/proc/{child}/cmdline").read_text().split("\0"):
                return int(child)
    raise LookupError(f"{pid} has no child {name}")


class Person:
    """A browser without JavaScript: it keeps cookies, follows redirects and sends forms."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.cookies = CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, path: str, form: dict[str, str] | None = None) -> tuple[str, str]:
        """GET the path, or POST `form` to it; return the path after redirects, and the page's text."""
        body = urllib.parse.urlencode(form).encode() if form else None
        with self.opener.open(self.site + path, body, timeout=60) as response:
            return response.url.removeprefix(self.site), unescape(response.read().decode())

    def sign_in(self, name: str, password: str) -> str:
        self.get("/login/")
        [token] = [cookie.value for cookie in self.cookies if cookie.name == "csrftoken"]
        form = {"login": name, "password": password, "csrfmiddlewaretoken": str(token)}
        return self.get("/login/", form)[0]


def deliveries(sandbox: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{sandbox}/_sandbox/deliveries?limit=5000", timeout=60) as response:
        found: list[dict[str, Any]] = json.load(response)["data"]
    return found


def rows_of(page: str) -> list[tuple[str, ...]]:
    """Return (status, *reasons for a review) of each row in the front desk's list of a day, from top to bottom."""
    rows = page.split('<li class="row"')[1:]
    found = []
    for row in rows:
        [status] = re.findall(r'data-status="(\w+)"', row)
        reviews = re.findall(r'data-review .*?class="label">(.*?)<span', row, re.DOTALL)
        found.append((status, *reviews))
    return found


def test_every_story_of_the_sample_data_ends_as_it_should(running: Running) -> None:
    made = datetime.datetime.fromtimestamp((running.folder / "logins.txt").stat().st_mtime, datetime.UTC)
    today = timezone.localdate(made)  # the date of the sample data; midnight may have passed since
    for login in running.banner["login"].splitlines():
        name, password, role = login.split()
        start = Person(running.banner["site"]).sign_in(name, password)
        assert start == ("/appointments/" if role == "patient" else "/desk/"), login
    clerk = Person(running.banner["site"])
    clerk.sign_in("accueil", sample.PASSWORD)
    told = {-3: sample.EARLIER, -1: sample.YESTERDAY, 0: [*sample.TODAY, stories.paid]}
    told |= {1: sample.AHEAD[:7], 2: sample.AHEAD[7:]}
    for day, told_of_day in told.items():
        page = clerk.get(f"/desk/?day={today + datetime.timedelta(days=day)}")[1]
        ends = [ENDS[story.__name__] for story in told_of_day]
        assert rows_of(page) == [(status, *(review.label for review in reviews)) for status, *reviews in ends], day
    assert format_amount(8000, "jpy") in clerk.get(f"/desk/?day={today}")[1]
    till = clerk.get("/desk/closing/")[1]
    assert "Clôture n° 14" in till
    assert f"+{format_amount(210, 'eur')}" in till
    webhooks = deliveries(running.banner["sandbox"])
    assert len(webhooks) > 50
    # The data was made for a site on another port; what happens at Stripe now is told to both.
    arrived = [webhook for webhook in webhooks if webhook["state"] == "delivered"]
    assert all(webhook["type"].startswith("payout.") for webhook in webhooks if webhook not in arrived)
    statuses = {attempt["status"] for webhook in arrived for attempt in webhook["attempts"]}
    assert statuses - {None} == {200}  # None: the site was not listening yet


def test_commands_run_on_the_demo_that_is_running_and_on_no_other(running: Running, tmp_path: Path) -> None:
    assert status(f"{running.banner['site']}/login/") == 200
    assert is_listening(running.banner["sandbox"])
    assert re.fullmatch(r"(\S+ \S+ [a-z]+\n?)+", running.banner["login"])
    found = command("manage", "payments_doctor", "--json", folder=running.folder)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "clock" in [check["name"] for check in json.loads(found.stdout)]
    second = command(folder=running.folder)
    assert second.returncode == 1
    assert "one is running" in second.stderr
    stopped = command("manage", "payments_doctor", folder=tmp_path)
    assert (stopped.returncode, stopped.stdout) == (1, "")
    assert "none is running" in stopped.stderr


def command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "run", "demo", "--folder", folder, *words], capture_output=True, text=True, check=False
    )


def test_a_demo_starts_again_with_its_data_on_the_next_free_port(running: Running, lived: Path) -> None:
    kept = (lived / "logins.txt").read_bytes(), (lived / "secrets.env").read_bytes()
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with demo(lived, port=port) as (launcher, banner):
            assert int(banner["site"].rsplit(":", 1)[1]) > port
            assert banner["login"] == running.banner["login"]
            assert ((lived / "logins.txt").read_bytes(), (lived / "secrets.env").read_bytes()) == kept
            os.kill(child_of(launcher.pid, "stripe_sandbox"), signal.SIGKILL)
            output = launcher.communicate(timeout=60)[0]
    assert launcher.returncode == 1, "a dead process ends the demo"
    assert "sandbox ended. The end of" in output
    assert not is_listening(banner["site"])


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter").touch()
    with pytest.raises(SystemExit, match="not a demo's"):
        serve_in(tmp_path, 0, reset=True, workers=1)
    assert (tmp_path / "letter").exists()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of the checkout that a test may edit; the copy uses the checkout's installed packages."""
    copy = Path(shutil.copytree(ROOT, tmp_path / "tree", ignore=shutil.ignore_patterns(".*", "__pycache__", "tests")))
    (copy / ".venv").symlink_to(ROOT / ".venv")
    return copy


def page_at(url: str) -> tuple[int, str]:
    """Request `url` as a browser; return (status, text), or (0, "") if the server can't be reached."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": "text/html"}), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def edit(path: Path, old: str, new: str, url: str, *words: str) -> int:
    """Replace `old` with `new` in a file, wait until the page at `url` contains all words, and return its HTTP status.

    Raise AssertionError after 60 s.
    """
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status, page = page_at(url)
        if all(word in page for word in words):
            return status
        if status:  # the server overlooks an edit made before it first read the file
            path.touch()
        time.sleep(1)
    raise AssertionError(f"{url} did not show {words}; it answers {status}:\n{page[:2000]}")


MODULE = "static/payments/js/live-source.js"


@pytest.mark.nightly
def test_a_watched_demo_shows_changed_files_and_what_is_broken(lived: Path, tree: Path) -> None:
    with demo(lived, "--watch", tree=tree) as (launcher, banner):
        site = banner["site"]
        status, page = page_at(f"{site}/nowhere/")
        assert status == 404
        assert "Using the URLconf defined in" in page
        assert page_at(f"{site}/login/")[0] == 200
        base, module, urls = (
            tree / name for name in ("templates/base.html", f"payments/{MODULE}", "payments_site/urls.py")
        )
        assert edit(base, "</main>", "a changed template</main>", f"{site}/login/", "a changed template") == 200
        assert edit(module, "class ", "// a changed module\nclass ", f"{site}/{MODULE}", "a changed module") == 200
        broken = 'urlpatterns = [\n    path("broken/", lambda _: 1 / 0),'
        assert edit(urls, "urlpatterns = [", broken, f"{site}/broken/", "ZeroDivisionError", "Traceback") == 500
        assert edit(base, "</main>", "{% no_such_tag %}</main>", f"{site}/login/", "TemplateSyntaxError") == 500
        assert edit(base, "{% no_such_tag %}", "", f"{site}/login/", "a changed template") == 200
        tags = tree / "payments/templatetags/clinic.py"  # the web server exits if it can't import this module
        mended = tags.read_text()
        tags.write_text(f"{mended}\ndef broken(:\n")
        assert launcher.stdout
        assert any(re.match(r"demo: web \d+ died", line) for line in launcher.stdout)
        tags.write_text(mended)
        assert edit(base, "a changed template", "a later one", f"{site}/login/", "a later one") == 200
    assert launcher.returncode == 0
    assert not is_listening(site)


def test_watching_is_for_one_web_process() -> None:
    command = [str(ROOT / "run"), "demo", "--workers", "2", "--watch"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "leave --workers out" in refused.stderr


@pytest.mark.nightly
def test_a_demo_of_another_schema_starts_from_fresh_data(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "schema").write_text("an older one")
    (tmp_path / "logins.txt").write_text("login old old patient\n")
    (tmp_path / "db.sqlite3").write_text("not a database")
    with demo(tmp_path) as (_, banner):
        assert status(f"{banner['site']}/login/") == 200
        assert banner["login"] != "old old patient"


@pytest.fixture
def cluster() -> Iterator[tuple[Clinic, Path]]:
    """Yield a clinic without sample data, and its folder, from which `./run demo --workers 2` can start.

    Everyone may enter the folder, because PostgreSQL runs as a user of its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        site = Cluster(Path(folder), free_ports(), 2)
        try:
            site.make_database()
            clinic = Clinic(site)  # type: ignore[arg-type]  # Clinic works with any site
        finally:
            site.stop()
        (site.folder / "lock").touch()
        (site.folder / "schema").write_text(schema(2))
        (site.folder / "logins.txt").write_text("login staff0 none staff\n")
        yield clinic, site.folder


@pytest.mark.nightly
def test_a_killed_worker_is_passed_over_and_returns(cluster: tuple[Clinic, Path]) -> None:
    clinic, folder = cluster
    with demo(folder, "--workers", "2") as (launcher, banner):
        assert launcher.stdout
        url = clinic.site.url = banner["site"]
        os.kill(int(banner["web-1"].split()[0]), signal.SIGKILL)
        assert [status(f"{url}/login/") for _ in range(4)] == [200] * 4
        with open_socket(clinic.site, clinic.staff[0]) as page:
            while told(page).get("t") != "hello":
                pass
            assert clinic.tell(clinic.story().completed()) == 200
            assert 'data-status="paid"' in told(page)["html"]
        assert any("web-1 returned as" in line for line in launcher.stdout)
        ports = [line.split()[-1] for name, line in banner.items() if name in ("web-1", "web-2", "redis", "postgres")]
    assert launcher.returncode == 0
    assert len(ports) == 4
    assert not [port for port in (url, *ports) if is_listening(f":{port.rsplit(':', 1)[-1]}")]


async def test_where_nginx_is_missing_connections_go_to_whichever_worker_answers() -> None:
    async def answer(asked: asyncio.StreamReader, told: asyncio.StreamWriter) -> None:
        told.write(await asked.readexactly(4))
        told.close()

    port, dead = free_port(), free_port()
    worker = await asyncio.start_server(answer, HOST)
    async with worker, await asyncio.start_server(Proxy([dead, worker.sockets[0].getsockname()[1]]).serve, HOST, port):
        for _ in range(3):
            told, ask = await asyncio.open_connection(HOST, port)
            ask.write(b"ping")
            assert await told.read() == b"ping"
            ask.close()


def test_what_several_workers_need_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(services, "in_wheel", lambda *_: None)
    with pytest.raises(services.NotInstalled, match="apt-get install redis-server"):
        serve_in(tmp_path, 0, reset=False, workers=2)
