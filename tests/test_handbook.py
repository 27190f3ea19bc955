"""Tests that both languages of the handbook say what the code does, with the words that stand on the screen."""

import functools
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import translation
from django.utils.translation import trans_real
from prometheus_client import REGISTRY

from integrations.api.problems import MEANINGS
from integrations.conf import IntegrationsSettings
from integrations.importing.columns import COLUMNS
from integrations.outgoing.event_types import CHOICES, RESTORED, TEST
from payments import doctor
from payments.conf import PaymentsSettings
from payments.gateway.event_types import EVENT_READERS
from payments_site.demo.site import ROOT
from people.conf import PeopleSettings, declared
from tests.docs.page import marked, take

DOCS = {"en": ROOT / "docs", "fr": ROOT / "docs/fr"}
FOR_PEOPLE = ("patients", "front-desk", "accounting", "managers")  # pages whose bold words stand on the screen
MOST_BYTES, MOST_IN_ALL = 150_000, 5_000_000  # of one picture, and of all
[EVENTS] = take("docs/operations.md", "Going live with Stripe")
PLACE = re.compile(r"%\(\w+\)s")  # for a value, in a text of the catalogue
languages = pytest.mark.parametrize("language", DOCS)


def page(name: str, language: str) -> str:
    return (DOCS[language] / f"{name}.md").read_text()


# Lists of what the code has


@languages
def test_every_metric_is_listed_with_its_labels(language: str) -> None:
    kinds = {"counter": ("counter", "compteur"), "gauge": ("gauge", "jauge"), "histogram": ("histogram", "histogramme")}
    listed = {
        name: (kind.split(",")[0], set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(r"^\| `(\w+)` \| ([^|]+?) \| ([^|]*) ?\|", page("metrics", language), re.M)
    }
    assert set(listed) == set(metrics())
    for name, (kind, labels) in metrics().items():
        assert listed[name][0] in kinds[kind], name
        assert labels == listed[name][1], name


def metrics() -> dict[str, tuple[str, set[str]]]:
    """Return the kind and the labels of each metric in the code, by its name at /metrics."""
    found = {}
    sources = [(ROOT / "payments" / name).read_text() for name in ("gauges.py", "metrics.py")]
    for source in sources:
        for kind, name, rest in re.findall(
            r'\b(Counter|Histogram|GaugeMetricFamily)\(\s*"(payments_\w+)"((?:[^()]|\([^()]*\))*)\)', source
        ):
            labels = set(re.findall(r'"(\w+)"', "".join(re.findall(r"\[([^]]*)\]", rest))))
            ending = "_total" if kind == "Counter" else ""
            found[name + ending] = (kind.removesuffix("MetricFamily").lower(), labels)
    return found


@pytest.mark.django_db
def test_no_metric_is_overlooked() -> None:
    shown = {family.name for family in REGISTRY.collect() if family.name.startswith("payments_")}
    assert shown <= {name.removesuffix("_total") for name in metrics()}


@languages
def test_every_event_of_the_log_is_listed(language: str) -> None:
    apps = ("accounts", "appointments", "integrations", "payments", "people")
    sources = "\n".join(path.read_text() for app in apps for path in (ROOT / app).rglob("*.py"))
    logged = set(re.findall(r'\blogger\.\w+\(\s*"(\w+)"', sources))
    listed = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.+?) \|", page("log", language), re.M))))
    assert listed == logged


@languages
def test_every_close_code_is_listed(language: str) -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "payments").rglob("*.py"))
    lines = re.findall(r"^[A-Z_, ]+ = ([\d, ]+)  # (?:the socket's )?close code", sources, re.M)
    rows = re.findall(r"^\| ([\d, ]+) \|", page("components", language), re.M)
    used, listed = ({code for codes in each for code in codes.split(", ")} for each in (lines, rows))
    assert listed == used | {"1006", "1012"}  # which browsers and servers make


@languages
def test_every_event_of_the_browser_is_listed(language: str) -> None:
    scripts = [path.read_text() for path in (ROOT / "payments/static/payments/js").glob("*.js")]
    sent = {name for text in scripts for name in re.findall(r'(?:new CustomEvent|#emit)\("([\w:]+)"', text)}
    rows = re.findall(r"^\| `([a-z]+:[a-z]+)` \| ([^|]*) \| ([^|]*) \|$", page("components", language), re.M)
    assert {name for name, *_ in rows} == sent


