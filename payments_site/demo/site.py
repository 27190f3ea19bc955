"""One site in one folder: settings, database, Stripe sandbox and web server."""

import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from payments_site.demo.process import HOST, Process

ROOT = Path(__file__).resolve().parents[2]
ASGI = "payments_site.asgi:application"
# Twisted's own backlog of 50 is too short for a thousand pages that return together; who vanished is dropped in 80 s.
DAPHNE = ("--ping-interval", "60", "--ping-timeout", "20", "--websocket-max-message-size", "65536", "--no-server-name")


class Site:
    """The sandbox and daphne as processes; `settings` is the environment of all that is started for it.

    A folder that holds a database and a sandbox state goes on from there. `mortal`: processes that it outlives;
    `workers`: its web processes when they are several.
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
            "REQUIRE_MFA": "0",  # so that a stranger can try
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
        """Where e-mails are kept instead of being sent: a file for each time that some left."""
        return self.folder / "mails"

    def _secrets(self) -> dict[str, str]:
        """Made once for each folder: sessions and signatures stay valid after a restart."""
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
        """Another web process on the same database, on daphne."""
        return self._process(name, port, "daphne", *DAPHNE, "-e", f"tcp:{port}:interface={HOST}:backlog=2048", ASGI)

    def new_worker(self, *arguments: str) -> Process:
        """A management command that runs beside the server."""
        command = [sys.executable, "manage.py", *arguments]
        return Process(arguments[0], command, 0, self.folder / f"{arguments[0]}.log", self.settings, cwd=ROOT)

    def make_database(self) -> None:
        """Tables straight from the models, in seconds; migrations from zero take a minute."""
        self.manage("migrate", "--run-syncdb", "--verbosity", "0")

    def manage(self, *arguments: str) -> str:
        """Run manage.py with this site's settings; its standard output. Raises CalledProcessError, errors shown."""
        return self.python("manage.py", *arguments)

    def python(self, *arguments: str) -> str:
        """The same for any Python program."""
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
        """Both at once, then wait for both."""
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
