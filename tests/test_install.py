"""Tests of deploy/install.sh and deploy/upgrade.sh: what they would do, and what they do to a bare Debian machine."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest

from tests.bare_machine import ORIGIN, BareMachine
from tests.docs.page import take
from tests.machine import needs
from tests.test_deploy import DEPLOY
from tests.waits import wait_until

HOST, OPERATOR = "pay.clinic.example", "you@clinic.example"
ANSWERS = f"--host {HOST} --email {OPERATOR} --manager anne"
SECTIONS = ("2. Install", "3. The clinic's settings", "4. Stripe", "5. Try it", "6. Backups", "7. Upgrades")
PAGES = {
    page: {section: [block.text.rstrip() for block in take(f"docs/server-{page}.md", section)] for section in SECTIONS}
    for page in ("small", "large")
}
[TWO_MACHINES] = take("docs/server-large.md", "Two web machines")
[UPGRADE] = take("docs/operations.md", "Upgrades")
[RESTORE] = take("docs/operations.md", "Backups")
SANDBOX_SETTINGS, SANDBOX = take("docs/operations.md", "Try a server without Stripe")


def options(page: str) -> list[str]:
    """Return the options with which the page runs install.sh."""
    _, install = PAGES[page]["2. Install"]
    return install.removeprefix("deploy/install.sh").split()


def dry_run(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `install.sh --dry-run` as on a machine without a site."""
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": str(tmp_path / "env")}
    install = str(DEPLOY / "install.sh")
    return subprocess.run(
        [install, "--dry-run", *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@needs("shellcheck", "shellcheck")
def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    done = subprocess.run(
        ["shellcheck", "-x", *DEPLOY.glob("*.sh")], cwd=DEPLOY.parent, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


def test_a_small_clinic_gets_sqlite_one_process_and_no_redis(tmp_path: Path) -> None:
    plan = dry_run(tmp_path, *options("small")).stdout
    assert "+ DATABASE_URL=sqlite:////var/lib/payments/db.sqlite3 in" in plan
    assert "+ WEB_PROCESSES=1 in" in plan
    assert "+ REDIS_URL= in" in plan
    assert re.findall(r"systemctl restart payments-web@(\d+)", plan) == ["8001"]
    assert not re.search(r"postgres|redis-server", plan)


def test_a_larger_clinic_gets_postgresql_redis_and_as_many_processes_as_it_wants(tmp_path: Path) -> None:
    plan = dry_run(tmp_path, *options("large"), "--processes", "3").stdout
    assert re.findall(r"systemctl restart payments-web@(\d+)", plan) == ["8001", "8002", "8003"]
    assert "ca-certificates git python3 python3-pip caddy postgresql redis-server\n" in plan
    assert "createuser payments" in plan
    alone = dry_run(tmp_path, *options("large"), "--processes", "1").stdout
    assert "+ REDIS_URL= in" in alone


def test_a_dry_run_changes_nothing_and_shows_no_secret(tmp_path: Path) -> None:
    plan = dry_run(tmp_path, *options("small"))
    assert plan.returncode == 0
    assert "SECRET_KEY=(50 random bytes) in" in plan.stdout
    assert not list(tmp_path.iterdir())


def test_a_second_run_takes_the_answers_from_the_environment_file(tmp_path: Path) -> None:
    text = (DEPLOY / "env.example").read_text()
    for name, value in (("SITE_URL", f"https://{HOST}"), ("DATABASE_URL", "postgres://u:p@10.0.0.21/payments")):
        text = re.sub(rf"^{name}=.*", f"{name}={value}", text, flags=re.M)
    (tmp_path / "env").write_text(text.replace("#OPERATOR_EMAIL=", f"OPERATOR_EMAIL={OPERATOR}"))
    plan = dry_run(tmp_path).stdout
    assert re.findall(r"systemctl restart payments-web@(\d+)", plan) == ["8001", "8002"]
    assert "env.example" not in plan, "the file is left alone"
    assert "postgresql" not in plan.replace("/var/lib/postgresql", ""), "the database is on another machine"
    assert "exists: change SITE_URL" in dry_run(tmp_path, "--host", "other.example").stderr


def test_a_restore_stops_the_site_before_and_starts_it_after_stripe_was_asked(tmp_path: Path) -> None:
    env = tmp_path / "env"
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": str(env)}
    env.write_text("WEB_PROCESSES=2\nSTRIPE_SECRET_KEY=rk_test_x\n")
    (tmp_path / "copy.dump").touch()
    copy = RESTORE.text.replace("/var/lib/payments/backups/FILE", str(tmp_path / "copy.dump"))
    command = copy.replace("deploy/restore.sh", "deploy/restore.sh --dry-run --sent-until '2026-05-31 14:05'")
    restore = ["sh", "-ec", f"cd {DEPLOY.parent}; {command}"]
    done = subprocess.run(restore, env=environment, capture_output=True, text=True, check=True)
    wanted = "systemctl stop|payments_restore|migrate|after-restore|catch_up|reconcile|web@8001|web@8002"
    assert "|".join(dict.fromkeys(re.findall(wanted, done.stdout))) == wanted
    assert r"--sent-until 2026-05-31\ 14:05" in done.stdout
    env.write_text("WEB_PROCESSES=2\n")
    done = subprocess.run(restore, env=environment, capture_output=True, text=True, check=True)
    assert "catch_up" not in done.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--host pay.clinic.example", "--email is missing"),
        (f"{ANSWERS} --database mysql", "--database is sqlite or postgresql"),
        (f"{ANSWERS} --database sqlite --processes 2", "sqlite is for one web process"),
        (f"{ANSWERS} --database postgresql --processes many", "--processes is a number"),
        (f"{ANSWERS} --database sqlite --proxy apache", "--proxy is caddy, nginx or none"),
        ("--host https://x --email a@b.example --database sqlite --manager anne", "the host is a name"),
        ("--host a.example --email nobody --database sqlite --manager anne", "is an address"),
        ("--host", "--host needs a value"),
        ("--colour blue", "usage:"),
    ],
)
def test_wrong_options_are_explained(options: str, told: str, tmp_path: Path) -> None:
    done = dry_run(tmp_path, *options.split())
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert "+" not in done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_commands_are_understood_by_the_shell(page: str) -> None:
    """The nightly test below runs them."""
    for script in chain(*PAGES[page].values()):
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_an_upgrade_backs_up_and_migrates_before_it_restarts(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": str(tmp_path / "env"), "DRY_RUN": "1"}
    done = subprocess.run(
        ["bash", "-ec", UPGRADE.text], cwd=DEPLOY.parent, env=environment, capture_output=True, text=True, check=True
    )
    steps = ("collectstatic", "check --deploy", "payments_backup", "migrate", "ln -sfn", "systemctl restart")
    places = [done.stdout.index(step) for step in steps]
    assert places == sorted(places)


def test_the_settings_of_two_machines_name_both_databases_and_all_sentinels(tmp_path: Path) -> None:
    (tmp_path / "env").write_text(TWO_MACHINES.text)
    known = re.findall(r"^#?([A-Z_]+)=", (DEPLOY / "env.example").read_text(), re.M)
    assert set(re.findall(r"^([A-Z_]+)=", TWO_MACHINES.text, re.M)) <= set(known)
    show = "print(json.dumps([s.DATABASES, s.CHANNEL_LAYERS], default=str))"
    script = f"import json; from payments_site import settings as s; {show}"
    load = f"set -a; . {tmp_path / 'env'}; exec {sys.executable} -c '{script}'"
    done = subprocess.run(["sh", "-ec", load], cwd=DEPLOY.parent, env={}, capture_output=True, text=True, check=True)
    databases, layers = json.loads(done.stdout)
    assert databases["default"]["HOST"] == "10.0.0.21,10.0.0.22"
    assert databases["default"]["PORT"] == "5432,5432"
    assert databases["default"]["OPTIONS"]["target_session_attrs"] == "read-write"
    [place] = layers["default"]["CONFIG"]["hosts"]
    assert place["sentinels"] == [["10.0.0.21", 26379], ["10.0.0.22", 26379], ["10.0.0.11", 26379]]
    assert place["master_name"] == "payments"


# A bare machine

ASK = """
import http.client, ssl, sys
insecure = ssl._create_unverified_context()  # the certificate comes from Caddy's own authority
def ask(method, path, body=None):
    connection = http.client.HTTPSConnection("pay.clinic.example", context=insecure, timeout=60)
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()
"""
KEEP_ASKING = (
    ASK
    + """
import pathlib, time
while not pathlib.Path("/root/enough").exists():
    print(ask("GET", "/livez")[0], ask("POST", "/stripe/webhook/", b"{}")[0], flush=True)
    time.sleep(0.1)
"""
)


class Site:
    """The site on a bare machine: what its operator does there, and what browsers and Stripe get.

    The operator's commands are those of the page for a `page` (small or large) clinic. `choice` is an option of
    install.sh that the page offers, or "".
    """

    def __init__(self, machine: BareMachine, page: str, choice: str) -> None:
        self.machine, self.commands, self.choice = machine, PAGES[page], choice

    def prepare(self) -> None:
        """Do what needs a network: clone, and fetch what the site needs, with the commands that --dry-run prints."""
        clone, _ = self.commands["2. Install"]
        clone = clone.replace("<this repository>", ORIGIN)
        other = "apt-get install -q -s systemd-timesyncd unattended-upgrades postgresql-client >/tmp/simulated"
        packages = "sed -n '/apt-get/s/^+ //p' /tmp/plan >/tmp/packages; bash -e /tmp/packages"
        release = "sed -n '/^# Release/,/^# Backup/s/^+ //p' /tmp/plan >/tmp/release; bash -e /tmp/release"
        uv = "cp /opt/payments-releases/*/.tools/bin/uv /usr/local/bin"
        self.machine.fetch("\n".join((f"{clone} {self.choice} >/tmp/plan", other, packages, release, uv)))
        self.machine.write("/etc/hosts", f"127.0.0.1 localhost {HOST}\n")

    def install(self) -> None:
        _, script = self.commands["2. Install"]
        self.machine.run(f"DJANGO_SUPERUSER_PASSWORD={'a' * 20} {script} {self.choice}", UV_OFFLINE="1")

    def install_again(self) -> str:
        [script] = self.commands["3. The clinic's settings"]
        return self.machine.run(f"set -e; {script}", UV_OFFLINE="1").stdout

    def begin_afresh(self) -> None:
        """Empty the database, which was only tried, and install again."""
        [script] = self.commands["5. Try it"]
        install = f"DJANGO_SUPERUSER_PASSWORD={'a' * 20} deploy/install.sh --manager anne"
        self.machine.run(f"set -e; {script}\n{install}", UV_OFFLINE="1")

    def connect_local_stripe(self) -> str:
        """Set the site up with the local Stripe, and return what stripe_setup prints."""
        names = SANDBOX_SETTINGS.text.split()
        changes = [f"s|^#\\?{name}=.*|{name}={value}|" for name, value in (line.split("=") for line in names)]
        script = "; ".join(f"sed -i '{change}' /etc/payments/env" for change in changes)
        return self.machine.run(f"set -e; {script}; {SANDBOX.text.rstrip()} --yes").stdout

    def upgrade(self, *, works: bool = True) -> str:
        [script] = self.commands["7. Upgrades"]
        return self._upgrade(script, works=works)

    def go_back(self) -> str:
        return self._upgrade("deploy/upgrade.sh --back", works=True)

    def _upgrade(self, script: str, *, works: bool) -> str:
        done = self.machine.run(f"set -e; {script}", check=False, UV_OFFLINE="1")
        assert (done.returncode == 0) == works, done.stdout
        return done.stdout

    def manage(self, command: str) -> str:
        [start] = self.commands["4. Stripe"]
        return self.machine.run(f"{start} {command}").stdout

    def back_up(self) -> str:
        """Make a copy of the database and return its name."""
        make, _ = self.commands["6. Backups"]
        done = self.machine.run(make)
        return str(re.findall(r"payments-\S+", done.stdout)[-1])

    def restore(self, copy: str) -> None:
        _, restore = self.commands["6. Backups"]
        script = re.sub(r"payments-\.{4}\w+", copy, restore)
        self.machine.run(f"set -e; {script} --yes")

    def certify_itself(self) -> None:
        """Do without an authority, which can't reach this machine: nginx keeps the certificate that nobody signed."""
        if "nginx" in self.choice:
            self.machine.run("rm -f /etc/nginx/tls/temporary")
            return
        self.machine.write("/etc/caddy/payments.d/certificate", "tls internal\n")
        self.machine.run("systemctl reload caddy")
        self.machine.write("/root/has_certificate.py", f"{ASK}\nask('GET', '/livez')")
        wait_until(
            lambda: self.machine.run("python3 /root/has_certificate.py", check=False).returncode == 0,
            "Caddy has made its certificate, which it does after the reload",
        )

    def ask(self, method: str, path: str) -> tuple[int, str, str]:
        """Return the status, the header Cache-Control and the body that a browser gets."""
        script = f"status, headers, body = ask('{method}', '{path}'); print(status, headers['Cache-Control'], body)"
        self.machine.write("/root/ask.py", f"{ASK}\n{script}")
        status, rest = self.machine.run("python3 /root/ask.py").stdout.split(" ", 1)
        cached, _, body = rest.partition(" b")
        return int(status), cached, body

    def releases(self) -> set[str]:
        """Return the names of the releases that the web processes run on."""
        pids = "systemctl show --value -p MainPID 'payments-web@*'"
        found = self.machine.run(f"for pid in $({pids}); do readlink /proc/$pid/cwd; done").stdout.split()
        return {Path(path).name for path in found}

    def commit(self, script: str) -> str:
        """Change the repository that was cloned with this script, commit, and return the commit's short name."""
        author = "-c user.name=Test -c user.email=test@clinic.example"
        work = f"rm -rf /root/work; git clone -q {ORIGIN} /root/work; cd /root/work"
        self.machine.run(
            f"set -e; {work}; {script}; git add -A; git {author} commit -qm 'The next version'; git push -q"
        )
        return self.machine.run("git -C /root/work rev-parse --short=12 HEAD").stdout.strip()


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(3000)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a bare machine")
@needs("debootstrap", "debootstrap")
@needs("systemd-nspawn", "systemd-container")
@pytest.mark.parametrize(
    ("suite", "page", "choice"),
    [("bookworm", "small", ""), ("bookworm", "large", "--proxy nginx"), ("trixie", "large", "")],
)
def test_a_bare_machine_becomes_a_site_that_can_be_upgraded_and_restored(
    suite: str, page: str, choice: str, tmp_path: Path
) -> None:
    machine = BareMachine(tmp_path / "root", suite)
    site = Site(machine, page, choice)
    site.prepare()
    with machine.booted():
        first = machine.run("git rev-parse --short=12 HEAD").stdout.strip()
        site.install()
        it_serves(site)
        a_second_run_changes_nothing(site)
        services_started_by_timers_work(site)
        it_is_tried_with_the_local_stripe_and_begun_afresh(site)
        a_backup_brings_back_what_was_deleted(site)
        it_is_upgraded_and_goes_back(site, first)
        a_version_that_does_not_start_is_not_used(site, first)


def it_serves(site: Site) -> None:
    site.certify_itself()
    assert site.ask("GET", "/livez")[0] == 200
    assert site.ask("GET", "/metrics")[0] == site.ask("GET", "/readyz")[0] == 404
    assert site.ask("DELETE", "/")[0] == 405
    assert site.ask("POST", "/stripe/webhook/")[0] == 400
    status, cached, page = site.ask("GET", "/login/")
    assert (status, "no-store" in cached) == (200, True)
    hashed = re.findall(r"/static/[^\"]+\.[0-9a-f]{12}\.css", page)[0]
    assert site.ask("GET", hashed)[:2] == (200, "max-age=31536000")
    assert site.ask("GET", "/static/errors/busy.html")[:2] == (200, "max-age=60")
    assert site.machine.run("systemctl list-units --failed --no-legend").stdout == ""
    assert "anne" in site.manage("shell --no-imports -c 'from accounts.models import User; print(User.objects.get())'")
    listening = site.machine.run("ss -Hltn | tr -s ' ' | cut -d' ' -f4", check=False).stdout
    assert not re.search(r"^(0\.0\.0\.0|\*|\[::\]):(?!80$|443$|2019$)\d+$", listening, re.M), listening


def a_second_run_changes_nothing(site: Site) -> None:
    site.machine.run("stat -c %Y /etc/payments/env >/root/before")
    backups = site.machine.run("ls /var/lib/payments/backups").stdout
    done = site.install_again()
    made = (
        "useradd",
        "env.example",
        "createuser",
        "createdb",
        "createsuperuser",
        "/run manage",
        "/nginx.conf",
        "/upstream",
    )
    assert not [line for line in done.splitlines() if line.startswith("+ ") and any(word in line for word in made)]
    assert site.machine.run("stat -c %Y /etc/payments/env | diff - /root/before", check=False).returncode == 0
    assert site.machine.run("ls /var/lib/payments/backups").stdout == backups, "each backup pushes out an older one"
    site.certify_itself()


def services_started_by_timers_work(site: Site) -> None:
    site.machine.run("sed -i 's|^#EMAIL_URL=.*|EMAIL_URL=filemail:////var/lib/payments/mail|' /etc/payments/env")
    site.machine.run("systemctl start payments-backup payments-doctor")
    letter = site.machine.run("cat /var/lib/payments/mail/*").stdout
    assert f"To: {OPERATOR}" in letter
    assert "STRIPE_SECRET_KEY is empty" in letter
    assert "ERROR backup" not in letter
    active = site.machine.run("systemctl is-active payments-backup.timer payments-doctor.timer").stdout
    assert active.split() == ["active", "active"]


def it_is_tried_with_the_local_stripe_and_begun_afresh(site: Site) -> None:
    assert re.search(r"whsec_\w+", site.connect_local_stripe())
    site.begin_afresh()
    assert site.ask("GET", "/livez")[0] == 200
    assert "anne" in site.manage("shell --no-imports -c 'from accounts.models import User; print(User.objects.get())'")


def a_backup_brings_back_what_was_deleted(site: Site) -> None:
    copy = site.back_up()
    site.manage("shell --no-imports -c 'from accounts.models import User; User.objects.all().delete()'")
    site.restore(copy)
    assert site.ask("GET", "/livez")[0] == 200
    assert "anne" in site.manage("shell --no-imports -c 'from accounts.models import User; print(User.objects.get())'")


@contextmanager
def no_request_fails(site: Site) -> Iterator[None]:
    """Ask the site all the time, as browsers and Stripe do, while the block runs."""
    machine = site.machine
    assert site.ask("GET", "/livez")[0] == 200  # waits for processes that have just been started
    machine.write("/root/keep_asking.py", KEEP_ASKING)
    machine.run("rm -f /root/enough")
    with (machine.root / "root/asked").open("w") as asked:
        asking = subprocess.Popen(machine.command("python3 /root/keep_asking.py"), stdout=asked, stderr=asked)
    try:
        yield
    finally:
        machine.run("touch /root/enough")
        asking.wait(120)
    answered = (machine.root / "root/asked").read_text().splitlines()
    assert len(answered) > 20
    assert set(answered) == {"200 400"}


def it_is_upgraded_and_goes_back(site: Site, first: str) -> None:
    second = site.commit("touch static/errors/second.txt")
    with no_request_fails(site):
        assert site.releases() == {first}
        site.upgrade()
        assert site.releases() == {second}
        site.go_back()
        assert site.releases() == {first}
        site.install_again()
        assert site.releases() == {first}, "new settings put no other release into use"
        assert site.ask("GET", "/static/errors/second.txt")[0] == 200, "open pages find the newer files"


def a_version_that_does_not_start_is_not_used(site: Site, first: str) -> None:
    site.commit("echo 'raise SystemExit(1)' >payments_site/asgi.py")
    with no_request_fails(site):
        assert "the one before it is in use again" in site.upgrade(works=False)
    assert site.releases() == {first}
    assert site.ask("GET", "/livez")[0] == 200
