"""The load client: built once from C with the machine's compiler, run beside a target, read as JSON."""

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
    """The load client could not be built, or its run is no measurement."""


@dataclass(frozen=True, slots=True)
class Page:
    """One socket to open: the bytes of its handshake; frames of those that don't count are read and dropped."""

    port: int
    handshake: bytes
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """Times in seconds since the client began, 0 for never; `told` counts the sockets that got the frame."""

    due: float
    posted: float
    answered: float
    first: float
    last: float
    told: int
    status: int


class Told:
    """What came of a run."""

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
        """Milliseconds from when an event was due to when the last socket was told, of events that all heard."""
        return [(event.last - event.due) * 1000 for event in self.events[skip:] if event.told >= self.counted]

    def span(self) -> float:
        """Seconds from the first POST to the last frame or answer."""
        end = max(max(event.last, event.answered) for event in self.events)
        return end - min(event.posted for event in self.events)


def percentile(values: Sequence[float], share: float) -> float:
    """The value at this share of the way up; not a number when there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan


def build() -> Path:
    """The compiled client, made anew when its source is newer."""
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
    """All sockets are open when it exists; `go()` posts the events."""

    def __init__(self, child: subprocess.Popen[str], pages: Sequence[Page]) -> None:
        self._child, self._counted = child, sum(page.counts for page in pages)
        opened = self._line()
        self.connect_seconds = opened["seconds"]
        if opened["ready"] < len(pages):
            why = f"HTTP and close codes: {opened['codes']}"
            raise LoadError(f"{opened['ready']} of {len(pages)} sockets opened in {self.connect_seconds:.0f} s; {why}")

    def go(self) -> Told:
        self._child.stdin.write("go\n")  # type: ignore[union-attr]
        self._child.stdin.flush()  # type: ignore[union-attr]
        return Told(self._line(), self._counted)

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
    """Options: conns, wait, rate, hold, idle, patience, cut, at_once, engine_io, delay_least, delay_most."""
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
