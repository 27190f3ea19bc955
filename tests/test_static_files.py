"""Tests of static files as collectstatic makes them for production."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from payments_site.demo.site import ROOT

COLLECT = """
from django.core.management import call_command
from django.test import override_settings
with override_settings(STATIC_ROOT={root!r}):
    call_command("collectstatic", interactive=False, verbosity=0)
"""
HASHED = re.compile(r"\.[0-9a-f]{12}\.")


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("static")
    command = [sys.executable, "manage.py", "shell", "--no-imports", "--command", COLLECT.format(root=str(root))]
    subprocess.run(command, cwd=ROOT, env={"DEBUG": "1", "STATIC_FROM_SOURCE": "0"}, check=True)
    return root


def test_modules_import_hashed_names_that_exist(collected: Path) -> None:
    modules = [path for path in (collected / "js").glob("*.js") if HASHED.search(path.name)]
    assert len(modules) == len(list((ROOT / "static/js").glob("*.js")))
    imported = {
        (collected / "js" / name) for path in modules for name in re.findall(r'from "\./(.+?)"', path.read_text())
    }
    assert imported
    assert all(HASHED.search(path.name) and path.exists() for path in imported)


def test_what_a_page_loads_is_small(collected: Path) -> None:
    """All of this site's scripts and styles, with htmx and Pico, take less than 90 KB when compressed."""
    parts = ("js/*", "css/*", "vendor/pico/*", "django_htmx/htmx-2.min.*")
    files = [
        path for part in parts for path in collected.glob(part) if HASHED.search(path.name) and path.suffix == ".gz"
    ]
    assert len(files) > 20
    assert sum(path.stat().st_size for path in files) < 90_000
