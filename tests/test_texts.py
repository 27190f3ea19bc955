"""Tests that every text that users see goes through gettext and is translated into every language."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from django.template.base import Lexer, TokenType
from django.utils.translation import gettext, override, pgettext

from tests.sources import SCRIPTS, TEMPLATES

ROOT = Path(__file__).parents[1]
APPS = ("accounts", "appointments", "integrations", "payments", "people")
MODULES = sorted(path for app in APPS for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts)

SPOKEN = {
    "aria-label",
    "aria-description",
    "title",
    "placeholder",
    "alt",
    "data-one",
    "data-many",
    "data-age",
    "data-empty",
}
QUIET = {"script", "style", "code", "kbd"}  # elements whose text is the same in every language
NAMES = {"Excel", "Stripe"}  # words that are the same in every language
LETTERS = re.compile(r"[^\W\d_]{2,}")
SAID_BY_FILTERS = re.compile(r"\|(?:default|default_if_none|yesno|pluralize):\"([^\"]*)\"")
SAYING_CALLS = {"ValidationError", "add_error", "Finding", "Verdict", "ok", "warning", "error"}
MESSAGES = {"success", "info", "warning", "error", "debug"}
SAYING_KEYWORDS = {"label", "help_text", "verbose_name", "verbose_name_plural", "empty_label", "description"}
SET_BY_SCRIPT = re.compile(r"(?:textContent|innerText|ariaLabel|title|placeholder)\s*=\s*[\"'`]([^\"'`]+)")


def is_text(words: str) -> bool:
    """Return whether `words` contains a word of some language, not only names and codes such as "EUR"."""
    return any(LETTERS.search(word) and not word.isupper() for word in words.split() if word.strip(".,:") not in NAMES)


class Texts(HTMLParser):
    """Collects a page's texts: those between tags, and those in attributes that browsers show or screen readers say."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.found += [value for name, value in attrs if name in SPOKEN and value and is_text(value)]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        while tag in self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if is_text(data) and not QUIET & set(self.open):
            self.found.append(data.strip())


def untranslated(template: str, *, html: bool = True) -> Iterator[str]:
    """Yield the texts in a template's source that are neither in {% translate %} nor in {% blocktranslate %}."""
    rest, translating = "", False
    for token in Lexer(template).tokenize():
        name = token.contents.split()[0] if token.contents.split() else ""
        if token.token_type == TokenType.BLOCK and name in ("blocktranslate", "comment"):
            translating = True
        elif token.token_type == TokenType.BLOCK and name in ("endblocktranslate", "endcomment"):
            translating = False
        elif token.token_type == TokenType.TEXT and not translating:
            rest += token.contents
        elif token.token_type == TokenType.VAR and not translating:
            yield from (said for said in SAID_BY_FILTERS.findall(f"|{token.contents}") if is_text(said))
    if not html:
        yield from (line for line in rest.splitlines() if is_text(line))
        return
    parser = Texts()
    parser.feed(rest)
    parser.close()
    yield from parser.found


def literals(node: ast.expr) -> Iterator[str]:
    """Yield the string literals in `node`, an argument's expression, but not those inside a call of gettext."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
    elif isinstance(node, ast.BinOp):
        yield from literals(node.left)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from literals(value)


def said_in_python(source: str) -> Iterator[str]:
    """Yield the untranslated texts in Python source that users would see, such as messages, labels and help texts.

    A single word counts only if it is a label of a TextChoices class.
    """
    for node in ast.walk(ast.parse(source)):
        spoken: list[ast.expr] = []
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if (
                name in SAYING_CALLS
                or name in {f"messages.{level}" for level in MESSAGES}
                or name.endswith(".add_error")
            ):
                spoken += node.args
            spoken += [keyword.value for keyword in node.keywords if keyword.arg in SAYING_KEYWORDS]
        if isinstance(node, ast.ClassDef) and any("TextChoices" in ast.unparse(base) for base in node.bases):
            rows = [row.value for row in node.body if isinstance(row, ast.Assign)]
            labels = [row.elts[-1] for row in rows if isinstance(row, ast.Tuple)]
            yield from (said for label in labels for said in literals(label) if is_text(said))
        if isinstance(node, ast.Dict):
            keys = [key.value if isinstance(key, ast.Constant) else "" for key in node.keys]
            spoken += [value for key, value in zip(keys, node.values, strict=True) if key in SPOKEN]
        yield from (said for each in spoken for said in literals(each) if is_text(said) and " " in said.strip())


# The API's own texts are English, because programmers read them.
IN_ENGLISH = ("integrations/api_docs.html", "integrations/_api_fields.html")
TRANSLATED = [path for name, path in TEMPLATES if name not in IN_ENGLISH]


@pytest.mark.parametrize("path", TRANSLATED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_template_says_nothing_in_one_language_only(path: Path) -> None:
    assert list(untranslated(path.read_text(), html=path.suffix == ".html")) == []


def test_python_says_nothing_in_one_language_only() -> None:
    ours = [path for path in MODULES if "api" not in path.parts]  # the API's texts are English, too
    found = {str(path.relative_to(ROOT)): list(said_in_python(path.read_text())) for path in ours}
    assert {path: said for path, said in found.items() if said} == {}


def translated_on_import(node: ast.AST, translators: set[str]) -> Iterator[int]:
    """Yield the lines of calls of these functions that run when the module is imported, and not in a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name) and child.func.id in translators:
            yield child.lineno
        yield from translated_on_import(child, translators)


