"""./run check [NAME ...]: what can be said about the code without running it. All checks run, then it fails."""

import ast
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRODUCTION = {
    "DEBUG": "0",
    "SECRET_KEY": "kept-nowhere:" + "aB3$" * 12,
    "SITE_URL": "https://clinic.example",
    "ALLOWED_HOSTS": "clinic.example",
    "DATABASE_URL": "sqlite://:memory:",  # the model checks ask a PostgreSQL for its version
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "STRIPE_LIVE_MODE": "1",
    "STRIPE_SECRET_KEY": "sk_live_" + "0" * 24,
    "STRIPE_API_HOST": "",
    "STRIPE_ACCOUNT_ID": "acct_0000000000000000",
    "STRIPE_WEBHOOK_SECRET": "whsec_" + "0" * 32,
    "SKIP_MIGRATIONS": "0",
}
MODULE_LINES, FUNCTION_LINES = 200, 40
# The brackets keep this line from finding itself.
REGISTRIES = re.compile(
    r"py[p]i\.org|python[h]osted\.org|registry\.np[m]js|np[m]js\.(?:org|com)|deb\.deb[i]an\.org|un[p]kg\.com"
)

Problems = str  # lines to print; empty when the check passed
Check = Callable[[], Problems]


def command(*arguments: str, **environment: str) -> Check:
    """A check that is a program: its output when it fails."""

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
    """The project's files: those in git and those that would be added."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def long_ones(path: Path) -> Iterator[str]:
    source, name = path.read_text(), path.relative_to(ROOT)
    lines = source.count("\n")
    if lines > MODULE_LINES:
        yield f"{name}: {lines} lines, {MODULE_LINES} at most; split it by ability"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name}() has {lines} lines, {FUNCTION_LINES} at most"


def lengths() -> Problems:
    python = [path for path in tree() if path.suffix == ".py" or path == ROOT / "run"]
    ours = [path for path in python if "tests" not in path.parts and "migrations" not in path.parts]
    return "\n".join(problem for path in ours for problem in long_ones(path))


def registries() -> Problems:
    """Hosts belong to the machine's settings: a mirror or an offline wheelhouse must do as well."""
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
    "templates": command("-m", "djlint", "--lint", "--quiet", "templates"),
    "migrations": command("manage.py", "makemigrations", "--check", "--dry-run", DEBUG="1", SKIP_MIGRATIONS="0"),
    "deployment": command("manage.py", "check", "--deploy", "--fail-level", "WARNING", **PRODUCTION),
    "messages": command(".ci/messages.py", "--check"),
    "lengths": lengths,
    "registries": registries,
}


def run(name: str) -> bool:
    """Print one check's result with its seconds; whether it passed."""
    started = time.monotonic()
    try:
        problems = CHECKS[name]()
    except (OSError, subprocess.CalledProcessError) as error:  # e.g. no git here
        problems = f"could not run: {error}"
    seconds = f"{time.monotonic() - started:5.1f} s"
    print(f"FAILED {name:12} {seconds}\n{problems}\n" if problems else f"ok     {name:12} {seconds}", flush=True)
    return not problems


def main(names: list[str]) -> int:
    if unknown := set(names) - CHECKS.keys():
        print(f"check: no {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
        return 2
    slowest_first = sorted(names or CHECKS, key=lambda name: name != "mypy")
    with ThreadPoolExecutor(2) as pool:
        passed = list(pool.map(run, slowest_first))
    print(f"{passed.count(True)} of {len(passed)} checks passed")
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
