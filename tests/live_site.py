"""A whole site for one test, with its own database, Stripe sandbox, daphne and ports."""

import json
import os
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from payments_site.demo.process import Child, Process, free_port
from payments_site.demo.site import ASGI, Site
from tests import forked
from tests.waits import PATIENCE


def uvicorn_command(port: int, *options: str) -> list[str]:
    """Return the command that serves a site with uvicorn and its sans-I/O WebSockets, as deploy/Dockerfile does."""
    command = [sys.executable, "-m", "uvicorn", ASGI, "--port", str(port), "--lifespan", "off", "--backlog", "2048"]
    websockets = ["--ws", "websockets-sansio", "--ws-per-message-deflate", "false", "--ws-max-size", "65536"]
    return [*command, *websockets, "--no-access-log", "--log-level", "warning", *options]


class LiveSite(Site):
    """The site that `./run demo` starts, without sample data.

    A test can kill, freeze and restart its processes: `site.server.kill()`, `site.sandbox.start()`.
    """

    def __init__(
        self, folder: Path, sandbox_options: Sequence[str] = (), code: str | Path = Site.code, **settings: str
    ) -> None:
        self.code = Path(code)
        super().__init__(folder, free_port(), free_port(), sandbox_options, **settings)
        self.others: list[Process] = []

    @property
    def processes(self) -> list[Process]:
        return [self.sandbox, self.server, *self.others]

    def start_another_server(self) -> str:
        """Start another daphne for this site and return its URL; works only on a site with PostgreSQL and Redis."""
        port = free_port()
        server = self.new_server(f"web-{len(self.others) + 2}", port)
        self.others.append(server)
        server.start()
        return f"http://127.0.0.1:{port}"

    def at_stripe(self, action: str, **body: Any) -> dict[str, Any]:
        """Make something happen at the sandbox, as at Stripe: post `body` to /_sandbox/<action>; return the answer."""
        return self._ask_sandbox(action, json.dumps(body).encode())

    def deliveries(self) -> list[dict[str, Any]]:
        """Return the sandbox's webhook deliveries, newest first, at most 5000."""
        return list(self._ask_sandbox("deliveries?limit=5000")["data"])

    def _ask_sandbox(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        address = f"{self.sandbox_url}/_sandbox/{path}"
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            answered: dict[str, Any] = json.load(answer)
        return answered

    def kill(self) -> None:
        """Kill the web servers, but not the sandbox, because a crash of the site doesn't affect Stripe."""
        for server in (self.server, *self.others):
            server.kill()

    def stop(self) -> None:
        """Kill all processes, because waiting for them to stop would slow the tests down."""
        for process in self.processes:
            process.kill()


class ForkedProcess(Process):
    """A Python program that starts by fork, as tests/forked.py explains."""

    def _launch(self, log: BinaryIO) -> Child:
        env = {**os.environ, **self.env}
        return forked.Forked(self.command, cwd=self.options["cwd"], env=env, stdout=log.fileno(), stderr=log.fileno())


class ForkedSite(LiveSite):
    """A site whose processes and commands start by fork, in a third of the time."""

    process = ForkedProcess

    def python(self, *arguments: str) -> str:
        return forked.output([sys.executable, *arguments], cwd=self.code, env={**os.environ, **self.settings})
