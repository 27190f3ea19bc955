import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from payments_site.demo.process import HOST, Process, ProcessDied, free_port


def web_server(folder: Path) -> Process:
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", HOST, "--directory", str(folder)]
    return Process("files", command, port, folder / "files.log", {"PYTHONUNBUFFERED": "1"})


def status(process: Process) -> int:
    with urllib.request.urlopen(f"http://{HOST}:{process.port}/", timeout=60) as response:
        return int(response.status)


def test_a_killed_process_starts_again_on_its_port(tmp_path: Path) -> None:
    process = web_server(tmp_path)
    process.start()
    assert status(process) == 200
    process.kill()
    assert not process.running
    process.start()
    assert status(process) == 200
    process.stop()
    assert not process.running


def test_a_frozen_process_holds_its_port_and_answers_later(tmp_path: Path) -> None:
    process = web_server(tmp_path)
    process.start()
    process.freeze()
    with socket.create_connection((HOST, process.port), timeout=0.2) as silent:
        silent.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            silent.recv(1)
    process.thaw()
    assert status(process) == 200
    process.freeze()
    process.stop()
    assert not process.running


def test_the_log_of_a_process_that_dies_is_in_the_error(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such clinic')"]
    with pytest.raises(ProcessDied, match="no such clinic"):
        Process("broken", command, free_port(), tmp_path / "log", {}).start()


def test_a_taken_port_gives_the_next_one() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) > port


def test_a_free_port_is_given_once_even_while_nobody_listens_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr("random.randrange", lambda *_: port)
    assert free_port() > port
