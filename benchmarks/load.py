"""Builds and runs the load client, a C program that opens sockets, posts events and prints its measurements as JSON."""

import json
import math
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.events import Post

FOLDER = Path(__file__).parent / "load"
CACHE = Path(__file__).parents[1] / ".tools" / "bench"


class LoadError(Exception):
    """The load client could not be built, or its run does not count as a measurement."""


@dataclass(frozen=True, slots=True)
class Page:
    """A WebSocket to open by sending `handshake` to `port`. If `counts` is false, its frames are not measured."""

    port: int
    handshake: bytes
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to one posted event. Times are seconds since the client began, or 0 if it didn't happen.

    `first` and `last` are when the first and the last socket got its frame, and `received` is how many sockets did.
    `status` is the HTTP status of the server's answer.
    """

    due: float
    posted: float
    answered: float
    first: float
    last: float
    received: int
    status: int


class Run:
    """The measurements of one run of the load client."""

    def __init__(self, answer: dict[str, Any], counted: int) -> None:
        self.events = [Event(*values) for values in answer["events"]]
        self.seconds, self.messages = answer["seconds"], answer["messages"]
        self.closed, self.attempts, self.ready, self.codes = (
            answer[name] for name in ("closed", "attempts", "ready", "codes")
        )
        self.client_share = answer["cpu"] / max(answer["seconds"], 1e-6)
        self.counted = counted

    @property
    def lost(self) -> int:
        return len(self.events) * self.counted - int(self.messages)

    @property
    def refused(self) -> int:
        return sum(event.status != 200 for event in self.events)

    def delays(self, *, skip: int = 0) -> list[float]:
        """Return for each event the milliseconds from the time it was due until the last socket received its frame.

        The first `skip` events, and events that some socket did not receive, are left out.
        """
        return [(event.last - event.due) * 1000 for event in self.events[skip:] if event.received >= self.counted]

    def span(self) -> float:
        """Return the seconds from the first POST to the last frame or HTTP response."""
        end = max(max(event.last, event.answered) for event in self.events)
        return end - min(event.posted for event in self.events)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which the fraction `share` (0 to 1) of `values` lies, or NaN if `values` is empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


def build() -> Path:
    """Compile the load client if its source is newer, and return the program's path. Needs a C compiler."""
    program = CACHE / "load"
    sources = sorted(FOLDER.glob("*.c"))
    if program.exists() and program.stat().st_mtime > max(path.stat().st_mtime for path in FOLDER.iterdir()):
        return program
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise LoadError("no C compiler for the load client: apt-get install gcc libc6-dev")
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run([compiler, "-O2", "-o", str(program), *map(str, sources)], check=True)
    return program


def write_events(path: Path, posts: Iterable[Post]) -> None:
    with path.open("wb") as file:
        for post in posts:
            file.write(struct.pack("=I", len(post.request)) + post.key.encode() + post.request)


def write_pages(path: Path, pages: Iterable[Page]) -> None:
    with path.open("wb") as file:
        for page in pages:
            file.write(struct.pack("=III", page.port, page.counts, len(page.handshake)) + page.handshake)


class Client:
    """A running load client whose sockets are all open; `go()` posts the events and returns the measurements."""

    def __init__(self, child: subprocess.Popen[str], pages: Sequence[Page]) -> None:
        self._child, self._counted = child, sum(page.counts for page in pages)
        opened = self._line()
        self.connect_seconds = opened["seconds"]
        if opened["ready"] < len(pages):
            why = f"HTTP and close codes: {opened['codes']}"
            raise LoadError(f"{opened['ready']} of {len(pages)} sockets opened in {self.connect_seconds:.0f} s; {why}")

    def go(self) -> Run:
        self._child.stdin.write("go\n")  # type: ignore[union-attr]
        self._child.stdin.flush()  # type: ignore[union-attr]
        return Run(self._line(), self._counted)

    def _line(self) -> dict[str, Any]:
        line = self._child.stdout.readline()  # type: ignore[union-attr]
        answer = json.loads(line) if line.strip() else {}
        if not answer:
            raise LoadError("the load client ended early")
        return dict(answer)


@contextmanager
def client(
    pages: Sequence[Page], posts: Sequence[Post], *, ports: Sequence[int], marker: str, hello: str, **options: float
) -> Iterator[Client]:
    """Yield a load client whose WebSockets are open, and stop this client after the `with` block.

    The client posts the webhook requests `posts`. `hello` is a text in the first frame that a server sends. `marker` is
    the text before the payment's id in a frame about an event. The options are:
    - conns: the number of connections that post events, to each of `ports` in turn
    - wait=1: post an event only after all sockets received the previous event's frame
    - rate: events per second
    - idle: seconds without a frame after which the run ends
    - patience: the run's longest duration in seconds
    - cut=1: first drop all sockets, and reopen each after delay_least to delay_most seconds, at_once of them at a time
    - engine_io=1: the sockets speak Engine.IO
    """
    program = build()
    with tempfile.TemporaryDirectory(prefix="bench-load-") as folder:
        events, sockets = Path(folder) / "events", Path(folder) / "sockets"
        write_events(events, posts)
        write_pages(sockets, pages)
        words = [f"{name}={value:g}" for name, value in options.items()]
        words += [f"events={events}", f"sockets={sockets}", f"marker={marker}", f"hello={hello}"]
        words.append(f"ports={','.join(map(str, ports))}")
        child = subprocess.Popen(
            [str(program), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True
        )
        try:
            yield Client(child, pages)
        finally:
            child.kill()
            child.wait()
            child.stdin.close()  # type: ignore[union-attr]
            child.stdout.close()  # type: ignore[union-attr]
