"""Tests of the plugin behind `./run mutants`: which changes it makes, and that changed code takes effect everywhere."""

import sys
import types
from collections.abc import Iterator

import pytest

from tests.mutants import become, lines_of, mutants

SOURCE = '''
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

LIMIT = (3, 5)

class Colour(Enum):
    RED = 1

@dataclass
class Purse:
    coins: int = 0
    notes: list[int] = field(default_factory=list)

    @cached_property
    def full(self) -> bool:
        """Say whether it is full."""
        return self.coins > LIMIT[0]

def largest(*values: int, least: int = 2) -> int:
    return max([*values, least])
'''


def changed(old: str, new: str) -> str:
    (mutant,) = {mutant.code for mutant in mutants(SOURCE) if mutant.code == SOURCE.replace(old, new)}
    return mutant


@pytest.fixture
def purse() -> Iterator[types.ModuleType]:
    module = types.ModuleType("purse")
    sys.modules["purse"] = module
    exec(SOURCE, module.__dict__)  # noqa: S102
    module.__file__ = "purse.py"
    yield module
    del sys.modules["purse"]


def test_each_mutant_is_one_change_in_one_place() -> None:
    found = list(mutants(SOURCE))
    assert len({mutant.code for mutant in found}) == len(found)
    lines = SOURCE.splitlines()
    for mutant in found:
        differing = [n for n, line in enumerate(mutant.code.splitlines(), 1) if line != lines[n - 1]]
        assert differing == [mutant.line], mutant
        assert mutant.line not in (2, 9, 17), "imports, enums and docstrings are left out"
    assert {mutant.lines for mutant in found if mutant.line == 19} == {range(18, 20)}
    assert all(mutant.lines == range(0) for mutant in found if mutant.line in (6, 13, 14))


def test_lines_are_given_one_by_one_from_to_or_not_at_all() -> None:
    assert (list(lines_of("5")), list(lines_of("5-7"))) == ([5], [5, 6, 7])
    assert [line in lines_of("") for line in (0, 1, 10_000)] == [False, True, True]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", (False, 2, 0, [])),
        ("coins >", "coins >=", (True, 2, 0, [])),
        ("(3, 5)", "(4, 5)", (False, 2, 0, [])),
        ("LIMIT[0]", "LIMIT[1]", (False, 2, 0, [])),
        ("least: int = 2", "least: int = 3", (False, 3, 0, [])),
        ("coins: int = 0", "coins: int = 1", (False, 2, 1, [])),
    ],
    ids=["nothing", "property", "constant", "index", "default", "field"],
)
def test_a_module_becomes_its_mutant_for_those_who_have_imported_it(
    purse: types.ModuleType, old: str, new: str, expected: tuple[bool, int, int, list[int]]
) -> None:
    other = types.ModuleType("other")
    sys.modules["other"] = other
    other.__dict__.update(Purse=purse.Purse, largest=purse.largest, LIMIT=purse.LIMIT)
    become(purse, changed(old, new) if old else SOURCE)
    assert (other.Purse(3).full, other.largest(1), other.Purse().coins, other.Purse().notes) == expected
    assert other.LIMIT == purse.LIMIT == ((4, 5) if old == "(3, 5)" else (3, 5))
    del sys.modules["other"]


def test_a_default_that_a_function_makes_changes_too(purse: types.ModuleType) -> None:
    become(purse, SOURCE.replace("default_factory=list", "default_factory=tuple"))
    assert purse.Purse().notes == ()
