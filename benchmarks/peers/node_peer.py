"""Sets up the Node server that the site is compared with: installs its npm packages and fills its database."""

import shutil
import subprocess
from pathlib import Path

import psycopg

from benchmarks import events
from benchmarks.load import CACHE
from benchmarks.targets import PATIENTS, STAFF

NODE = Path(__file__).parent / "node"
SCHEMA = NODE / "schema.sql"


def install_node_packages() -> Path:
    """Copy the Node server to a cache folder, install its locked npm packages there, and return the folder."""
    if not (shutil.which("node") and shutil.which("npm")):
        raise FileNotFoundError("the Node peer needs node 20 or newer, and npm: apt-get install nodejs npm")
    folder, lock = CACHE / "node", (NODE / "package-lock.json").read_text()
    installed = folder / "installed.lock"
    folder.mkdir(parents=True, exist_ok=True)
    for path in NODE.iterdir():
        shutil.copy(path, folder)
    if not installed.exists() or installed.read_text() != lock:
        print("bench: installing the Node peer's packages with npm", flush=True)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL)
        installed.write_text(lock)
    return folder


def fill_node(connection: "psycopg.Connection[tuple[object, ...]]", payments: int) -> None:
    connection.execute(
        "INSERT INTO sessions SELECT 'benchmarksession' || lpad(i::text, 16, '0'), i,"
        " CASE WHEN i <= %(staff)s THEN 'staff' ELSE 'patient.' || i END,"
        " now() + interval '1 day' FROM generate_series(1, %(staff)s + %(patients)s) AS i",
        {"staff": STAFF, "patients": PATIENTS},
    )
    connection.execute(
        "INSERT INTO payments (id, public_id, patient_id, amount_due, currency) SELECT i, md5('payment-' || i)::uuid,"
        " %(staff)s + 1 + i %% %(patients)s, %(amount)s, %(currency)s FROM generate_series(1, %(payments)s) AS i",
        {
            "staff": STAFF,
            "patients": PATIENTS,
            "amount": events.AMOUNT,
            "currency": events.CURRENCY,
            "payments": payments,
        },
    )
    connection.execute("ANALYZE")
