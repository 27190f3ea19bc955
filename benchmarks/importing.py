"""Measures how long an import of appointments takes on SQLite, beside the ORM's bulk_create of the same appointments.

`./run bench import` runs `python -m benchmarks.importing --rows N` in a process of its own for each round. That prints
JSON: seconds, seconds of CPU, and the process's peak memory in megabytes.
"""

import argparse
import datetime
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import django

from benchmarks import report

ROWS, ROUNDS = 10_000, 3
HEAD = ["what", "seconds", "seconds of CPU", "times bulk_create", "peak memory"]
WHAT = {
    "bulk_create": "bulk_create alone, without payments",
    "new": "import of new rows",
    "again": "the file again",
    "changed": "the file with other prices",
}
ABOUT = (
    "{rows:,} appointments of {patients:,} patients from a CSV file on SQLite, of which all are booked with their "
    "payments, changes and feed entries. Medians of {rounds} rounds, each with its own database; ratios are of CPU."
)
PATIENTS = 3  # appointments of each patient


def imports(rows: int, rounds: int, folder: Path) -> int:
    """Measure the import in `rounds` rounds, print the results, and write them into `folder`."""
    found = [_round(rows) for _number in range(rounds)]
    table = []
    for name, what in WHAT.items():
        wall, cpu, peak = (statistics.median(each[name][at] for each in found) for at in range(3))
        ratio = statistics.median(each[name][1] / each["bulk_create"][1] for each in found)
        table.append([what, f"{wall:.1f}", f"{cpu:.1f}", f"{ratio:.1f}", f"{peak:.0f} MB"])
    about = ABOUT.format(rows=rows, patients=rows // PATIENTS, rounds=rounds)
    print(report.plain(table, HEAD), about, sep="\n\n")
    report.write_results(folder, [], imports={"about": about, "head": HEAD, "rows": table})
    return 0


def _round(rows: int) -> dict[str, list[float]]:
    """Run the measurement in a process of its own, with an empty database."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        own = {"DJANGO_SETTINGS_MODULE": "payments_site.settings", "DEBUG": "1",
               "LOG_LEVEL": "WARNING", "DATABASE_URL": f"sqlite:///{place}/site.sqlite3"}  # fmt: skip
        command = [sys.executable, "-m", "benchmarks.importing", "--rows", str(rows)]
        done = subprocess.run(command, env=os.environ | own, stdout=subprocess.PIPE, text=True, check=True)
        result: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
        return result


def file_of(rows: int, price: str) -> bytes:
    """Return a CSV file of appointments, half an hour each, of ten practitioners."""
    lines = ["appointment_id;patient_id;last_name;first_name;practitioner;service;date;time;minutes;price"]
    for number in range(rows):
        start = datetime.datetime(2027, 1, 4, 7) + datetime.timedelta(minutes=30 * (number // 10))  # noqa: DTZ001
        who, when = number % max(10, rows // PATIENTS), f"{start:%Y-%m-%d;%H:%M}"
        lines.append(f"A{number};P{who};Roux {who};Camille;Dr {number % 10};Consultation;{when};30;{price}")
    return "\n".join(lines).encode()


def measure(rows: int) -> dict[str, list[float]]:
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import transaction

    from appointments.models import Appointment, Practitioner
    from integrations.importing.saving import import_file

    call_command("migrate", verbosity=0)
    settings.DEBUG = False  # Django would keep all queries
    boss = get_user_model().objects.create_superuser("boss")
    for number in range(10):
        Practitioner.objects.create(name=f"Dr {number}", specialty="Medicine")
    first, dearer = file_of(rows, "60.00"), file_of(rows, "70.00")
    found = {}
    steps = {"new": (first, "new", rows), "again": (first, "unchanged", rows), "changed": (dearer, "changed", rows)}
    for name, (content, counted, expected) in steps.items():
        plan, found[name] = _timed(partial(import_file, content, "file.csv", boss))
        if plan.counts[counted] != expected:
            raise RuntimeError(f"{name}: {plan.counts} {plan.problems[:3]}")
    copies = list(Appointment.objects.all())
    for copy in copies:
        plain = Appointment()
        copy.pk, copy.external_id, copy.key, copy.reference = None, None, plain.key, plain.reference
    with transaction.atomic():
        _created, found["bulk_create"] = _timed(lambda: Appointment.objects.bulk_create(copies))
    return found


def _timed(act: Callable[[], Any]) -> tuple[Any, list[float]]:
    """Return the result of `act`, and its seconds, its seconds of CPU, and the process's peak memory in megabytes."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = act()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result, [time.perf_counter() - wall, time.process_time() - cpu, peak]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    given = parser.parse_args()
    django.setup()
    print(json.dumps(measure(given.rows)))


if __name__ == "__main__":
    main()
