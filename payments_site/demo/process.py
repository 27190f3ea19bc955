"""A child process that listens on a port of its own and writes to a log of its own."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


class ProcessDied(Exception):
    """The process ended, or never listened; the message holds the end of its log."""


_reserved: list[socket.socket] = []


def free_port(preferred: int = 0) -> int:
    """Return the preferred port or the next free one; 0 takes any below the range that outgoing connections use.

    A port that was taken for 0 is reserved until this process ends: a socket stays bound to it without listening,
    which keeps out whoever looks for a free port, and lets a server in that sets SO_REUSEADDR, as servers do.
    """
    start = preferred or random.randrange(20_000, 31_000)  # noqa: S311 no secret
    for port in range(start, start + 1000):
        probe = socket.socket()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, bool(preferred))
        try:
            probe.bind((HOST, port))
        except OSError:
            probe.close()
            continue
        if preferred:
            probe.close()
        else:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _reserved.append(probe)
        return port
    raise OSError(f"no free port on {HOST} from {start} to {start + 999}")


def free_ports(first: int = 0) -> Iterator[int]:
    """Each another one."""
    while True:
        yield (port := free_port(first))
        first = first and port + 1


class Process:
    """Start, stop, kill, freeze and start again; the same port each time.

    `options` go to subprocess.Popen (cwd, user, group).
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], port: int, log: Path, env: Mapping[str, str], **options: Any
    ) -> None:
        self.name, self.command, self.port, self.log_path = name, command, port, log
        self.env, self.options = dict(env), options
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._child is None:
            raise ProcessDied(f"{self.name} was not started")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def spawn(self) -> None:
        """Start without waiting. Its own session: Ctrl-C reaches the launcher alone, which stops all in order."""
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(
                self.command,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self.options,
            )

    def wait_until_listening(self, seconds: float = 60) -> None:
        """Raises ProcessDied when the port does not answer in time."""
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
        """Ask it to end, and kill it when it hasn't after these seconds."""
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
        """kill -9: no goodbye, no flush."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def freeze(self) -> None:
        """SIGSTOP: the process answers nothing while its sockets stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.log().splitlines()[-lines:])
