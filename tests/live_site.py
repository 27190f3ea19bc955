"""A fresh site for one test: its own database, Stripe sandbox and daphne, on ports of its own."""

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from payments_site.demo.process import Process, free_port
from payments_site.demo.site import Site
from tests.waits import PATIENCE


class LiveSite(Site):
    """What `./run demo` starts, without sample data.

    `server` and `sandbox` are processes to kill, freeze and start again: `site.server.kill()`, `site.server.start()`.
    """

    def __init__(self, folder: Path, sandbox_options: Sequence[str] = (), **settings: str) -> None:
        super().__init__(folder, free_port(), free_port(), sandbox_options, **settings)
        self.others: list[Process] = []

    @property
    def processes(self) -> list[Process]:
        return [self.sandbox, self.server, *self.others]

    def start_another_server(self) -> str:
        """URL of one more daphne on the same database (give the site PostgreSQL and Redis)."""
        port = free_port()
        server = self.new_server(f"web-{len(self.others) + 2}", port)
        self.others.append(server)
        server.start()
        return f"http://127.0.0.1:{port}"

    def at_stripe(self, action: str, **body: Any) -> dict[str, Any]:
        """POST /_sandbox/<action>: what people, banks and the network do there."""
        return self._ask_sandbox(action, json.dumps(body).encode())

    def deliveries(self) -> list[dict[str, Any]]:
        """Every webhook so far, newest first."""
        return list(self._ask_sandbox("deliveries?limit=5000")["data"])

    def _ask_sandbox(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        address = f"{self.sandbox_url}/_sandbox/{path}"
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            answered: dict[str, Any] = json.load(answer)
        return answered

    def kill(self) -> None:
        """kill -9 the web servers; the sandbox lives on, as Stripe does."""
        for server in (self.server, *self.others):
            server.kill()

    def stop(self) -> None:
        """kill -9 everything: nobody waits for its goodbyes."""
        for process in self.processes:
            process.kill()
