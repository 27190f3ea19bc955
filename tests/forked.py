"""Starts Python programs by fork from a process that has already loaded what they import.

Loading Django, Stripe's SDK and this project is most of what a short command computes. There are two such processes:

- One has loaded other people's packages, as far as they need no settings. A program forked from it reads the settings
  and all code of this project after the fork.
- The other has also loaded the site, with the settings in SITE. Programs whose environment agrees with SITE are forked
  from it. Each then reads the settings again, from its own environment.

Nothing else differs from `python ...`: a forked program is a process of its own. Only variables that Python itself
reads when it starts, such as PYTHONPATH, come too late.
"""

import contextlib
import functools
import gc
import importlib
import io
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import reduction
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# What sites, their commands and the sandbox load, as far as it needs no settings. Nothing here imports Twisted's
# reactor, because forked programs would share its files.
PACKAGES = """
    aiohttp.web argon2 autobahn.wamp.websocket babel.numbers babel.units channels.db channels.generic.websocket
    channels.layers channels.security.websocket channels.sessions cryptography.fernet cryptography.hazmat.asn1
    csp.middleware django.conf.urls.i18n django.contrib.admin django.contrib.auth.hashers django.contrib.auth.tokens
    django.contrib.humanize.templatetags.humanize django.contrib.messages.middleware
    django.contrib.sessions.middleware django.contrib.staticfiles.storage django.core.asgi
    django.core.management.commands.shell django.core.management.commands.migrate django.db.backends.postgresql.base
    django.db.backends.sqlite3.base django.middleware.clickjacking django.middleware.common django.middleware.gzip
    django.middleware.locale django.middleware.security django.test django.views.defaults django.views.generic
    django.views.i18n django_htmx.middleware environ fido2.server httpx icalendar jinja2.ext openpyxl
    prometheus_client.core psycopg_pool pydantic.dataclasses pydantic.networks requests rich.console segno
    servestatic.middleware service_identity smtplib sqlparse standardwebhooks.webhooks stripe.checkout
    stripe.entitlements stripe.identity stripe.issuing stripe.radar stripe.sigma stripe._stripe_client
    stripe._v1_services stripe._v2_services tqdm twisted.internet.tcp twisted.internet.endpoints twisted.web.http
    uvicorn.main websockets.asyncio.server websockets.sync.client
""".split()  # noqa: SIM905 - one name per line would be a page
# What the site reads from its environment only once, while it loads; all else it asks Django's settings for.
SETTINGS = "payments_site.settings"
SITE = {
    "DEBUG": "0",
    "CLINIC_NAME": "Clinique des Tilleuls",
    "SMS_FUNCTION": "",
    "SENTRY_DSN": "",
}
_turn = threading.Lock()


