"""A fresh site for one test: its own database, Stripe sandbox and daphne, on ports of its own."""

from collections.abc import Sequence
from pathlib import Path

from payments_site.demo.process import Process, free_port
from payments_site.demo.site import Site


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

    def kill(self) -> None:
        """kill -9 the web servers; the sandbox lives on, as Stripe does."""
        for server in (self.server, *self.others):
            server.kill()

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()
