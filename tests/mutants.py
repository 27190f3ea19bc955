"""A pytest plugin that changes the code in one place at a time, and shows the changes that no test notices.

`./run mutants payments/domain/cards.py -- tests/payments/domain` runs these tests once, notes which of them enter which
function, and then runs them again for each change (mutant), in a forked process, until one fails. The changes are those
that mutmut makes. mutmut itself leaves out decorated functions, such as properties, and starts pytest for each mutant.
"""

import difflib
import inspect
import os
import signal
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import coverage
import libcst as cst
import pytest
from _pytest.runner import runtestprotocol
from django.db import connections
from hypothesis import Phase, settings
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

OPTION = "--mutate"
ENUMS = {"Enum", "StrEnum", "TextChoices"}  # their values and labels are left out
LONGER = 10  # times the processor time of the tests, and LEAST seconds, after which a mutant counts as noticed
LEAST = 5


@dataclass(frozen=True)
class Mutant:
    """A module's code after one change. `lines` are those of the function that was changed, or empty outside of one."""

    code: str
    line: int
    lines: range


class Changes(cst.CSTVisitor):
    """Collects (node, changed node, line, lines of the outermost function) of all changes to a module."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, int, range]] = []
        self.functions: list[range] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if _is_left_out(node):
            return False
        place = self.get_metadata(PositionProvider, node, None)
        if isinstance(node, cst.FunctionDef) and place:
            self.functions.append(range(place.start.line + 1, place.end.line + 1))
        if place:
            lines = self.functions[0] if self.functions else range(0)
            for kind, changed in mutation_operators:
                if isinstance(node, kind) and not isinstance(node, cst.AnnAssign):  # mypy refuses None there
                    self.found += [(node, other, place.start.line, lines) for other in changed(node)]
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef):
            self.functions.pop()


def _is_left_out(node: cst.CSTNode) -> bool:
    """Return whether nothing in this node is changed."""
    if isinstance(node, cst.ClassDef):
        return any(isinstance(base.value, cst.Name) and base.value.value in ENUMS for base in node.bases)
    if isinstance(node, cst.Call):
        return isinstance(node.func, cst.Name) and node.func.value in ("len", "isinstance")
    return isinstance(node, cst.Annotation | cst.Decorator | cst.Import | cst.ImportFrom)


ALL = range(1, sys.maxsize)


def mutants(source: str, only: range = ALL) -> Iterator[Mutant]:
    """Yield the mutants of a module's source that differ in `only` these lines."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    changes = Changes()
    wrapper.visit(changes)
    for node, other, line, lines in changes.found:
        if line in only:
            changed = wrapper.module.deep_replace(node, other)
            assert isinstance(changed, cst.Module)
            yield Mutant(changed.code, line, lines)


def functions(namespace: Mapping[str, Any], module: str) -> dict[str, types.FunctionType]:
    """Return the functions and methods that are defined in this module's or class's namespace, by qualified name."""
    found: dict[str, types.FunctionType] = {}
    for value in list(namespace.values()):
        if isinstance(value, property):
            value = value.fget
        elif isinstance(value, cached_property):
            value = value.func
        elif isinstance(value, classmethod | staticmethod):
            value = value.__func__
        if inspect.isclass(value) and value.__module__ == module:
            found |= functions(vars(value), module)
        elif callable(value):
            function = inspect.unwrap(value)
            if isinstance(function, types.FunctionType) and function.__module__ == module:
                found[function.__qualname__] = function
    return found


def change(function: types.FunctionType, new: types.FunctionType) -> None:
    """Make the function do what the function `new` does, with the defaults of the latter."""
    function.__code__, function.__defaults__, function.__kwdefaults__ = (
        new.__code__,
        new.__defaults__,
        new.__kwdefaults__,
    )
    cells = zip(new.__code__.co_freevars, function.__closure__ or (), new.__closure__ or (), strict=True)
    for name, cell, other in cells:
        if "dflt" in name:  # what makes the default of a dataclass's field
            cell.cell_contents = other.cell_contents


def become(module: types.ModuleType, code: str) -> None:
    """Make the functions and constants of this module, wherever they have been imported, those of `code`."""
    new = types.ModuleType(module.__name__)
    new.__dict__.update(__package__=module.__package__, __file__=module.__file__)
    sys.modules[module.__name__] = new  # dataclasses look their module up
    exec(compile(code, str(module.__file__), "exec"), new.__dict__)  # noqa: S102
    sys.modules[module.__name__] = module
    changed = functions(vars(new), module.__name__)
    for name, function in functions(vars(module), module.__name__).items():
        change(function, changed[name])
    for name, value in vars(new).items():
        old = vars(module).get(name)
        constant = not (name.startswith("__") or inspect.isclass(value) or inspect.isroutine(value))
        if constant and name in vars(module) and old != value:
            for other in list(sys.modules.values()):
                for alias in [alias for alias, held in vars(other).items() if held is old]:
                    setattr(other, alias, value)


