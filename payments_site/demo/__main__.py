"""./run demo: a clinic's site with sample data and a local Stripe. Everything it keeps is in .demo/."""

import argparse
import shutil
import signal
import sys
import time
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


def start(site: Site) -> str:
    """Start both sides, with sample data the first time; the `login` lines of the banner."""
    logins = site.folder / "logins.txt"
    if logins.exists():
        site.start()
        return logins.read_text().strip()
    print("demo: making the database and sample data, a few seconds", flush=True)
    site.make_database()
    site.start()
    made = site.manage("demo_data")
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
    try:
        print(BANNER.format(site=site, logins=start(site)), end="", flush=True)
        dead = first_dead(site.server, site.sandbox)
        raise ProcessDied(f"{dead.name} ended. The end of {dead.log_path}:\n{dead.tail()}")
    finally:
        site.stop()


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    folder: Path = options.folder.resolve()
    if options.reset or not (folder / "logins.txt").exists():
        shutil.rmtree(folder, ignore_errors=True)
    port = free_port(options.port)
    try:
        serve(Site(folder, port, free_port(port + 1)))
    except KeyboardInterrupt:
        print("\ndemo: stopped; ./run demo goes on from here")
        return 0
    except (ProcessDied, CalledProcessError) as error:
        print(f"demo: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
