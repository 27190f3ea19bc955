"""./run demo: a clinic's site with sample data and a local Stripe. Everything it keeps is in .demo/."""

import argparse
import fcntl
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from subprocess import CalledProcessError
from types import FrameType

from payments_site.demo.process import Process, ProcessDied, free_port
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
logs and data in {site.folder} (--reset clears them); Ctrl-C stops everything
"""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run demo", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="first port to try (0: any free one); default 8000")
    parser.add_argument("--folder", type=Path, default=ROOT / ".demo", help="where data is kept; default .demo")
    parser.add_argument("--reset", action="store_true", help="start from fresh sample data")
    return parser.parse_args()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Two demos in one folder would write to each other's files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"demo: one is running in {folder} already; stop it, or give this one another --folder")
        yield


def schema() -> str:
    """Changes with the tables: the demo's have no migrations, so that other tables need a new database."""
    sources = [ROOT / "requirements.lock", *sorted(ROOT.glob("*/migrations/*.py"))]
    return sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != "lock":
            path.unlink()


def start(site: Site) -> str:
    """Start both sides, with sample data the first time; the `login` lines of the banner."""
    logins = site.folder / "logins.txt"
    if logins.exists():
        site.start()
        return logins.read_text().strip()
    print("demo: making the database and sample data, a few seconds", flush=True)
    (site.folder / "schema").write_text(schema())
    site.make_database()
    site.start()
    made = site.python("-m", "payments_site.demo.sample")
    logins.write_text(made)  # last: a first start that was cut short begins anew
    return made.strip()


def first_dead(*processes: Process) -> Process:
    """Wait until one of them ends."""
    while True:
        for process in processes:
            if not process.running:
                return process
        time.sleep(0.5)


def end(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def serve(site: Site) -> None:
    """Until Ctrl-C, SIGTERM or the death of a process. Raises ProcessDied."""
    workers = [site.new_worker("mirror"), site.new_worker("sweep", "--every", "60")]
    try:
        print(BANNER.format(site=site, logins=start(site)), end="", flush=True)
        for worker in workers:
            worker.spawn()
        dead = first_dead(site.server, site.sandbox, *workers)
        raise ProcessDied(f"{dead.name} ended. The end of {dead.log_path}:\n{dead.tail()}")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave processes behind
        for worker in workers:
            worker.stop()
        site.stop()


def serve_in(folder: Path, first_port: int, reset: bool) -> None:
    with locked(folder):
        made = folder / "schema"
        if reset or not (folder / "logins.txt").exists():
            clear(folder)
        elif made.read_text() != schema():
            print("demo: this version has other tables, so it starts from fresh sample data", flush=True)
            clear(folder)
        port = free_port(first_port)
        serve(Site(folder, port, free_port(port + 1)))


def main() -> int:
    options = parse()
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGINT too: a shell's background jobs ignore it
        signal.signal(stop, end)
    try:
        serve_in(options.folder.resolve(), options.port, options.reset)
    except KeyboardInterrupt:
        print("\ndemo: stopped; ./run demo goes on from here")
        return 0
    except (ProcessDied, CalledProcessError) as error:
        print(f"demo: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
