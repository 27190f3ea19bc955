"""Tests that each form in a template names the address it is sent to, and that forms keep what was typed."""

import re

import pytest

from tests.sources import TEMPLATES

FORM = re.compile(r"<form\b(?P<attributes>(?:\"[^\"]*\"|\{[%{].*?[%}]\}|[^>\"])*)>(?P<content>.*?)</form>", re.DOTALL)
TYPED_IN = re.compile(
    r"\{\{ ?(?:form|field)\b|<textarea|<select|<input(?![^>]*\b(?:hidden|checkbox|submit)\b)|_amount_field\.html"
)
SECRET = ("account/", "mfa/", "allauth/")  # what is typed here is a password or a code, and must not be kept

FORMS = [
    (name, found["attributes"], found["content"])
    for name, path in TEMPLATES
    for found in FORM.finditer(path.read_text())
]


def names_of(forms: list[tuple[str, str, str]]) -> list[str]:
    return [name for name, _, _ in forms]


def test_every_form_is_found() -> None:
    written = sum(path.read_text().count("<form") for _, path in TEMPLATES)
    assert len(FORMS) == written > 15


def test_every_form_names_the_address_to_which_it_is_sent() -> None:
    """Each form in a template has an `action`: without one, a browser would send the form to the page's own address.

    That address may differ from the one for which the page was rendered. A form that closes its dialog isn't sent.
    """
    nameless = [form for form in FORMS if 'method="dialog"' not in form[1] and not re.search(r"\baction=\"\{", form[1])]
    assert names_of(nameless) == []


def test_every_form_in_which_one_types_keeps_what_was_typed() -> None:
    posted = [form for form in FORMS if 'method="post"' in form[1] and not form[0].startswith(SECRET)]
    typed = [form for form in posted if TYPED_IN.search(form[2]) and "multipart" not in form[1]]  # files can't be kept
    assert "payments/refund.html" in names_of(typed)
    assert names_of([form for form in typed if "{% keep_typed %}" not in form[2]]) == []


@pytest.mark.parametrize("folder", SECRET)
def test_no_form_with_a_password_keeps_it(folder: str) -> None:
    secret = [form for form in FORMS if form[0].startswith(folder)]
    assert names_of([form for form in secret if "keep_typed" in form[2]]) == []
