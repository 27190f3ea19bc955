"""Tests that imports keep to the layers of ARCHITECTURE.md."""

import ast
import functools
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APPS = ("payments_site", "accounts", "people", "appointments", "payments", "integrations")

# Lowest first: a module imports from its own line or from lines before it. Every module is on exactly one line.
LAYERS = (
    ("people*", "payments.domain*", "payments.addresses", "payments.conf", "payments.signals", "payments.logs",
     "payments.metrics"),
    ("payments.db*", "appointments*", "accounts*"),
    ("payments.models*",),
    ("payments.linking", "payments.ledger", "payments.bookings"),
    ("payments.gateway*", "payments.live*"),
    ("payments.desk*", "payments.dashboard*", "payments.emails*", "payments.receipts",
     "payments.wording"),
    ("payments", "payments.admin", "payments.backups", "payments.*checks", "payments.closing_forms",
     "payments.consumers", "payments.context_processors", "payments.doctor*", "payments.erasure", "payments.forms",
     "payments.gauges", "payments.jobs", "payments.management*", "payments.middleware", "payments.templatetags*",
     "payments.views*"),
    ("payments.apps", "payments.urls", "payments.asgi"),
    ("integrations*",),
    ("payments_site*",),
)  # fmt: skip
WINGS = ("gateway", "live", "desk", "dashboard", "emails")

# The modules, as patterns, that may import a library.
LIBRARIES = {
    "allauth": ("accounts*",),
    "ninja": ("integrations.api*",),
    "djstripe": ("payments.gateway.djstripe*", "payments.gateway.background", "payments.gateway.means",
                 "payments.gateway.mirror", "payments.gateway.payers", "payments.gateway.balance",
                 "payments.gateway.payouts", "payments.admin", "payments.doctor*"),
    "stripe": ("payments.gateway.client", "payments.gateway.signatures", "payments.checks"),
    "sentry_sdk": ("payments_site.sentry",),
    "websockets": ("payments.live.websocket_protocol", "payments.live.wires", "payments.doctor.delivery"),
    "standardwebhooks": ("integrations.outgoing.delivery",),
    "cryptography": ("integrations.api.idempotency", "integrations.outgoing.secrets"),
    "channels": ("payments.live*", "payments.doctor*", "payments.checks", "payments.consumers"),
}  # fmt: skip
PURE = ("payments.domain*", "payments.gateway.objects", "payments.gateway.event_types")


def modules() -> Iterator[tuple[str, Path]]:
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            if "migrations" not in path.parts:
                parts = path.relative_to(ROOT).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


@functools.cache
def imported(name: str) -> frozenset[str]:
    """Return the full names of the modules that the module `name` imports, at its top or inside functions."""
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
    return frozenset(found)


@functools.cache
def layers_of(name: str) -> list[int]:
    return [number for number, patterns in enumerate(LAYERS) if any(fnmatch(name, pattern) for pattern in patterns)]


def test_each_module_is_on_one_line_of_the_layers() -> None:
    assert [name for name in MODULES if len(layers_of(name)) != 1] == []


def test_a_module_imports_only_from_its_own_layer_or_below() -> None:
    for name in MODULES:
        above = {other for other in imported(name) & MODULES.keys() if layers_of(other) > layers_of(name)}
        assert not above, name


# Which of the other apps the modules of an app may import.
KNOWN: dict[str, set[str]] = {
    "people": set(),
    "accounts": {"people"},
    "appointments": {"people"},
    "payments": {"people", "appointments"},
    "integrations": {"people", "appointments", "payments"},
}


@pytest.mark.parametrize("app", KNOWN)
def test_an_app_knows_only_the_apps_that_it_can_be_installed_with(app: str) -> None:
    """All apps but `accounts` work in a project that has neither `accounts` nor `payments_site`."""
    for name in MODULES:
        if name.split(".")[0] == app:
            others = {other.split(".")[0] for other in imported(name)} & set(APPS)
            assert others - {app} <= KNOWN[app], name


@pytest.mark.parametrize("app", sorted(set(KNOWN) - {"accounts"}))
def test_migrations_name_no_user_model_but_the_project_s(app: str) -> None:
    for path in (ROOT / app / "migrations").glob("0*.py"):
        assert "clinic_accounts" not in path.read_text(), path


def wing_of(name: str) -> str:
    return next((wing for wing in WINGS if name.startswith(f"payments.{wing}.")), "")


def test_wings_on_one_line_do_not_know_each_other() -> None:
    for name in MODULES:
        for other in imported(name) & MODULES.keys():
            if (wing := wing_of(name)) and (neighbour := wing_of(other)) and wing != neighbour:
                assert layers_of(other) < layers_of(name), f"{name} imports {other}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: {each for each in imported(name) & MODULES.keys() if each != name} for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    users = {name for name in MODULES if any(other.split(".")[0] == library for other in imported(name))}
    assert {name for name in users if not any(fnmatch(name, pattern) for pattern in LIBRARIES[library])} == set()


def is_pure(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in PURE)


@pytest.mark.parametrize("name", sorted(name for name in MODULES if is_pure(name)))
def test_the_truth_table_is_pure(name: str) -> None:
    """The modules that decide a payment's status (PURE) use no models, no clock, no input and no output.

    From Django they import only TextChoices, translation and cached_property.
    """
    outside = {other for other in imported(name) if not is_pure(other)}
    allowed = {"collections", "collections.abc", "dataclasses", "enum", "functools", "typing", "re", "uuid"}
    only = {"django.db.models": "TextChoices", "django.utils.functional": "cached_property"}
    assert outside <= allowed | {"django.utils.translation", *only}
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module in only:
            assert [each.name for each in node.names] == [only[node.module]]


def test_only_the_ledger_assigns_a_payments_status() -> None:
    writers = set()
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign):
                targets = [
                    t for target in node.targets for t in (target.elts if isinstance(target, ast.Tuple) else [target])
                ]
                named = [ast.unparse(target) for target in targets]
                if any(target in ("payment.standing", "payment.status", "row.status") for target in named):
                    writers.add(name)
    assert writers == {"payments.ledger"}
