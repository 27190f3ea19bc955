"""The templates and static files of this site and of its apps, each with the name by which code refers to it."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def named(kind: str) -> list[tuple[str, Path]]:
    """Return the files in the folders called `kind` ("templates" or "static"), each with its path below that folder."""
    folders = [ROOT / kind, *(ROOT / app / kind for app in ("appointments", "integrations", "payments"))]
    found = [(str(path.relative_to(folder)), path) for folder in folders for path in folder.rglob("*.*")]
    return sorted((name, path) for name, path in found if path.is_file())


TEMPLATES = [(name, path) for name, path in named("templates") if path.suffix in (".html", ".txt")]
STATIC = named("static")
SCRIPTS = [path for _, path in STATIC if path.suffix == ".js"]