def test_no_text_is_translated_before_the_reader_s_language_is_known() -> None:
    """Texts of modules and classes are translated by gettext_lazy; gettext would use the language of the import."""
    found = []
    for path in MODULES:
        tree = ast.parse(path.read_text())
        imports = [each for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)]
        names = [name for each in imports if each.module == "django.utils.translation" for name in each.names]
        at_once = {name.asname or name.name for name in names if name.name in ("gettext", "ngettext", "pgettext")}
        found += [f"{path.relative_to(ROOT)}:{line}" for line in translated_on_import(tree, at_once)]
    assert found == []


def test_scripts_bring_no_texts_of_their_own() -> None:
    found = {path.name: list(filter(is_text, SET_BY_SCRIPT.findall(path.read_text()))) for path in SCRIPTS}
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize(
    "template",
    [
        "<p>Hello</p>",
        '<button title="Close it">×</button>',
        '<img alt="Photo of {{ thing }}">',
        "{% if x %}Yes{% endif %}",
        '{{ name|default:"Nobody" }}',
        '{% blocktranslate %}Fine{% endblocktranslate %}<h1 aria-label="Not fine"></h1>',
    ],
)
def test_a_bare_text_is_found(template: str) -> None:
    assert len(list(untranslated(template))) == 1


@pytest.mark.parametrize(
    "template",
    [
        '<p title="{% translate "Close" %}">{% translate "Hello" %} {{ name }}</p>',
        "{% blocktranslate count n=n %}One{% plural %}{{ n }} more{% endblocktranslate %}",
        "<kbd>Enter</kbd> <code>manage.py migrate</code> <b>×</b> · <i>12:30</i> {# a remark #}",
    ],
)
def test_a_text_for_everybody_is_left_alone(template: str) -> None:
    assert list(untranslated(template)) == []


def test_bare_texts_in_python_are_found() -> None:
    source = "messages.success(request, 'It is done')\nx = Field(label=f'The {x} one')\nraise ValidationError('No no')"
    assert list(said_in_python(source)) == ["It is done", "The  one", "No no"]
    assert list(said_in_python("raise ValidationError(_('No no'))\nok(_('All %(x)s') % {'x': 1})")) == []


CATALOGUES = sorted(ROOT.glob("locale/*/*/django.po")) + sorted(ROOT.glob("*/locale/*/*/django.po"))


def test_each_app_brings_its_own_french_texts() -> None:
    owners = {po.parts[-5] for po in CATALOGUES if po.parts[-3] == "fr"}
    assert owners == {ROOT.name, "people", "appointments", "payments", "integrations"}


@pytest.mark.parametrize("po", CATALOGUES, ids=lambda po: "/".join(po.parts[-5:-2]))
def test_a_language_says_everything_that_sources_ask_for(po: Path) -> None:
    spec = importlib.util.spec_from_file_location("messages", ROOT / ".ci" / "messages.py")
    assert spec is not None
    assert spec.loader is not None
    messages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(messages)
    assert list(messages.problems(po)) == []


@pytest.mark.parametrize("po", CATALOGUES, ids=lambda po: "/".join(po.parts[-5:-2]))
def test_no_other_app_says_something_else_in_the_same_words(po: Path) -> None:
    """Django takes a text from the first installed app that has it, and a project may install ours after others."""
    with override(po.parts[-3]):
        for message in read_po(po.open("rb")):
            if message.id and isinstance(message.id, str):
                said = pgettext(message.context, message.id) if message.context else gettext(message.id)
                assert said == message.string


FRENCH = {  # what a front desk in France says, where a word-for-word translation would be odd
    "Attended": "Présent(e)",
    "Attendance": "Présence",
    "E-mail": "E-mail",
    "Net amount paid": "Total encaissé",
    "All background work is done in time.": "Toutes les tâches de fond sont faites à temps.",
    "no reason given": "sans motif",
    "Pay by QR code": "Payer avec son téléphone (QR)",
    "Wrong user name or password. Both are case-sensitive.":
        "Nom d’utilisateur ou mot de passe incorrect. Attention aux majuscules.",
    "Your bank asks you to confirm": "Votre banque vous demande de confirmer",
}  # fmt: skip


def test_the_catalogue_says_what_people_of_the_trade_say() -> None:
    catalogs = [read_po(po.open("rb")) for po in CATALOGUES if po.parts[-3] == "fr"]
    said = {message.id: message.string for catalog in catalogs for message in catalog if message.id}
    assert {text: said.get(text) for text in FRENCH} == FRENCH
    assert [key.string for catalog in catalogs if (key := catalog.get("Enter", context="key"))] == ["Entrée"]
    french, english = " ".join(map(str, said.values())).lower(), " ".join(map(str, said)).lower()
    assert [word for word in ("courriel", "spam", "honoré", "canceled") if word in french] == []
    assert "canceled" not in english, "dates are British, and so is the spelling"
