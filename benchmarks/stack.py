"""Starts and stops the compared servers, with a PostgreSQL and a Redis that nothing else uses."""

import os
import resource
import secrets
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg

from benchmarks import events
from benchmarks.peers.node_peer import SCHEMA, fill_node, install_node_packages
from benchmarks.peers.usual.prepare import ENDPOINT
from benchmarks.targets import PATIENTS, STAFF, Numbers, Target
from payments_site.demo.process import HOST, Process, free_port
from payments_site.demo.site import ASGI, ROOT, Site
from tests import services

USUAL = "benchmarks.peers.usual"
FRAME = 2700  # bytes, about the size of the site's frames
# The options of deploy/Dockerfile.
UVICORN = [
    *("--lifespan", "off", "--ws", "websockets-sansio", "--ws-per-message-deflate", "false", "--ws-max-size", "65536"),
    *("--ws-ping-interval", "60"),
    *("--backlog", "2048", "--timeout-graceful-shutdown", "20", "--proxy-headers", "--no-server-header"),
    *("--no-access-log", "--log-level", "warning"),
]
SITE_PATH = "/ws/payments/?epoch={epoch}&after={after}&feed={audience}&lang=fr"
NODE_PATH = "/socket.io/?EIO=4&transport=websocket&after={after}"


