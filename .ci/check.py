"""`./run check [NAME ...]` runs static checks, or only the named ones.

A failing check doesn't stop the others; the exit status is 1 if any failed.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PRODUCTION = {
    "DEBUG": "0",
    "SECRET_KEY": "kept-nowhere:" + "aB3$" * 12,
    "SITE_URL": "https://clinic.example",
    "ALLOWED_HOSTS": "clinic.example",
    "CLINIC_ADDRESS": "1 rue Neuve, 69001 Lyon",
    "DATABASE_URL": "sqlite://:memory:",  # the model checks ask a PostgreSQL for its version
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "STRIPE_LIVE_MODE": "1",
    "STRIPE_SECRET_KEY": "sk_live_" + "0" * 24,
    "STRIPE_API_HOST": "",
    "STRIPE_ACCOUNT_ID": "acct_0000000000000000",
    "STRIPE_WEBHOOK_SECRET": "whsec_" + "0" * 32,
}
TEMPLATES = ("templates", "appointments/templates", "integrations/templates", "payments/templates")
NO_NETWORK = re.compile(r"^\S*(?:ConnectionError|ProxyError|Timeout)\b")
# Brackets in the pattern keep the check from finding these hosts in this file.
REGISTRIES = re.compile(
    r"py[p]i\.org|python[h]osted\.org|registry\.np[m]js|np[m]js\.(?:org|com)|deb\.deb[i]an\.org|un[p]kg\.com"
)

Problems = str  # lines to print; empty when the check passed
Check = Callable[[], Problems]


class Skipped(Exception):
    """A check could not run here; the message says why."""


def command(*arguments: str, **environment: str) -> Check:
    """Return a check that runs Python with `arguments`; if the run fails, what it printed is the check's result."""

    def check() -> Problems:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout.strip() or f"exit status {done.returncode}" if done.returncode else ""

    return check


def tree() -> list[Path]:
    """Return the paths of all project files, committed or not, except those that git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def spelling() -> Problems:
    """Return codespell's report of misspelt words, and the French words of the handbook that no dictionary has.

    pyproject.toml lists the files and words that codespell skips.
    """
    checks = (command("-m", "codespell_lib", *map(str, tree())), command(".ci/handbook.py", "spelling"))
    return "\n".join(filter(None, (check() for check in checks)))


def phrases() -> Problems:
    """Return where prose uses a phrase that .ci/phrases.txt advises against, one line for each use."""
    lines = (ROOT / ".ci" / "phrases.txt").read_text().splitlines()
    advice = dict(line.rsplit(": ", 1) for line in lines if not line.startswith("#"))
    return "\n".join(problem for path in tree() if is_prose(path) for problem in advised_against(path, advice))


def is_prose(path: Path) -> bool:
    name = path.relative_to(ROOT)
    ours = name.suffix in {".py", ".md", ".js", ".mjs"} or "templates" in name.parts or name == Path("run")
    return ours and "vendor" not in name.parts


def advised_against(path: Path, advice: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each use of a phrase in the file; `advice` maps phrases to what should be written instead."""
    phrase = re.compile(rf"\b(?:{'|'.join(map(re.escape, advice))})(?!\w)", re.IGNORECASE)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for found in phrase.findall(line):
            yield f'{path.relative_to(ROOT)}:{number}: "{found}"; better: {advice[found.lower()]}'


def audit() -> Problems:
    """Return the packages in requirements-dev.lock below a floor, else the vulnerabilities that pip-audit knows.

    Without a network, only the floors in .ci/floors.txt are compared.
    """
    lock, floors = ROOT / "requirements-dev.lock", ROOT / ".ci" / "floors.txt"
    if below := below_floor(lock.read_text(), floors.read_text()):
        return below
    arguments = ["-r", "requirements-dev.lock", "--disable-pip", "--no-deps", "-f", "json", "--progress-spinner", "off"]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *arguments, "--timeout", "10"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found_by_audit(done.stdout, done.stderr)