@languages
def test_every_status_of_the_api_is_listed(language: str) -> None:
    rows = re.findall(r"^\| (\d[\d, ]*)(?: [a-z]+ `Retry-After`)? \|", page("api", language), re.M)
    assert {int(status) for row in rows for status in row.split(", ")} == MEANINGS.keys()


@languages
def test_the_defaults_of_settings_are_those_of_the_code(language: str) -> None:
    source = (ROOT / "payments_site/settings.py").read_text()
    defaults = dict(re.findall(r'\benv\.\w+\("([A-Z_]+)", (\d+|"[^"]+")\)', source))
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]*) \|", marked(page("settings", language), "configuration"), re.M)
    told = {name: re.match(r"`[^`]*`|\d+(?=[\s\u202f]*:|$)|", cell)[0].strip("`") or cell for name, cell in rows}  # type: ignore[index]
    assert len(defaults) > 10
    assert {name: told[name] for name in defaults} == {name: text.strip('"') for name, text in defaults.items()}


def test_the_events_of_stripe_are_those_that_are_read() -> None:
    assert EVENTS.text.split() == list(EVENT_READERS)


@languages
def test_the_settings_of_other_projects_are_those_of_the_code(language: str) -> None:
    _, table, _ = page("settings", language).split("\n## ")
    source = (ROOT / "payments_site/settings.py").read_text()
    variables = dict(re.findall(r'^([A-Z_]+) = env\.\w+\("([A-Z_]+)"', source, re.M))
    settings = [each for owner in (PeopleSettings, PaymentsSettings, IntegrationsSettings) for each in declared(owner)]
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \| ([^|]+) \|$", table, re.M)
    assert [name for name, *_ in rows] == [each.name for each in settings]
    for each, (name, default, variable) in zip(settings, rows, strict=True):
        shown = str(each.default) if isinstance(each.default, bool) else json.dumps(each.default)
        assert default == ({"en": "needed", "fr": "nécessaire"}[language] if each.default is None else f"`{shown}`")
        assert name not in variables or variable == f"`{variables[name]}`"


@languages
def test_every_system_check_is_listed(language: str) -> None:
    found = [
        label if label.startswith("clinic_") else label.replace("{LABEL}", "clinic_payments")
        for app in ("accounts", "people", "payments", "integrations")
        for path in (ROOT / app).rglob("*.py")
        for label in re.findall(r'\bid=f?"([\w{}]+\.[EW]\d+)"', path.read_text())
        if not label.startswith("{label}")  # of each app: a setting is missing or of a wrong type
    ]
    assert len(found) == len(set(found))
    assert set(re.findall(r"^\| `(clinic_\w+\.[EW]\d+)` \|", page("settings", language), re.M)) == set(found)


@languages
def test_every_check_has_its_section(language: str) -> None:
    _, *sections = re.split(r"^### `([a-z-]+)`$", page("troubleshooting", language), flags=re.M)
    assert sections[::2] == [*doctor.IN_PROCESS, *doctor.CHECKS]
    for name, text in zip(sections[::2], sections[1::2], strict=True):
        assert {"en": "**Do:**", "fr": "**Que faire :**"}[language] in plain(text), name


@languages
def test_the_columns_of_an_import_are_those_of_the_code(language: str) -> None:
    with translation.override(language):
        rows = [
            f"| `{column.name}`{' *' if column.needed else ''} | {', '.join(column.also)} | {column.meaning} |"
            for column in COLUMNS
        ]
    assert plain("\n".join(rows)) in plain(page("import", language))


@languages
def test_the_types_of_outgoing_webhooks_are_those_of_the_code(language: str) -> None:
    rows = re.findall(r"^\| `(.+)` \| (?:[^|]*: )?(.+) \|$", page("outgoing-webhooks", language), re.M)
    with translation.override(language):
        labels = {name: plain(str(label)) for name, label in CHOICES.items()}
    assert {name: plain(text) for name, text in rows} == labels
    assert {f"`{name}`" in page("outgoing-webhooks", language) for name in (TEST, RESTORED)} == {True}


# The words on the screen


def bold(name: str, language: str) -> Iterator[str]:
    """Yield the bold words of a page, without what stands behind them on the screen, such as an ellipsis."""
    for text in re.findall(r"\*\*(.+?)\*\*", page(name, language), re.S):
        yield plain(text)


def plain(text: str) -> str:
    return " ".join(text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ").split()).rstrip(
        "…."
    )


