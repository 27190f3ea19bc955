"""A site in one folder: settings, database, Stripe sandbox and web server."""

import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from payments_site.demo.process import HOST, Process

ROOT = Path(__file__).resolve().parents[2]
ASGI = "payments_site.asgi:application"
# A browser that vanished is disconnected after 80 s.
DAPHNE = ("--ping-interval", "60", "--ping-timeout", "20", "--websocket-max-message-size", "65536", "--no-server-name")


class Site:
    """A sandbox and a web server as processes, with `settings` as their environment.

    A database and a sandbox state that are in the folder already are used. `mortal` lists the processes that the demo
    restarts when they end, `workers` the web processes if there are several.
    """

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
            "SKIP_MIGRATIONS": "1",
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
            "LOG_FORMAT": "line",
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
        """Folder where e-mails are written to files instead of being sent."""
        return self.folder / "mails"

    def _secrets(self) -> dict[str, str]:
        """Return the folder's secrets, made once so that sessions and signatures stay valid after a restart."""
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
        return Process(name, command, port, self.folder / f"{name}.log", self.settings, cwd=ROOT)

    def new_server(self, name: str, port: int) -> Process:
        """Return another web process, daphne, on the site's database; it is not started yet.

        Twisted's default backlog of 50 is too short for a thousand pages that reconnect at once.
        """
        return self._process(name, port, "daphne", *DAPHNE, "-e", f"tcp:{port}:interface={HOST}:backlog=2048", ASGI)

    def new_worker(self, *arguments: str) -> Process:
        """Return a process that runs a management command beside the server; it is not started yet."""
        command = [sys.executable, "manage.py", *arguments]
        return Process(arguments[0], command, 0, self.folder / f"{arguments[0]}.log", self.settings, cwd=ROOT)

    def make_database(self) -> None:
        """Create the tables from the models, which takes seconds; running all migrations takes a minute."""
        self.manage("migrate", "--run-syncdb", "--verbosity", "0")

    def manage(self, *arguments: str) -> str:
        """Run manage.py with this site's settings and return its standard output. Raises CalledProcessError."""
        return self.python("manage.py", *arguments)

    def python(self, *arguments: str) -> str:
        """Run Python with this site's settings and return its standard output. Raises CalledProcessError."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout

    def start(self) -> None:
        """Start the sandbox and the web server together, then wait until both listen."""
        self.sandbox.spawn()
        self.server.spawn()
        self.sandbox.wait_until_listening()
        self.server.wait_until_listening()

    def stop(self) -> None:
        self.server.stop()
        self.sandbox.stop()


class WatchedSite(Site):
    """A site to edit: Django's server loads changed code, templates and static files, and shows its debug pages."""

    def __init__(self, folder: Path, port: int, sandbox_port: int) -> None:
        super().__init__(folder, port, sandbox_port, DEBUG="1")
        self.mortal = [self.server]  # Django's server ends when what it reloads can't be imported

    def new_server(self, name: str, port: int) -> Process:
        """Return a `runserver` on daphne. servestatic serves the static files, because it forbids browsers to cache."""
        return self._process(name, port, "django", "runserver", f"{HOST}:{port}", "--nostatic")
