"""The layers of ARCHITECTURE.md, held against the imports."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APPS = ("payments_site", "accounts", "appointments", "payments")

# Lowest first: a module imports from its own line or from lines before it.
LAYERS = (
    ("accounts*",
     "appointments.signals", "appointments.money", "appointments.models", "appointments.calendar",
     "appointments.week",
     "payments.facts", "payments.attempts", "payments.status", "payments.stripe_objects", "payments.signals",
     "payments.logs", "payments.metrics"),
    ("payments.models*",),
    ("payments.linking", "payments.ledger", "payments.stripe_client", "payments.stripe_lookup", "payments.checkout",
     "payments.refunds", "payments.approvals", "payments.desk"),
    ("payments.deliveries", "payments.webhooks", "payments.recording", "payments.reconcile", "payments.sweep",
     "payments.mirror", "payments.live", "payments.hints", "payments.hub", "payments.listeners", "payments.probe",
     "payments.seen", "payments.sockets", "payments.holders", "payments.threads", "payments.wording"),
    ("*.views*", "*.admin", "*.forms", "*.templatetags*", "*.management*", "payments.consumers",
     "payments.context_processors", "payments.middleware", "payments.receipt", "payments.*"),
    ("*.apps", "payments.urls"),
    ("payments_site*",),
)  # fmt: skip
LIVE = {"payments.live", "payments.hints", "payments.hub", "payments.listeners", "payments.probe", "payments.seen",
        "payments.sockets", "payments.holders", "payments.threads"}  # fmt: skip
STRIPE_IN = {
    "payments.deliveries",
    "payments.webhooks",
    "payments.recording",
    "payments.reconcile",
    "payments.sweep",
    "payments.mirror",
}

# Who may import a library. Entries are module patterns.
LIBRARIES = {
    "allauth": ("accounts*",),
    "djstripe": ("payments.recording", "payments.mirror", "payments.payers", "payments.admin", "payments.doctor*"),
    "stripe": ("payments.stripe_client", "payments.mirror", "payments.deliveries", "payments.checks"),
    "channels": ("payments.live", "payments.hints", "payments.hub", "payments.threads", "payments.consumers",
                 "payments.doctor*", "payments.checks", "payments_site.asgi"),
}  # fmt: skip
PURE = ("payments.facts", "payments.attempts", "payments.status", "payments.stripe_objects")


def modules() -> Iterator[tuple[str, Path]]:
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            if "migrations" not in path.parts:
                parts = path.relative_to(ROOT).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imported(name: str) -> set[str]:
    """Full names of what a module imports, at its top or inside functions."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            inner = {f"{source}.{alias.name}" for alias in node.names}
            found |= {full if full in MODULES else source for full in inner}
    return found


def layer(name: str) -> int:
    return next(number for number, patterns in enumerate(LAYERS) for pattern in patterns if fnmatch(name, pattern))


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_from_its_own_layer_or_below(name: str) -> None:
    above = {other for other in imported(name) & MODULES.keys() if layer(other) > layer(name)}
    assert not above


def test_appointments_know_nothing_of_payments() -> None:
    for name in MODULES:
        if name.startswith("appointments"):
            assert not {other for other in imported(name) if other.startswith("payments")}, name


def test_what_comes_in_from_stripe_and_what_goes_out_to_pages_do_not_know_each_other() -> None:
    for one, others in ((STRIPE_IN, LIVE), (LIVE, STRIPE_IN)):
        for name in one:
            assert not imported(name) & others, name


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    users = {name for name in MODULES if any(other.split(".")[0] == library for other in imported(name))}
    assert {name for name in users if not any(fnmatch(name, pattern) for pattern in LIBRARIES[library])} == set()


@pytest.mark.parametrize("name", PURE)
def test_the_truth_table_is_pure(name: str) -> None:
    """No models, no clock, no input or output: only TextChoices for the words."""
    outside = {other for other in imported(name) if other not in PURE}
    allowed = {"collections", "collections.abc", "dataclasses", "enum", "typing", "uuid"}
    assert outside <= allowed | {"django.db.models", "django.utils.translation"}
    if "django.db.models" in outside:
        assert "from django.db.models import TextChoices\n" in MODULES[name].read_text()


def test_only_the_ledger_assigns_a_payments_status() -> None:
    writers = set()
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign):
                targets = [
                    t for target in node.targets for t in (target.elts if isinstance(target, ast.Tuple) else [target])
                ]
                named = [ast.unparse(target) for target in targets]
                if any(target in ("payment.status", "row.status") for target in named):
                    writers.add(name)
    assert writers == {"payments.ledger"}
