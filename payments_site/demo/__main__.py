"""./run demo: a clinic's site with sample data and a local Stripe. It keeps everything in .demo/ or .demo-workers/."""

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import FrameType

from payments_site.demo.cluster import RESTART, Revival, new_site
from payments_site.demo.process import Process, ProcessDied, free_ports
from payments_site.demo.services import NotInstalled, NotReachable
from payments_site.demo.site import ROOT, Site

BANNER = """\
payments-live demo: no real money moves, Stripe is a sandbox on this machine.
site {site.url}
sandbox {site.sandbox_url}
{logins}
card 4242424242424242 is paid; any future date, any CVC
card 4000000000000002 is declined
card 4000000000009995 is declined for insufficient funds
card 4000002760003184 asks for 3-D Secure
card 4000000000000259 is paid, then disputed
mails in {site.mails}, as they would leave
commands in another terminal: ./run demo {several}manage payments_doctor
{mortal}logs and data in {site.folder} (--reset clears them); Ctrl-C stops everything
"""
RUNNING = "running.json"  # the running demo's settings, including secrets
MORTAL = """\
{pids}
kill -9 any of these and watch: pages reconnect to another worker, and it returns after {seconds:g} s
"""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run demo", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="first port to try (0: any free one); default 8000")
    parser.add_argument("--folder", type=Path, help="where data is kept; default .demo, or .demo-workers")
    several = "this many web processes, on PostgreSQL and Redis; 1 to 8, default 1"
    parser.add_argument("--workers", type=int, choices=range(1, 9), metavar="N", default=1, help=several)
    watch = "load changed code, templates and static files at once, and show Django's debug pages"
    parser.add_argument("--watch", action="store_true", help=watch)
    parser.add_argument("--reset", action="store_true", help="start from fresh sample data")
    command = "manage and a command of manage.py, with its options: run it on the demo that is running"
    parser.add_argument("command", nargs=argparse.REMAINDER, help=command)
    options = parser.parse_args()
    if options.command[:1] not in ([], ["manage"]):
        parser.error(f"no such command: {options.command[0]}")
    if options.watch and options.workers > 1:
        parser.error("--watch is for one web process; leave --workers out")
    return options


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Return a context manager that locks the folder against other demos.

    It exits the program if another demo runs in the folder, or if the folder contains files that no demo made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / "lock").exists():
        sys.exit(f"demo: {folder} holds files that are not a demo's; give --folder a new one")
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"demo: one is running in {folder} already; stop it, or give this one another --folder")
        yield


def schema(workers: int) -> str:
    """Return a hash of what the demo's tables depend on: SQLite or PostgreSQL, the migrations and the requirements.

    If the hash of the existing tables differs, the demo makes all data again, because it doesn't run migrations.
    """
    database = b"PostgreSQL" if workers > 1 else b"SQLite"
    sources = [ROOT / "requirements.lock", *sorted(ROOT.glob("*/migrations/*.py"))]
    return sha256(b"".join([database, *(source.read_bytes() for source in sources)])).hexdigest()


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


def start(site: Site) -> str:
    """Start the site and return the text that lists the logins. The first start makes the tables and sample data."""
    logins = site.folder / "logins.txt"
    if logins.exists():
        site.start()
        return logins.read_text().strip()
    print("demo: making the database and sample data, a few seconds", flush=True)
    site.make_database()
    site.start()
    made = site.python("-m", "payments_site.demo.sample")
    logins.write_text(made)  # written last, so that an interrupted first start is repeated
    return made.strip()


def first_dead(needed: Sequence[Process], mortal: Sequence[Process]) -> Process:
    """Return the first process of `needed` that ends. Until then, restart each process of `mortal` that ends."""
    revive = Revival(mortal)
    while True:
        for process in needed:
            if not process.running:
                return process
        for news in revive():
            print(f"demo: {news}", flush=True)
        time.sleep(0.5)


def end(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def about(site: Site, logins: str) -> str:
    pids = "\n".join(f"{process.name} {process.pid} on port {process.port}" for process in site.mortal)
    mortal = MORTAL.format(pids=pids, seconds=RESTART) if site.workers else ""
    several = f"--workers {len(site.workers)} " if site.workers else ""
    return BANNER.format(site=site, logins=logins, mortal=mortal, several=several)


def serve(site: Site) -> None:
    """Run the site until Ctrl-C, SIGTERM or SIGHUP. Raises ProcessDied if a process ends that is not restarted."""
    work = site.new_worker("work")
    running = site.folder / RUNNING
    try:
        logins = start(site)
        running.touch(mode=0o600)
        running.write_text(json.dumps(site.settings))
        work.spawn()
        print(about(site, logins), end="", flush=True)  # last, because its reader may send Ctrl-C at once
        needed = [process for process in (site.server, site.sandbox) if process not in site.mortal]
        dead = first_dead(needed, [*site.mortal, work]) if site.mortal else first_dead([*needed, work], [])
        raise ProcessDied(f"{dead.name} ended. The end of {dead.log_path}:\n{dead.tail()}")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the clean-up
        running.unlink(missing_ok=True)
        work.stop(8)  # it waits up to 5 s for what is under way
        site.stop()


def serve_in(folder: Path, first_port: int, reset: bool, workers: int, watch: bool = False) -> None:
    with locked(folder):
        made = folder / "schema"
        if reset or not (folder / "logins.txt").exists():
            clear(folder)
        elif made.read_text() != schema(workers):
            print("demo: the tables or the database are others now, so it starts from fresh sample data", flush=True)
            clear(folder)
        made.write_text(schema(workers))
        serve(new_site(folder, free_ports(first_port), workers, watch))


def manage(folder: Path, arguments: Sequence[str]) -> int:
    """Run manage.py with the settings of the demo that runs in `folder`, and return the exit status of manage.py."""
    running = folder / RUNNING
    if not running.exists():
        print(f"demo: none is running in {folder}; start it in another terminal", file=sys.stderr)
        return 1
    environment = os.environ | json.loads(running.read_text())
    return subprocess.run([sys.executable, ROOT / "manage.py", *arguments], env=environment, check=False).returncode


def main() -> int:
    options = parse()
    folder = (options.folder or ROOT / (".demo" if options.workers == 1 else ".demo-workers")).resolve()
    if options.command:
        return manage(folder, options.command[1:])
    # SIGINT too, because a shell's background jobs ignore it.
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, end)
    try:
        serve_in(folder, options.port, options.reset, options.workers, options.watch)
    except KeyboardInterrupt:
        print("\ndemo: stopped; ./run demo goes on from here")
        return 0
    except NotReachable as error:
        print(f"demo: {error}; give --folder another place, such as /var/tmp/demo", file=sys.stderr)
    except NotInstalled as error:
        print(f"demo: {error} (PostgreSQL and Redis are for --workers; without it, none is needed)", file=sys.stderr)
    except (ProcessDied, subprocess.CalledProcessError) as error:
        print(f"demo: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
