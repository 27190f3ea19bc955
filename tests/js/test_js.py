"""Runs the JavaScript tests in Node.js."""

import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")


def has_test_runner() -> bool:
    """Return whether Node.js is 20 or newer; older versions have no mock timers in `node --test`."""
    if NODE is None:
        return False
    version = subprocess.run([NODE, "--version"], check=True, capture_output=True, text=True).stdout
    return int(version.lstrip("v").split(".")[0]) >= 20


@pytest.mark.skipif(not has_test_runner(), reason="needs Node.js 20 or newer; the browser tests run the same modules")
@pytest.mark.parametrize("file", sorted(Path(__file__).parent.glob("*.test.mjs")), ids=lambda path: path.name)
def test_in_node(file: Path) -> None:
    ran = subprocess.run([str(NODE), "--test", str(file)], check=False, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
