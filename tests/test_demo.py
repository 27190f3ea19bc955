"""./run demo as a person runs it."""

import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from payments_site.demo.process import HOST
from payments_site.demo.site import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.faults]


@contextmanager
def demo(folder: Path, *arguments: str, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The running launcher and its banner: the rest of each line by the line's first word."""
    command = [str(ROOT / "run"), "demo", "--port", str(port), "--folder", str(folder), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as launcher:
        assert launcher.stdout
        banner: dict[str, str] = {}
        try:
            for line in launcher.stdout:
                word, _, rest = line.strip().partition(" ")
                banner[word] = rest
                if word == "logs":
                    break
            yield launcher, banner
        finally:
            launcher.send_signal(signal.SIGINT)
            launcher.wait(20)


def status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as response:
        return int(response.status)


def is_listening(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, int(url.rsplit(":", 1)[1]))) == 0


def child_of(pid: int, name: str) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    [found] = [child for child in children if name in Path(f"/proc/{child}/cmdline").read_text().split("\0")]
    return int(found)


def test_the_demo_starts_keeps_its_data_and_stops_cleanly(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with demo(folder) as (launcher, banner):
        assert status(f"{banner['site']}/login/") == 200
        assert is_listening(banner["sandbox"])
        assert re.fullmatch(r"\S+ \S+ \S.*", banner["login"])
    assert launcher.returncode == 0
    assert not is_listening(banner["site"])
    assert not is_listening(banner["sandbox"])
    kept = (folder / "logins.txt").read_bytes(), (folder / "secrets.env").read_bytes()

    with demo(folder) as (launcher, again):
        assert again["login"] == banner["login"]
        second = subprocess.run([ROOT / "run", "demo", "--folder", folder], capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert "one is running" in second.stderr
    assert ((folder / "logins.txt").read_bytes(), (folder / "secrets.env").read_bytes()) == kept


def test_a_taken_port_gives_the_next_one_and_a_dead_process_ends_the_demo_with_its_log(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with demo(tmp_path / "demo", port=port) as (launcher, banner):
            assert int(banner["site"].rsplit(":", 1)[1]) > port
            os.kill(child_of(launcher.pid, "stripe_sandbox"), signal.SIGKILL)
            output = launcher.communicate(timeout=20)[0]
    assert launcher.returncode == 1
    assert "sandbox ended. The end of" in output
    assert not is_listening(banner["site"])


def test_a_demo_of_another_schema_starts_from_fresh_data(tmp_path: Path) -> None:
    (tmp_path / "schema").write_text("an older one")
    (tmp_path / "logins.txt").write_text("login old old patient\n")
    (tmp_path / "db.sqlite3").write_text("not a database")
    with demo(tmp_path) as (_, banner):
        assert status(f"{banner['site']}/login/") == 200
        assert banner["login"] != "old old patient"
