"""A Django project in a temporary folder, to which docs/in-your-project.md is applied, block by block."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from payments_site.demo.process import HOST, Process, free_port
from payments_site.demo.site import ROOT
from tests.waits import PATIENCE

PAGE = ROOT / "docs/in-your-project.md"
APPS = ("people", "appointments", "payments")  # what the wheel would install of this repository
BLOCK = re.compile(
    r"^### (?P<heading>[^\n]*)$|^## |^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
FILE = re.compile(r"^(?:# |\{# )(?P<path>\S+/\S+\.\w+)(?P<at_end>, at the end)?(?: #\})?$")
NEW, WITH_USERS = "A new project", "A project that has users"
# First lines of the blocks that no test can follow: they fetch from elsewhere, or need an account at Stripe.
LEFT_OUT = (
    "# in the folder above your project",
    "stripe listen --forward-to http://127.0.0.1:8000/clinic/stripe/webhook/",
    "# mysite/settings.py, instead of the lines for the sandbox",
)


class Block(NamedTuple):
    """A block of code of the page. `heading` is that of its subsection, or "" if it is in none."""

    heading: str
    language: str
    text: str

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]


def blocks() -> Iterator[Block]:
    heading = ""
    for found in BLOCK.finditer(PAGE.read_text()):
        if text := found["text"]:
            yield Block(heading, found["language"], text)
        else:
            heading = found["heading"] or ""


class HostProject:
    """A project called mysite, made by `django-admin startproject`, with free ports instead of those on the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "host"
        self.folder.mkdir()
        self.ports = {"8000": str(free_port()), "4243": str(free_port())}
        self.url, self.sandbox_url = (f"http://{HOST}:{port}" for port in self.ports.values())
        self.processes: list[Process] = []
        self.options: list[str] = []  # of `migrate`
        apps = folder / "apps"
        apps.mkdir()
        for name in (*APPS, "stripe_sandbox"):
            (apps / name).symlink_to(ROOT / name)
        self.env = {"PYTHONPATH": str(apps), "DJANGO_SETTINGS_MODULE": "mysite.settings", "PYTHONUNBUFFERED": "1"}
        self.run("-m", "django", "startproject", "mysite", ".", DJANGO_SETTINGS_MODULE="")

    def run(self, *arguments: str, typed: str = "", **env: str) -> str:
        """Run Python in the project's folder and return what it prints. `typed` is its input."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder, env={**os.environ, **self.env, **env}, input=typed, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def make_quick(self) -> None:
        """Make dj-stripe's tables from its models, because its own migrations take a minute on SQLite."""
        self.write("mysite/settings.py", 'MIGRATION_MODULES = {"djstripe": None}\n', at_end=True)
        self.options = ["--run-syncdb"]

    def mount_below(self, prefix: str) -> None:
        """Let the server's paths begin with `prefix`, as behind a proxy that passes paths unchanged."""
        self.write("mysite/settings.py", f"FORCE_SCRIPT_NAME = {prefix!r}\n", at_end=True)
        self.url += prefix
        self.ports["8000/"] = f"{self.ports['8000']}{prefix}/"

    def write(self, path: str, text: str, *, at_end: bool = False) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text((file.read_text() + "\n" if at_end else "") + text)

    def follow(self, variant: str) -> None:
        """Do what the page says, for a project of this variant: NEW or WITH_USERS."""
        for block in blocks():
            if block.heading in ("", variant) and block.first_line not in LEFT_OUT:
                self._follow(block)

    def _follow(self, block: Block) -> None:
        text = re.sub("8000/?|4243", self._on_free_port, block.text)
        if file := FILE.match(block.first_line):
            if self.keeps(file["path"]):
                return
            self.write(file["path"], text, at_end=bool(file["at_end"]))
        elif block.language == "python":
            assert block.first_line == "# python manage.py shell"
            self.run("manage.py", "shell", typed=text)
        else:
            assert block.language == "sh", block
            commands = [line.split()[1:] for line in text.splitlines() if not line.startswith("#")]
            for command in commands:
                if "terminal" in block.first_line:
                    self._start(command)
                else:
                    self.run(*command, *(self.options if command[1] == "migrate" else []))

    def _on_free_port(self, found: re.Match[str]) -> str:
        return self.ports.get(found[0]) or self.ports[found[0].rstrip("/")] + "/"

    def keeps(self, path: str) -> bool:
        """Return whether the project has its own layout, which the page's example doesn't replace."""
        return path == "templates/base.html" and (self.folder / path).exists()

    def _start(self, command: list[str]) -> None:
        name, port = command[1], 0  # `manage.py runserver`, `-m stripe_sandbox`
        if name == "runserver":
            command, port = [*command, self.ports["8000"]], int(self.ports["8000"])
        elif name == "stripe_sandbox":
            port = int(self.ports["4243"])
        log = self.folder / f"{name}.log"
        process = Process(name, [sys.executable, *command], port, log, self.env, cwd=self.folder)
        process.spawn()
        self.processes.append(process)

    def wait_until_listening(self) -> None:
        for process in self.processes:
            if process.port:
                process.wait_until_listening()

    def log(self, name: str) -> str:
        return next(process.log() for process in self.processes if process.name == name)

    def at_stripe(self, action: str, **body: Any) -> None:
        """Make something happen at the sandbox, as at Stripe: post `body` to /_sandbox/<action>."""
        address, headers = f"{self.sandbox_url}/_sandbox/{action}", {"Content-Type": "application/json"}
        urllib.request.urlopen(
            urllib.request.Request(address, json.dumps(body).encode(), headers), timeout=PATIENCE
        ).close()

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
