"""Tests that a program that starts by fork differs from one that Python starts only in what is loaded."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from payments_site.demo.site import ROOT, Site
from tests import forked

SHELL = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
LOOK = """
import atexit, json, os, signal, sys, threading
OURS = ["payments", "payments_site", "people", "accounts", "appointments", "integrations", "stripe_sandbox"]
found = {
    "ours": [name for name in sys.modules if name.partition(".")[0] in OURS],
    "name": __name__, "arguments": sys.argv, "path": sys.path[0], "folder": os.getcwd(), "input": sys.stdin.read(),
    "environment": {name: value for name, value in os.environ.items() if name != "_"},
    "session": os.getsid(0) == os.getpid(), "threads": threading.active_count(),
    "files": os.listdir("/dev/fd"),
    "signals": [str(signal.getsignal(each)) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
}
atexit.register(print, "at the end")
print(json.dumps(found))
"""
LOOK_AT_SITE = """
import django, json, logging, os, stripe, threading, time
from django.conf import settings
from django.contrib import admin
from django.core.cache import caches
from django.core.files.storage import storages
from django.core.mail import get_connection
from django.db import connection
from django.test import Client
from django.utils.translation import get_language
from channels.layers import get_channel_layer

django.setup()
root = logging.getLogger()
found = {
    "settings": {name: getattr(settings, name) for name in dir(settings) if name.isupper()},
    "environment": {name: value for name, value in os.environ.items() if name != "_"},
    "database": connection.settings_dict,
    "channels": type(get_channel_layer()),
    "others": [type(caches["default"]), type(storages["staticfiles"]), type(get_connection())],
    "logs": [root.level, *(type(each.formatter) for each in root.handlers)],
    "language": get_language(), "time zone": time.tzname, "header": admin.site.site_header, "stripe": stripe.api_base,
    "threads": threading.active_count(),
    "answer": sorted(Client(headers={"host": settings.ALLOWED_HOSTS[0]}).get("/livez").headers),
}
print(json.dumps(found, default=str))
"""
# Environment variables of sites, which differ in what they begin to use while they load.
SITES: dict[str, dict[str, str]] = {
    "large": {
        "DATABASE_URL": "postgres://somebody@127.0.0.1:1/clinic?sslmode=require",
        "REDIS_URL": "redis://127.0.0.1:1/3",
        "STATIC_FROM_SOURCE": "0",
    },
    "public, in English": {
        "SITE_URL": "https://pay.example",
        "ALLOWED_HOSTS": "pay.example",
        "STRIPE_LIVE_MODE": "1",
        "LANGUAGE_CODE": "en",
        "TIME_ZONE": "America/Montreal",
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "ERROR",
    },
}
ENDS = ["", "raise SystemExit(3)", "raise SystemExit('no such clinic')", "1 / 0", "import os; os.kill(os.getpid(), 9)"]


@pytest.mark.parametrize("start", ["-c", "-m", "file"])
def test_a_program_finds_the_same_as_when_python_starts_it(start: str, tmp_path: Path) -> None:
    (tmp_path / "look.py").write_text(LOOK)
    words = {"-c": ["-c", LOOK], "-m": ["-m", "look"], "file": ["look.py"]}[start]
    command = [sys.executable, *words, "--option", "é"]
    environment = SHELL
    plain = subprocess.run(
        command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        check=True, start_new_session=True,
    ).stdout  # fmt: skip
    found = forked.output(command, cwd=tmp_path, env=environment)
    assert found == plain
    assert json.loads(found.splitlines()[0])["ours"] == []


@pytest.mark.parametrize("kind", SITES)
def test_a_site_s_program_finds_the_same_as_when_python_starts_it(kind: str, tmp_path: Path) -> None:
    environment = {**SHELL, **Site(tmp_path, 1, 1).settings, **SITES[kind]}
    command = [sys.executable, "-c", LOOK_AT_SITE]
    plain = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert json.loads(forked.output(command, cwd=ROOT, env=environment)) == json.loads(plain)
    assert forked.agrees_with_site(ROOT, environment)
    assert not forked.agrees_with_site(ROOT, environment | {"CLINIC_NAME": "Clinique du Parc"})
    assert not forked.agrees_with_site(tmp_path, environment)


def test_no_setting_and_no_reactor_is_loaded_before_a_program_starts() -> None:
    look = """
import sys
from django.conf import settings
print(settings.configured, "twisted.internet.reactor" in sys.modules)
"""
    assert forked.output([sys.executable, "-c", look], cwd=ROOT, env=os.environ) == "False False\n"


@pytest.mark.parametrize("code", ENDS)
def test_a_program_ends_with_the_same_status_as_when_python_starts_it(code: str) -> None:
    command = [sys.executable, "-c", code]
    program = forked.Forked(command, cwd=ROOT, env={}, stdout=1, stderr=2)
    assert program.wait(60) == subprocess.run(command, check=False).returncode
    assert program.poll() == program.returncode
    program.kill()  # does nothing: the process is gone


def test_a_program_that_runs_is_waited_for_stopped_and_killed() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    for end, status in ((signal.SIGTERM, -15), (signal.SIGKILL, -9)):
        program = forked.Forked(command, cwd=ROOT, env={}, stdout=1, stderr=2)
        assert program.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(0.01)
        program.send_signal(end)
        assert program.wait(60) == status