def lines_of(given: str) -> range:
    """Return the numbers of the lines that "5" or "5-9" stands for; "" stands for all."""
    first, _, last = given.partition("-")
    return range(int(first), int(last or first) + 1) if given else ALL


class Mutation:
    """Runs the collected tests once for each mutant of each file that was given with OPTION."""

    def __init__(self, paths: list[str], show: Callable[..., None]) -> None:
        self.show = show
        places = (path.partition(":") for path in paths)
        self.places = [(Path(path).resolve(), lines_of(given)) for path, _, given in places]
        self.items: dict[str, pytest.Item] = {}
        self.seconds: dict[str, float] = {}  # of the processor, by test
        self.noticed: Counter[str] = Counter()  # how many mutants each test noticed

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Let Hypothesis look for failures, and neither shrink nor store them."""
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", settings.get_profile("patient"), database=None, phases=phases)
        settings.load_profile("mutants")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        session.config.option.maxfail = 1
        self.items = {item.nodeid: item for item in session.items}
        entered = self.measure(session.items)
        connections.close_all()  # a forked process opens its own
        for path, lines in self.places:
            self.test(path, lines, entered[path])
        return True

    def run(self, items: list[pytest.Item]) -> Iterator[bool]:
        """Run the tests one by one, and yield whether each passed. Fixtures of the session stay as they are."""
        for item, following in zip(items, [*items[1:], None], strict=True):
            other = next((one for one in self.items.values() if one is not item), None)
            yield not any(report.failed for report in runtestprotocol(item, log=False, nextitem=following or other))

    def measure(self, items: list[pytest.Item]) -> dict[Path, dict[int, list[str]]]:
        """Run all tests, and return for each file the tests that ran a line, by its number."""
        measured = coverage.Coverage(data_file=None, config_file=False, include=[str(path) for path, _ in self.places])
        measured.start()
        passed = self.run(items)
        for item in items:
            measured.switch_context(item.nodeid)
            before = os.times()
            if not next(passed):
                pytest.exit(f"{item.nodeid} fails without any mutant", returncode=1)
            self.seconds[item.nodeid] = os.times().user - before.user
        measured.stop()
        return {path: measured.get_data().contexts_by_lineno(str(path)) for path, _ in self.places}

    def test(self, path: Path, only: range, entered: dict[int, list[str]]) -> None:
        """Print the mutants of `only` these lines of the file that no test notices, and how many were noticed."""
        source, total = path.read_text(), Counter[str]()
        name = ".".join(path.relative_to(Path.cwd()).with_suffix("").parts)
        for mutant in mutants(source, only):
            lines = mutant.lines or entered  # outside of functions, any test may notice a change
            tests = {test for line in lines for test in entered.get(line, ())}
            here = set(entered.get(mutant.line, ()))
            order = sorted(tests, key=lambda test: (test not in here, -self.noticed[test], self.seconds[test]))
            result = self.result(sys.modules[name], mutant, order)
            total[result] += 1
            if result == "survived":
                diff = difflib.unified_diff(source.splitlines(), mutant.code.splitlines(), lineterm="", n=0)
                changed = [line for line in diff if not line.startswith(("---", "+++", "@@"))]
                self.show(f"\n{path.name}:{mutant.line} ({len(tests)} tests)", *changed)
        noticed = total.total() - total["survived"]
        timeouts = f" ({total['timeout']} by time-out)" if total["timeout"] else ""
        self.show(f"\n{path.name}: {total.total()} mutants, {noticed} noticed{timeouts}, {total['survived']} not")

    def result(self, module: types.ModuleType, mutant: Mutant, tests: list[str]) -> str:
        """Run the tests in a forked process that has become the mutant; return "survived", "killed" or "timeout"."""
        child = os.fork()
        if not child:
            limit = LEAST + LONGER * sum(self.seconds[test] for test in tests)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, limit)
            status = 255
            try:
                become(module, mutant.code)
                passed = self.run([self.items[test] for test in tests])
                status = next((number for number, good in enumerate(passed, 1) if not good), 0)
            finally:
                os._exit(min(status, 254) if status != 255 else 255)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if 0 < code <= min(len(tests), 253):
            self.noticed[tests[code - 1]] += 1
        return "survived" if code == 0 else "timeout" if code < 0 else "killed"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        OPTION, action="append", metavar="FILE[:LINE[-LINE]]", help="change this file, or only these lines"
    )


def pytest_configure(config: pytest.Config) -> None:
    def show(*lines: str) -> None:
        capture: Any = config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(*lines, sep="\n", flush=True)

    if paths := config.getoption(OPTION):
        config.pluginmanager.register(Mutation(paths, show))