@functools.cache
def catalogue() -> tuple[dict[str, set[str]], list[tuple[re.Pattern[str], str]]]:
    """Return the French of each English text on the screen, this site's and Django's; all as `plain` makes them.

    Texts with places for values come as pairs of a pattern and the French text.
    """
    french: Any = trans_real.translation("fr")
    whole: dict[str, set[str]] = {}
    patterns = []
    for part in french._catalog._catalogs:
        for key, value in part.items():
            english = plain((key[0] if isinstance(key, tuple) else key).rpartition("\x04")[2])
            if not PLACE.search(english):
                whole.setdefault(english.lower(), set()).add(plain(value))
            elif len(PLACE.sub("", english)) > 4:
                patterns.append((pattern_of(english), plain(value)))
    return whole, patterns


def pattern_of(text: str) -> re.Pattern[str]:
    """Return a pattern of what the screen can show for this text."""
    return re.compile("(.+)".join(map(re.escape, PLACE.split(text))), re.I)


def french_of(words: str) -> set[str]:
    """Return the French texts for which the screen shows the English `words`; empty if it never shows them."""
    whole, patterns = catalogue()
    return whole.get(words.lower(), set()) | {french for pattern, french in patterns if pattern.fullmatch(words)}


@pytest.mark.parametrize("name", FOR_PEOPLE)
def test_bold_words_stand_on_the_screen_in_both_languages(name: str) -> None:
    there, translated = set(bold(name, "fr")), set()
    for words in set(bold(name, "en")):
        possible = french_of(words)
        assert possible, f"no text on the screen says {words!r}"
        matching = {each for each in there if any(pattern_of(text).fullmatch(each) for text in possible)}
        assert matching, f"docs/fr/{name}.md has none of {possible} in bold, for {words!r}"
        translated |= matching
    assert there <= translated, f"only in docs/fr/{name}.md: {there - translated}"


# Pictures


@languages
def test_every_picture_is_small_and_shown(language: str) -> None:
    folder = DOCS[language] / "images"
    files = {path.name for path in folder.iterdir()} - {"words.json"}
    shown_there = {
        name
        for path in DOCS[language].glob("*.md")
        for name in re.findall(r"!\[[^]]*\]\(images/([^)]+)\)", path.read_text())
    }
    assert files == shown_there
    assert set(json.loads((folder / "words.json").read_text())) == files - {"live.gif"}
    for name in files - {"live.gif"}:
        assert (folder / name).stat().st_size < MOST_BYTES, name
    assert (folder / "live.gif").stat().st_size < 10 * MOST_BYTES


def test_all_pictures_together_are_small() -> None:
    assert sum(path.stat().st_size for folder in DOCS.values() for path in (folder / "images").iterdir()) < MOST_IN_ALL


# The check of ./run check


@pytest.fixture
def check() -> dict[str, object]:
    return runpy.run_path(str(ROOT / ".ci/handbook.py"))


@pytest.mark.parametrize(
    ("french", "told"),
    [
        ("# Un\n\n## Deux\n", []),
        ("# Un\n\n### Deux\n", ["other headings: ##, ###"]),
        ("# Un\n", ["other headings: ##"]),
        ("# Un\n\n## Deux\n\n- trois\n", ["0 and 1 items of lists"]),
        ("# Un\n\n## Deux\n\n```sh\nls\n```\n", ["the blocks of code differ"]),
        ("# Un\n\n## Deux\n\n    ls\n", ["the blocks of code differ"]),
    ],
)
def test_a_translation_of_another_shape_is_told(check: dict[str, object], french: str, told: list[str]) -> None:
    assert list(check["unlike"]("# One\n\n## Two\n", french)) == told  # type: ignore[operator]


def test_a_page_that_loads_from_another_host_is_told(check: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="https://a.example/"></a><script src="https://b.example/x.js"></script>')
    [line] = check["loaded_from_outside"](tmp_path)  # type: ignore[operator]
    assert "b.example" in line


def test_french_words_are_looked_up_without_code(check: dict[str, object]) -> None:
    prose = check["prose"]("Un `mot` et\n```sh\nfoo\n```\n[lien](page.md) https://a.example/b")  # type: ignore[operator]
    assert prose.split() == ["Un", "et", "[lien"]


def test_a_translation_has_the_same_words_in_code(check: dict[str, object]) -> None:
    told = check["unlike"]("# One\n\nUse `--fix` or `a|b`.\n", "# Un\n\n`--fix`, `README.md`\n")  # type: ignore[operator]
    assert list(told) == ["the translation lacks `a|b`"]
