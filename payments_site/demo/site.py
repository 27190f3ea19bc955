"""A site that keeps its settings and data in one folder and runs a Stripe sandbox and a web server."""

import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from payments_site.demo.process import HOST, Process

ROOT = Path(__file__).resolve().parents[2]
ASGI = "payments_site.asgi:application"
# daphne closes the WebSocket of a browser that has vanished after 80 s.
DAPHNE = ("--ping-interval", "60", "--ping-timeout", "20", "--websocket-max-message-size", "65536", "--no-server-name")


class Site:
    """A Stripe sandbox and a web server as child processes, with `settings` as their environment variables.

    The site continues with the database and the sandbox state that it finds in `folder`. `mortal` lists the processes
    that the demo restarts when they end; `workers` lists the web processes if there are several.
    """

    code = ROOT  # the folder whose code the processes run
    process = Process
    mortal: Sequence[Process] = ()
    workers: Sequence[Process] = ()

    def __init__(
        self, folder: Path, port: int, sandbox_port: int, sandbox_options: Sequence[str] = (), **settings: str
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.url, self.sandbox_url = f"http://{HOST}:{port}", f"http://{HOST}:{sandbox_port}"
        self.settings = {
            "DJANGO_SETTINGS_MODULE": "payments_site.settings",
            "DEBUG": "0",
            "STATIC_FROM_SOURCE": "1",
            "SITE_URL": self.url,
            "CLINIC_NAME": "Clinique des Tilleuls",
            "ALLOWED_HOSTS": HOST,
            "DATABASE_URL": f"sqlite:///{self.database_file}",
            "REDIS_URL": "",
            "STRIPE_API_HOST": self.sandbox_url,
            "STRIPE_ACCOUNT_ID": "acct_1SandboxTestAccount",
            "STRIPE_LIVE_MODE": "0",
            "EMAIL_URL": f"filemail:///{self.mails}",
            "DEFAULT_FROM_EMAIL": "Clinique des Tilleuls <accueil@tilleuls.example>",
            "OUTGOING_WEBHOOK_NETWORKS": "127.0.0.0/8,::1/128",
            "LOG_FORMAT": "line",
            "REFUND_APPROVAL_LIMITS": "eur=10000",  # so that one of the sample refunds waits for a second person
            "REQUIRE_MFA": "0",  # so that anybody can try the demo
            "PYTHONUNBUFFERED": "1",
            **self._secrets(),
            **settings,
        }
        self.server = self.new_server("web", port)
        self.sandbox = self._process(
            "sandbox", sandbox_port, "stripe_sandbox", *self._sandbox_command(sandbox_port), *sandbox_options
        )

    @property
    def database_file(self) -> Path:
        return self.folder / "db.sqlite3"

    @property
    def mails(self) -> Path:
        """Return the folder in which e-mails are written to files instead of being sent."""
        return self.folder / "mails"

    def _secrets(self) -> dict[str, str]:
        """Return the secret settings by name; the first call makes them and writes them to a file.

        Because of the file, sessions and signatures stay valid after a restart.
        """
        kept = self.folder / "secrets.env"
        if not kept.exists():
            prefixes = {"SECRET_KEY": "", "STRIPE_SECRET_KEY": "sk_test_", "STRIPE_WEBHOOK_SECRET": "whsec_"}
            kept.touch(mode=0o600)
            kept.write_text("".join(f"{name}={prefix}{secrets.token_hex(24)}\n" for name, prefix in prefixes.items()))
        return dict(line.split("=", 1) for line in kept.read_text().splitlines())

    def _sandbox_command(self, port: int) -> list[str]:
        options = {
            "--port": str(port),
            "--state-file": str(self.folder / "sandbox.json"),
            "--webhook-url": f"{self.url}/stripe/webhook/",
            "--webhook-secret": self.settings["STRIPE_WEBHOOK_SECRET"],
            "--api-key": self.settings["STRIPE_SECRET_KEY"],
            "--business-name": self.settings["CLINIC_NAME"],
        }
        return [word for option in options.items() for word in option]

    def _process(self, name: str, port: int, module: str, *arguments: str) -> Process:
        command = [sys.executable, "-m", module, *arguments]
        return self.process(name, command, port, self.folder / f"{name}.log", self.settings, cwd=self.code)

    def new_server(self, name: str, port: int) -> Process:
        """Return a process, not started yet, in which daphne serves this site on `port`.

        The socket's backlog is 2048, because Twisted's default of 50 is too short when 1,000 pages reconnect at once.
        """
        return self._process(name, port, "daphne", *DAPHNE, "-e", f"tcp:{port}:interface={HOST}:backlog=2048", ASGI)

    def new_worker(self, *arguments: str) -> Process:
        """Return a process, not started yet, that runs `manage.py` with these arguments and this site's settings."""
        command = [sys.executable, "manage.py", *arguments]
        return self.process(arguments[0], command, 0, self.folder / f"{arguments[0]}.log", self.settings, cwd=self.code)

    def make_database(self) -> None:
        self.manage("migrate", "--verbosity", "0")

    def manage(self, *arguments: str) -> str:
        """Run manage.py with this site's settings and return what it prints. Raises CalledProcessError if it fails."""
        return self.python("manage.py", *arguments)

    def python(self, *arguments: str) -> str:
        """Run Python with this site's settings and return what it prints. Raises CalledProcessError if it fails."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.code,
            env={**os.environ, **self.settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout

    def start(self) -> None:
        """Start the sandbox and the web server at once, then wait until both listen."""
        self.sandbox.spawn()
        self.server.spawn()
        self.sandbox.wait_until_listening()
        self.server.wait_until_listening()

    def stop(self) -> None:
        self.server.stop()
        self.sandbox.stop()


class WatchedSite(Site):
    """A site for developers: Django's runserver reloads code, templates and static files that change.

    It also shows Django's debug pages.
    """

    def __init__(self, folder: Path, port: int, sandbox_port: int) -> None:
        super().__init__(folder, port, sandbox_port, DEBUG="1")
        self.mortal = [self.server]  # runserver ends when the changed code can't be imported

    def new_server(self, name: str, port: int) -> Process:
        """Return a process, not started yet, that runs daphne's `runserver` on `port`.

        With `--nostatic`, servestatic serves the static files, with a max-age of 0 so that browsers notice changes.
        """
        return self._process(name, port, "django", "runserver", f"{HOST}:{port}", "--nostatic")