def below_floor(lock: str, floors: str) -> Problems:
    """Return the packages that the text of a lock pins below a floor, or not at all, one line for each.

    `floors` has one requirement a line; a comment after it says why.
    """
    pinned = {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.M)}
    found = []
    for line in floors.splitlines():
        text, _, reason = line.partition("#")
        if text.strip():
            floor = Requirement(text)
            version = pinned.get(canonicalize_name(floor.name))
            if version is None or version not in floor.specifier:
                found.append(f"{floor.name} {version}: {floor} is needed, {reason.strip()}")
    return "\n".join(found)


def found_by_audit(report: str, errors: str) -> Problems:
    """Return the vulnerabilities in pip-audit's JSON report; raise Skipped if the service couldn't be reached.

    Skipped is also raised if pip-audit knows none of the packages, because the package index may be a mirror that has
    no data about vulnerabilities.
    """
    if not report:
        last = errors.strip().rpartition("\n")[2]
        if NO_NETWORK.search(last):
            raise Skipped(f"no network, only .ci/floors.txt was compared: {last[:160]}")
        return errors.strip() or "pip-audit said nothing"
    packages = json.loads(report)["dependencies"]
    unknown = [package["skip_reason"] for package in packages if "skip_reason" in package]
    if len(unknown) == len(packages):
        told = "the package index that is reached here tells nothing about vulnerabilities"
        raise Skipped(f"no network, only .ci/floors.txt was compared: {told}")
    found = [
        f"{package['name']} {package['version']}: {weakness['id']}, mended in {', '.join(weakness['fix_versions'])}"
        for package in packages
        for weakness in package.get("vulns", [])
    ]
    return "\n".join([*found, *unknown])


def registries() -> Problems:
    """Return the files that wrongly name the host of a package registry, and lock files that wrongly name any host.

    No file may name one, because the machine's settings choose the registry, such as a mirror or a folder of wheels.
    """
    found = []
    for path in tree():
        text = path.read_bytes().decode(errors="ignore")
        host = REGISTRIES.search(text) or (path.suffix == ".lock" and re.search(r"\w+://[^\s/]+", text))
        if host:
            found.append(f"{path.relative_to(ROOT)}: names the host {host[0]}")
    return "\n".join(found)


CHECKS: dict[str, Check] = {
    "ruff": command("-m", "ruff", "check", "--quiet", "--output-format", "concise", ".", "run"),
    "format": command("-m", "ruff", "format", "--check", ".", "run"),
    "mypy": command("-m", "mypy", "--no-error-summary", ".", *map(str, ROOT.glob(".ci/*.py")), "run"),
    "templates": command("-m", "djlint", "--lint", "--quiet", *TEMPLATES),
    "migrations": command("manage.py", "makemigrations", "--check", "--dry-run", DEBUG="1"),
    "deployment": command("manage.py", "check", "--deploy", "--fail-level", "WARNING", **PRODUCTION),
    "messages": command(".ci/messages.py", "--check"),
    "handbook": command(".ci/handbook.py"),
    "spelling": spelling,
    "phrases": phrases,
    "registries": registries,
    "audit": audit,
}


def run(name: str) -> str:
    """Run a check, print its result and duration, and return the result: "ok", "skipped" or "FAILED"."""
    started, result, told = time.monotonic(), "ok", ""
    try:
        told = CHECKS[name]()
    except Skipped as reason:
        result, told = "skipped", str(reason)
    except (OSError, subprocess.CalledProcessError) as error:  # e.g. no git here
        told = f"could not run: {error}"
    if told and result == "ok":
        result = "FAILED"
    head = f"{result:7} {name:12} {time.monotonic() - started:5.1f} s"
    print(f"{head}\n{told}\n" if result == "FAILED" else f"{head}  {told}".rstrip(), flush=True)
    return result


def main(names: list[str]) -> int:
    if unknown := set(names) - CHECKS.keys():
        print(f"check: no {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
        return 2
    slowest_first = sorted(names or CHECKS, key=lambda name: name != "mypy")
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, slowest_first))
    print(", ".join(f"{number} {result}" for result, number in Counter(results).items()))
    return int("FAILED" in results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
