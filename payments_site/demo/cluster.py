"""A site of several web processes behind one port, with its own PostgreSQL and Redis."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from payments_site.demo.front import front
from payments_site.demo.process import Process
from payments_site.demo.services import PostgresServer, RedisServer
from payments_site.demo.site import Site, WatchedSite

RESTART = 5.0  # seconds before a killed process is restarted, so that people see how its pages react


class Cluster(Site):
    """A site with `workers` web processes. The demo restarts them, PostgreSQL and Redis when they are killed.

    Raises NotInstalled if PostgreSQL or Redis is missing, and NotReachable if PostgreSQL's user can't enter the folder.
    """

    def __init__(self, folder: Path, ports: Iterator[int], workers: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port, sandbox_port, redis_port, postgres_port = (next(ports) for _ in range(4))
        self.redis = RedisServer(folder, redis_port)
        self.postgres = PostgresServer(folder / "postgres", postgres_port)
        services = {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url, "WEB_PROCESSES": str(workers)}
        super().__init__(folder, port, sandbox_port, **services)
        self.workers = [self.new_server(f"web-{number}", next(ports)) for number in range(1, workers + 1)]
        self.server = front(folder, port, [worker.port for worker in self.workers])
        self.mortal = [*self.workers, self.redis, self.postgres]

    def make_database(self) -> None:
        self.postgres.start()
        super().make_database()

    def start(self) -> None:
        for service in (self.postgres, self.redis):
            if not service.running:
                service.start()
        for worker in self.workers:
            worker.spawn()
        for worker in self.workers:
            worker.wait_until_listening()
        super().start()

    def stop(self) -> None:
        for process in (self.server, *self.workers, self.sandbox, self.redis, self.postgres):
            process.stop()


def new_site(folder: Path, ports: Iterator[int], workers: int, watch: bool) -> Site:
    """Return a site, not started yet: a Cluster if `workers` is above 1, else a WatchedSite if `watch`, else a Site."""
    if workers > 1:
        return Cluster(folder, ports, workers)
    return (WatchedSite if watch else Site)(folder, next(ports), next(ports))


class Revival:
    """Restarts processes RESTART seconds after they ended."""

    def __init__(self, mortal: Sequence[Process]) -> None:
        self.mortal = mortal
        self._ended_at: dict[Process, float] = {}

    def __call__(self) -> Iterator[str]:
        """Check each process once, restart it RESTART seconds after it ended, and yield lines that say so."""
        for process in self.mortal:
            if process.running:
                continue
            if process not in self._ended_at:
                self._ended_at[process] = time.monotonic()
                yield f"{process.name} {process.pid} died ({process.log_path} says why); it returns in {RESTART:g} s"
            elif time.monotonic() - self._ended_at[process] > RESTART:
                del self._ended_at[process]
                process.spawn()
                yield f"{process.name} returned as {process.pid}"