class Forked:
    """A running Python program, with the part of subprocess.Popen's interface that `Process` uses."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cwd: str | Path,
        env: Mapping[str, str],
        stdout: int,
        stderr: int,
        answers: str = "",
    ) -> None:
        """Start `command`: the path of Python, then `-m module`, `-c code` or a file, then arguments.

        `stdout` and `stderr` are file descriptors. `answers`, at most a few lines, are what the program reads from its
        input. It has a terminal session of its own.
        """
        self.returncode: int | None = None
        self._ended, its = Pipe(duplex=False)
        given, ours = os.pipe()
        os.write(ours, answers.encode())
        os.close(ours)
        with _turn, its, os.fdopen(given, "rb"):
            template, _process = _template(agrees_with_site(cwd, env))
            template.send(([str(part) for part in command[1:]], str(cwd), dict(env)))
            for file in (given, stdout, stderr, its.fileno()):
                reduction.send_handle(template, file, 0)
            self.pid: int = template.recv()

    def poll(self) -> int | None:
        if self.returncode is None and self._ended.poll():
            self.returncode = self._ended.recv()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not self._ended.poll(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def output(command: Sequence[str | Path], *, cwd: str | Path, env: Mapping[str, str], answers: str = "") -> str:
    """Run `command` to its end and return what it prints. Raises CalledProcessError if it fails.

    `answers`, at most a few lines, are what it reads from its input.
    """
    printed, its = os.pipe()
    program = Forked(command, cwd=cwd, env=env, stdout=its, stderr=2, answers=answers)
    os.close(its)
    try:
        with os.fdopen(printed) as pipe:
            text = pipe.read()
        status = program.wait()
    except BaseException:  # the test takes too long
        program.kill()
        raise
    if status:
        raise subprocess.CalledProcessError(status, command, text)
    return text


def agrees_with_site(cwd: str | Path, env: Mapping[str, str]) -> bool:
    """Return whether a program with this folder and environment can be forked from the process that loaded the site."""
    as_site = all(env.get(name, value) == value for name, value in SITE.items())
    return Path(cwd) == ROOT and env.get("DJANGO_SETTINGS_MODULE") == SETTINGS and as_site


@functools.cache
def _template(with_site: bool) -> tuple[Connection, subprocess.Popen[bytes]]:
    """Start a process from which programs are forked; it ends when its connection, which comes first, is closed."""
    ours, its = Pipe()
    env = {name: value for name, value in os.environ.items() if name not in (*SITE, "DJANGO_SETTINGS_MODULE")}
    command = [sys.executable, "-m", __name__, str(its.fileno()), *(["site"] if with_site else [])]
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()])
    its.close()
    return ours, process


# From here on: what the template process does.


def load(with_site: bool) -> None:
    gc.disable()
    for name in PACKAGES:
        importlib.import_module(name)
    if with_site:
        load_site()
    gc.enable()
    gc.freeze()  # so that no forked program copies the memory of these modules only because it collects garbage


def load_site() -> None:
    import django
    from django.conf import settings

    os.environ.update(
        SITE, DJANGO_SETTINGS_MODULE=SETTINGS, SECRET_KEY="only-while-loading", DATABASE_URL="sqlite://:memory:"
    )
    django.setup()
    middleware = [name.rpartition(".")[0] for name in settings.MIDDLEWARE]
    for name in (settings.ROOT_URLCONF, "payments.asgi", "payments.consumers", "stripe_sandbox.app", *middleware):
        importlib.import_module(name)


def read_settings_again() -> None:
    """Give Django the settings that this process's environment names, as when a test overrides some of them."""
    import stripe
    from asgiref.local import Local
    from django.conf import Settings, settings
    from django.core.signals import setting_changed
    from django.db import connections

    module = importlib.reload(sys.modules[SETTINGS])
    configured: Any = settings
    before, now = configured._wrapped, Settings(module.__name__)
    configured._wrapped = now
    stripe.api_base = configured.STRIPE_API_HOST  # as dj-stripe does when it loads
    handler: Any = connections
    handler.settings = handler.configure_settings(configured.DATABASES)
    handler._connections = Local(handler.thread_critical)
    for name in filter(str.isupper, dir(now)):
        if name != "DATABASES" and getattr(now, name) != getattr(before, name, None):
            setting_changed.send(sender=Settings, setting=name, value=getattr(now, name), enter=True)


def fork_for(tests: Connection) -> list[str]:
    """Fork a process for each request from `tests`; return, in each forked process alone, the words of its command.

    Send each process's id, and its exit status when it has ended. Exit when `tests` is closed.
    """
    running: dict[int, Connection] = {}
    child_ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    while True:
        ready = wait([tests, child_ended])
        if child_ended in ready:
            os.read(child_ended, 1000)
            send_statuses(running)
        if tests in ready:
            try:
                request: tuple[list[str], str, dict[str, str]] = tests.recv()
            except EOFError:
                sys.exit()
            given, out, err, ended = (reduction.recv_handle(tests) for _ in range(4))
            running[0] = Connection(ended, readable=False)
            if not (pid := os.fork()):
                break
            for file in (given, out, err):
                os.close(file)
            running[pid] = running.pop(0)
            tests.send(pid)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for each in (tests, *running.values()):
        each.close()
    words, cwd, env = request
    begin_as_new(cwd, env, [given, out, err, child_ended, wake])
    return words


def send_statuses(running: dict[int, Connection]) -> None:
    """Send the exit status of each process in `running` that has ended, and remove it."""
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with running.pop(pid) as told, contextlib.suppress(OSError):  # the tests may have forgotten it
                told.send(os.waitstatus_to_exitcode(status))


def begin_as_new(cwd: str, env: dict[str, str], files: list[int]) -> None:
    """Give this process a session, a folder and an environment; the first three of `files` are its standard files."""
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    if isinstance(sys.stdout, io.TextIOWrapper) and "PYTHONUNBUFFERED" in env:
        sys.stdout.reconfigure(line_buffering=True)


def run(words: list[str]) -> None:
    """Do what Python does with these command line arguments."""
    match words:
        case ["-m", module, *arguments]:
            sys.argv, sys.path[0] = [module, *arguments], str(Path.cwd())
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *arguments]:
            sys.argv, sys.path[0] = ["-c", *arguments], ""
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
        case [file, *arguments]:
            sys.argv, sys.path[0] = [file, *arguments], str(Path(file).resolve().parent)
            runpy.run_path(file, run_name="__main__")


if __name__ == "__main__":
    has_site = sys.argv[2:] == ["site"]
    load(has_site)
    command_line = fork_for(Connection(int(sys.argv[1])))
    if has_site:
        read_settings_again()
    run(command_line)
