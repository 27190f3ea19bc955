"""A Django project in a temporary folder, to which docs/in-your-project.md is applied."""

import json
import os
import re
import runpy
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from payments_site.demo.process import HOST, Process, free_port
from payments_site.demo.site import ROOT
from tests.docs.page import Block, follow, marked, read_blocks, take, without
from tests.waits import PATIENCE

PAGE = (ROOT / "docs/in-your-project.md").read_text()
APPS = ("people", "appointments", "payments", "stripe_sandbox")  # what the project installs of this repository
NEW, WITH_USERS = "new project", "project with users"
INSTALL, STRIPE = "install", "stripe"  # only where the project has an environment of its own
ELSEWHERE, TERMINALS = "elsewhere", "terminals"  # what needs other machines; commands that don't end
take("docs/in-your-project.md", but=(ELSEWHERE,))


class HostProject:
    """A project called mysite, made by `django-admin startproject`, with free ports instead of those on the page.

    It runs with this checkout's packages and apps, or, with `installs`, with what the page installs into an environment
    of its own, from the package index.
    """

    def __init__(self, folder: Path, *, installs: bool = False) -> None:
        self.folder, self.apps = folder / "host", folder / "apps"
        self.folder.mkdir()
        self.python = str(make_environment(folder / "venv") if installs else sys.executable)
        if not installs:
            self.apps.mkdir()
            for name in APPS:
                (self.apps / name).symlink_to(ROOT / name)
        self.site_port, self.sandbox_port = free_port(), free_port()
        self.url, self.sandbox_url = f"http://{HOST}:{self.site_port}", f"http://{HOST}:{self.sandbox_port}"
        self.prefix = ""  # that the server's paths begin with
        self.env = {
            **os.environ,
            "PATH": f"{Path(self.python).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.apps),
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "PYTHONUNBUFFERED": "1",
        }
        self.processes: dict[str, Process] = {}
        command = [self.python, "-m", "django", "startproject", "mysite", "."]
        subprocess.run(command, cwd=self.folder, env=self.env | {"DJANGO_SETTINGS_MODULE": ""}, check=True)
        if installs:
            blocks = self.blocks(marked(PAGE, INSTALL).replace("<this repository>", str(ROOT)))
            follow(blocks, self.folder, self.env)

    def manage(self, *arguments: str) -> str:
        """Run manage.py and return what it prints. Raises CalledProcessError if it fails."""
        command = [self.python, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.env, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def write(self, path: str, text: str, *, at_end: bool = False) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text((f"{file.read_text()}\n" if at_end else "") + text)

    def mount_below(self, prefix: str) -> None:
        """Let the server's paths begin with `prefix`, as behind a proxy that passes paths unchanged."""
        self.write("mysite/settings.py", f"FORCE_SCRIPT_NAME = {prefix!r}\n", at_end=True)
        self.prefix = prefix
        self.url += prefix

    def follow(self, variant: str) -> None:
        """Do what the page says to a project of this variant, NEW or WITH_USERS; start what runs in terminals."""
        other = NEW if variant == WITH_USERS else WITH_USERS
        follow(self.blocks(without(PAGE, other, INSTALL, STRIPE, ELSEWHERE, TERMINALS)), self.folder, self.env)
        [terminals] = self.blocks(marked(PAGE, TERMINALS))
        for command in terminals.text.splitlines():
            self._spawn(command.split())
        for process in self.processes.values():
            if process.port:
                process.wait_until_listening()

    def blocks(self, text: str) -> list[Block]:
        """Return the blocks in a part of the page, with this project's ports and prefix."""
        text = text.replace("8000/", f"{self.site_port}{self.prefix}/").replace("8000", str(self.site_port))
        text = text.replace("4243", str(self.sandbox_port))
        return read_blocks(text)

    def _spawn(self, command: list[str]) -> None:
        name = command[2]  # `python manage.py NAME` or `python -m NAME`
        port = {"runserver": self.site_port, "stripe_sandbox": self.sandbox_port}.get(name, 0)
        listen = [str(port), "--noreload"] if name == "runserver" else []  # a reloader's child would outlive the test
        log = self.folder / f"{name}.log"
        process = Process(name, [self.python, *command[1:], *listen], port, log, self.env, cwd=self.folder)
        process.spawn()
        self.processes[name] = process

    def at_stripe(self, action: str, **body: Any) -> None:
        """Make something happen at the sandbox, as at Stripe: post `body` to /_sandbox/<action>."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.sandbox_url}/_sandbox/{action}", json.dumps(body).encode(), headers)
        urllib.request.urlopen(request, timeout=PATIENCE).close()

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()


def make_environment(folder: Path) -> Path:
    """Make a virtual environment with pip, Django, and what the page says the sandbox needs; return its Python."""
    uv = runpy.run_path(str(ROOT / "run"))["uv"]()
    subprocess.run([uv, "venv", "-q", "--seed", "-p", sys.executable, folder], check=True)
    python = folder / "bin/python"
    [packages] = re.findall(r"`pip install ([\w ]+)`", PAGE)
    subprocess.run([python, "-m", "pip", "install", "-q", "django~=5.2.0", *packages.split()], check=True)
    return python
