"""A folder that stands for a reader's clone of this repository, which a page of docs/ may tell the reader to change."""

import shutil
import sys
from pathlib import Path

from payments_site.demo.site import ROOT

CHANGED = {"payments_site"}  # folders that pages tell to change
RUN = """#!/bin/sh
# As ./run does, but with the Python that is there.
command=$1
shift
case $command in
manage) exec "{python}" manage.py "$@" ;;
test) exec "{python}" -m pytest "$@" ;;
esac
echo "run: no $command in tests" >&2
exit 2
"""


def make_clone(folder: Path) -> Path:
    """Make the clone in `folder`, which must not exist, and return it. What no page changes is linked, not copied."""
    folder.mkdir()
    for path in ROOT.iterdir():
        copy = folder / path.name
        if path.name.startswith("."):
            continue
        if path.is_dir() and path.name not in CHANGED:
            copy.symlink_to(path)
        elif path.is_dir():
            shutil.copytree(path, copy, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.name != "run":
            shutil.copy(path, copy)  # not linked, because Python looks for modules beside a link's target
    run = folder / "run"
    run.write_text(RUN.format(python=sys.executable))
    run.chmod(0o755)
    return folder
