"""Child processes with their own ports and log files, and a search for free ports."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

HOST = "127.0.0.1"


class ProcessDied(Exception):
    """A child process ended or did not listen in time; the message contains the end of the process's log."""


class Child(Protocol):
    """The part of subprocess.Popen that `Process` uses."""

    pid: int
    returncode: int | Any  # None, which typeshed writes so, while the process runs

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


_reserved: list[socket.socket] = []


def free_port(preferred: int = 0) -> int:
    """Return the first free port from `preferred` upwards, or a free port above 20,000 if `preferred` is 0.

    With 0, the port stays reserved until this process ends, by a bound socket that doesn't listen. Other searches skip
    the port, but a server with SO_REUSEADDR can still listen on it.
    """
    start = preferred or random.randrange(20_000, 31_000)  # noqa: S311 - the number is no secret
    for port in range(start, start + 1000):
        candidate = socket.socket()
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, bool(preferred))
        try:
            candidate.bind((HOST, port))
        except OSError:
            candidate.close()
            continue
        if preferred:
            candidate.close()
        else:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _reserved.append(candidate)
        return port
    raise OSError(f"no free port on {HOST} from {start} to {start + 999}")


def free_ports(first: int = 0) -> Iterator[int]:
    """Yield any number of different free ports, from `first` upwards or, if `first` is 0, at random."""
    while True:
        yield (port := free_port(first))
        first = first and port + 1


class Process:
    """A child process that can be started, stopped, killed, frozen, and started again on its port.

    `options` are passed to subprocess.Popen, for example cwd, user and group.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], port: int, log: Path, env: Mapping[str, str], **options: Any
    ) -> None:
        self.name, self.command, self.port, self.log_path = name, command, port, log
        self.env, self.options = dict(env), options
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        if self._child is None:
            raise ProcessDied(f"{self.name} was not started")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def spawn(self) -> None:
        """Start the process in its own terminal session, and return at once.

        Ctrl-C therefore reaches only this program, which then stops all its processes in order.
        """
        with self.log_path.open("ab") as log:
            self._child = self._launch(log)

    def _launch(self, log: BinaryIO) -> Child:
        return subprocess.Popen(
            self.command,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **self.options,
        )

    def wait_until_listening(self, seconds: float = 60) -> None:
        """Wait until the port accepts connections.

        After `seconds`, or if the process ends, kill the process and raise ProcessDied.
        """
        deadline = time.monotonic() + seconds
        while self.running and time.monotonic() < deadline:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        what = f"did not listen on port {self.port} within {seconds:g} s" if self.running else "ended"
        self.kill()
        raise ProcessDied(f"{self.name} {what}. The end of {self.log_path}:\n{self.tail()}")

    def start(self) -> None:
        self.spawn()
        self.wait_until_listening()

    def stop(self, seconds: float = 5, sent: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal `sent` to the process, and kill the process if it has not ended after `seconds`."""
        if self._child is None:
            return
        if self.running:
            self._child.send_signal(sent)
            self._child.send_signal(signal.SIGCONT)
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the process with SIGKILL, which leaves the process no chance to clean up."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def freeze(self) -> None:
        """Pause the process with SIGSTOP, so that it answers nothing while its sockets stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.log().splitlines()[-lines:])
