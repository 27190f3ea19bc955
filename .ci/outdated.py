"""`./run outdated` lists newer releases of pinned packages and vendored files, and why each isn't in use.

It then runs `./run check audit`, and fails if that finds a vulnerability.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = "payments/static/payments/vendor/VERSIONS"
PIN = re.compile(r"^([\w.-]+)==([^\s;]+)(?: ; (.*?))?(?: \\)?$", re.M)
VENDORED = re.compile(r"(\S+) (\d[\w.]+)\s+\S+\s+npm ([^,\s]+)")

Pins = dict[str, dict[str, str]]  # name → version → marker


def pins(lock: str) -> Pins:
    found: Pins = {}
    for name, version, marker in PIN.findall(lock):
        found.setdefault(name, {})[version] = marker
    return found


def newest(uv: str, names: str) -> Pins:
    """Return the newest releases of the packages in `names`, which has one name on each line.

    A package has several newest releases if its newest one doesn't support all Python versions. Each then comes with an
    environment marker, such as "python_full_version >= '3.12'".
    """
    options = ["-q", "--universal", "--no-deps", "--no-header", "--python-version", "3.11"]
    done = subprocess.run(
        [uv, "pip", "compile", *options, "-"], input=names, stdout=subprocess.PIPE, text=True, check=True
    )
    return pins(done.stdout)


def asked_for() -> dict[str, Requirement]:
    """Return a dict from a package's canonical name to the requirement that pyproject.toml has for it."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [line for group in pyproject["dependency-groups"].values() for line in group if isinstance(line, str)]
    found = map(Requirement, [*pyproject["project"]["dependencies"], *groups])
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def rows(locked: Pins, latest: Pins, asked: dict[str, Requirement]) -> list[tuple[str, str, str, str]]:
    """Return (name, pinned versions, newer version, reason) for each version that is in `latest` but not in `locked`.

    The reason says why the newer version isn't pinned, such as "pyproject.toml has django<6".
    """
    found = []
    for name, versions in latest.items():
        for version, marker in versions.items():
            if version not in locked[name]:
                requirement = asked.get(canonicalize_name(name))
                held = requirement and version not in requirement.specifier
                why = [f"pyproject.toml has {requirement}"] if held else []
                why += [f"only where {marker}"] if marker else []
                found.append((name, ", ".join(locked[name]), version, "; ".join(why)))
    return found


def vendored(versions: str) -> list[tuple[str, str, str, str]]:
    """List outdated copies of npm packages' files; `versions` is the text of the file VERSIONS.

    Each is (title, copied version, newest version, the file's path); the file records the copied version.
    """
    found = []
    for title, version, package in VENDORED.findall(versions):
        told = subprocess.run(["npm", "view", package, "version"], stdout=subprocess.PIPE, text=True, check=True)
        if (latest := told.stdout.strip()) != version:
            found.append((f"{title} ({package})", version, latest, VERSIONS))
    return found


def table(found: list[tuple[str, str, str, str]]) -> None:
    rows = [("package", "pinned", "newest", "held back by"), *found]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for *cells, why in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), why]).rstrip())


def main(uv: str) -> int:
    locked = pins((ROOT / "requirements-dev.lock").read_text())
    found = rows(locked, newest(uv, "\n".join(locked)), asked_for())
    if shutil.which("npm"):
        found += vendored((ROOT / VERSIONS).read_text())
    table(found)
    if not shutil.which("npm"):
        print(f"npm is not here: the files that {VERSIONS} lists were not compared.")
    print(flush=True)
    return subprocess.run([sys.executable, ROOT / ".ci" / "check.py", "audit"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