class Stack:
    """The compared servers, whose files are in `folder`. `target(name)` starts one of them and returns it."""

    def __init__(self, folder: Path, payments: int = 100_000, peers_payments: int = 45_000) -> None:
        self.folder, self.payments, self.peers_payments = folder, payments, peers_payments
        self._targets, self.secret_key = dict[str, Target](), secrets.token_urlsafe(50)
        self._others: list[Process] = []

    def __enter__(self) -> "Stack":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))
        with ExitStack() as started:
            self.postgres = started.enter_context(services.postgres(durable=True))
            self.redis = started.enter_context(services.redis())
            self._exit = started.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        for target in self._targets.values():
            target.stop()
        for process in self._others:
            process.stop()
        self._exit.close()

    def prepare(self, *names: str) -> list[str]:
        """Create and fill the databases of these servers in parallel; return a line for each server that failed."""
        makers = {"uvicorn": self._make_site, "daphne": self._make_site, "node": self._make_node}
        makers |= {"usual": self._make_usual, "floor": self._make_floor}
        with ThreadPoolExecutor(2) as pool:
            made = {name: pool.submit(makers[name]) for name in names if name != "daphne" or "uvicorn" not in names}
        return [f"{name} was not set up: {error}" for name, future in made.items() if (error := future.exception())]

    def target(self, name: str) -> Target:
        if name not in self._targets:
            raise LookupError(f"{name} was not set up")
        self._targets[name].up()
        return self._targets[name]

    def only(self, name: str) -> Target:
        """Stop all other servers, start the server `name` unless it runs, and return it."""
        for other, target in self._targets.items():
            if other != name:
                target.stop()
        return self.target(name)

    def settings(self, database: str) -> dict[str, str]:
        return {
            "DATABASE_URL": self.postgres.database_url(database), "REDIS_URL": self.redis.url,
            "SECRET_KEY": self.secret_key, "STRIPE_SECRET_KEY": events.API_KEY, "STRIPE_ACCOUNT_ID": events.ACCOUNT,
            "STRIPE_WEBHOOK_SECRET": events.SECRET, "LOG_FORMAT": "json", "ALLOWED_HOSTS": HOST,
            "SESSION_IDLE_MINUTES": "600",  # the benchmark's sessions must not end during a run
        }  # fmt: skip

    def site(self, name: str, database: str = "site") -> Site:
        """Return a Site with its own folder and port, on the given database.

        Sites on one database share its people, sessions and payments.
        """
        return Site(self.folder / name, free_port(), 0, **self.settings(database))

    def make_database(self, name: str) -> str:
        self.postgres._execute("CREATE DATABASE {}", name)
        return self.postgres.database_url(name)

    def site_target(self, name: str, server: str, numbers: Numbers, database: str = "site", workers: int = 1) -> Target:
        """Add this site to the compared servers under `name`, and return it; events are about payments `numbers`.

        `server` is "uvicorn" or "daphne"; uvicorn runs `workers` processes, which share one database and Redis.
        """
        site = self.site(name, database)
        processes = [site.server]
        if server == "uvicorn":
            command = [sys.executable, "-m", "uvicorn", ASGI, "--host", HOST, *UVICORN]
            ports = [site.server.port, *(free_port() for _ in range(workers - 1))]
            processes = [
                Process(f"{name}-{port}", [*command, "--port", str(port)], port, site.folder / f"{port}.log",
                        site.settings, cwd=ROOT)
                for port in ports
            ]  # fmt: skip
        positions = self._asking(database, "SELECT audience, epoch, head FROM clinic_payments_feed")
        self._targets[name] = Target(name, processes, numbers, SITE_PATH, positions=positions)
        return self._targets[name]

    def _make_site(self) -> None:
        self.fill_site("site", "--payments", str(self.payments))
        numbers = Numbers(self.payments)
        for server in ("uvicorn", "daphne"):
            self.site_target(server, server, numbers)

    def fill_site(self, database: str, *arguments: str) -> None:
        self.make_database(database)
        site = self.site(f"fill-{database}", database)
        site.make_database()
        site.python("-m", "benchmarks.fill", *arguments, f"--patients={PATIENTS}", f"--staff={STAFF}")

    def _make_usual(self) -> None:
        api = self._api_process()
        self.make_database("usual")
        env = self.settings("usual") | {
            "DJANGO_SETTINGS_MODULE": f"{USUAL}.settings", "STRIPE_API_HOST": f"http://{HOST}:{api.port}",
            "REDIS_URL": self.redis.url.rsplit("/", 1)[0] + "/1",
        }  # fmt: skip
        self._python(env, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0")
        sizes = {"payments": self.peers_payments, "patients": PATIENTS, "staff": STAFF}
        self._python(env, "-m", f"{USUAL}.prepare", *(f"--{name}={size}" for name, size in sizes.items()))
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", f"{USUAL}.asgi:application", "--port", str(port), *UVICORN]
        process = Process("usual", command, port, self.folder / "usual.log", env, cwd=ROOT)
        self._targets["usual"] = Target(
            "usual", [process], Numbers(self.peers_payments), "/ws/payments/", f"/stripe/webhook/{ENDPOINT}/",
            hello='"t": "hello"',
        )  # fmt: skip

    def _api_process(self) -> Process:
        port = free_port()
        command = [sys.executable, "-m", f"{USUAL}.stripe_api", str(port)]
        process = Process("stripe-api", command, port, self.folder / "stripe-api.log", {}, cwd=ROOT)
        self._others.append(process)
        process.start()
        return process

    def _python(self, env: dict[str, str], *arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **env}, check=True)

    def _make_node(self) -> None:
        folder, url = install_node_packages(), self.make_database("node")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SCHEMA.read_text())
            fill_node(connection, self.peers_payments)
        port = free_port()
        env = self.settings("node") | {"PORT": str(port), "STRIPE_API_KEY": events.API_KEY, "NODE_ENV": "production"}
        process = Process("node", ["node", str(folder / "server.js")], port, self.folder / "node.log", env, cwd=folder)
        self._targets["node"] = Target(
            "node", [process], Numbers(self.peers_payments), NODE_PATH, marker='"payment_id":"', hello='"hello"',
            engine_io=True, positions=self._asking("node", "SELECT audience, '', head FROM feeds"),
        )  # fmt: skip

    def _make_floor(self) -> None:
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.floor", str(port), self.redis.url, str(FRAME)]
        process = Process("floor", command, port, self.folder / "floor.log", {}, cwd=ROOT)
        self._targets["floor"] = Target("floor", [process], Numbers(10**9), "/", marker='"payment_id": "')

    def _asking(self, database: str, query: str) -> Callable[[], dict[str, tuple[str, int]]]:
        def positions() -> dict[str, tuple[str, int]]:
            with psycopg.connect(self.postgres.database_url(database)) as connection:
                return {audience: (epoch, head) for audience, epoch, head in connection.execute(query)}

        return positions
