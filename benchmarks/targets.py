"""The servers that the benchmark measures: starts their processes, and makes the WebSocket and webhook requests."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from benchmarks import events, load
from payments_site.demo.process import HOST, Process

STAFF, PATIENTS = 60, 2000  # people with a session; staff are numbers 1 to STAFF, patients follow
SOCKETS_EACH = 20  # sockets of one person, the site's limit
FIRST_FRESH = 12_000  # payments with lower numbers belong to the block `browser`
WEBHOOK = "/stripe/webhook/"
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Origin: http://{host}\r\nCookie: sessionid={session}\r\n\r\n"
)


class Numbers:
    """Hands out payment numbers up to `last`, each only once, so that each event is the first about its payment."""

    def __init__(self, last: int, first: int = FIRST_FRESH) -> None:
        self._next, self._last = itertools.count(first), last

    def take(self, count: int) -> list[int]:
        taken = list(itertools.islice(self._next, count))
        if taken[-1] > self._last:
            raise ValueError(f"all {self._last} payments are used up")
        return taken


@dataclass
class Target:
    """A server to measure, with one or more processes.

    `positions()` maps each audience, such as "staff", to the epoch of its feed (its list of changes) and the number of
    the newest entry in it.
    """

    name: str
    processes: list[Process]
    numbers: Numbers
    socket_path: str
    webhook: str = WEBHOOK
    marker: str = 'data-payment=\\"'
    hello: str = '"t":"hello"'
    engine_io: bool = False
    positions: Callable[[], dict[str, tuple[str, int]]] = field(default=dict)

    @property
    def ports(self) -> list[int]:
        return [process.port for process in self.processes]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.ports[0]}"

    def up(self) -> None:
        for process in self.processes:
            if not process.running:
                process.spawn()
        for process in self.processes:
            process.wait_until_listening(60)

    def restart(self) -> None:
        self.stop()
        self.up()

    def stop(self) -> None:
        for process in self.processes:
            process.stop()

    def staff_pages(self, count: int) -> list[load.Page]:
        return self._pages([1 + number // SOCKETS_EACH % STAFF for number in range(count)])

    def patient_pages(self, count: int, *, counts: bool = False) -> list[load.Page]:
        return self._pages([STAFF + 1 + number % PATIENTS for number in range(count)], counts=counts)

    def _pages(self, people: list[int], *, counts: bool = True) -> list[load.Page]:
        at = self.positions()
        return [self._page(person, port, at, counts) for person, port in zip(people, self._in_turn(), strict=False)]

    def position(self, audience: str) -> tuple[str, int]:
        """Return the epoch of the audience's feed (list of changes), and the number of its newest entry."""
        return self.positions()[audience]

    def _in_turn(self) -> Iterator[int]:
        return itertools.cycle(self.ports)

    def _page(self, person: int, port: int, positions: dict[str, tuple[str, int]], counts: bool) -> load.Page:
        audience = "staff" if person <= STAFF else f"patient.{person}"
        epoch, after = positions.get(audience, ("", 0))
        path = self.socket_path.format(epoch=epoch, after=after, audience=audience)
        host = f"{HOST}:{self.ports[0]}"  # all processes of a site share its public name
        handshake = HANDSHAKE.format(path=path, host=host, session=events.session_key(person))
        return load.Page(port, handshake.encode(), counts)

    def posts(self, count: int) -> list[events.Post]:
        return (
            [events.post(number, self.webhook, self.ports[0]) for number in self.numbers.take(count)] if count else []
        )

    def client(
        self, pages: list[load.Page], posts: list[events.Post], **options: float
    ) -> AbstractContextManager[load.Client]:
        return load.client(
            pages, posts, ports=self.ports, marker=self.marker, hello=self.hello, engine_io=self.engine_io, **options
        )
