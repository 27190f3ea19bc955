"""Tests that each form in templates names its address."""

import re
from pathlib import Path

TEMPLATES = Path(__file__).parents[1] / "templates"
FORM = re.compile(r"<form\b(?P<attributes>(?:\"[^\"]*\"|\{[%{].*?[%}]\}|[^>\"])*)>(?P<content>.*?)</form>", re.DOTALL)

FORMS = [
    (str(path.relative_to(TEMPLATES)), found["attributes"], found["content"])
    for path in sorted(TEMPLATES.rglob("*.html"))
    for found in FORM.finditer(path.read_text())
]


def names_of(forms: list[tuple[str, str, str]]) -> list[str]:
    return [name for name, _, _ in forms]


def test_every_form_is_found() -> None:
    written = sum(path.read_text().count("<form") for path in TEMPLATES.rglob("*.html"))
    assert len(FORMS) == written > 15


def test_every_form_names_the_address_to_which_it_is_sent() -> None:
    """Check that no form relies on the address of the page, which may have been rendered for another address.

    A form that closes its dialog is sent nowhere.
    """
    nameless = [form for form in FORMS if 'method="dialog"' not in form[1] and not re.search(r"\baction=\"\{", form[1])]
    assert names_of(nameless) == []
