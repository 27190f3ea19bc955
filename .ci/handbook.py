"""`./run docs` builds the handbook in both languages into .handbook/, and compares them.

English is in docs/, French in docs/fr/, in files of one name. Sphinx checks every link and picture; nothing is loaded
from other hosts. With the argument `spelling`, this program looks up the French words instead.
"""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from markdown_it import MarkdownIt
from spellchecker import SpellChecker

ROOT = Path(__file__).resolve().parents[1]
SITE, PAGES = ROOT / ".handbook", {"en": ROOT / "docs", "fr": ROOT / "docs" / "fr"}
FENCED = re.compile(r"^( *)```.*?^\1```$", re.M | re.S)
OUTSIDE = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]*", re.I)
# What a page and its translation have in common: a name and what to count.
SHAPE = {
    "headings": re.compile(r"^#+(?= )", re.M),
    "rows of tables": re.compile(r"^ *\|", re.M),
    "items of lists": re.compile(r"^ *(?:-|\d+\.) ", re.M),
    "pictures": re.compile(r"!\[[^]]*\]\(([^)]*)\)"),
    "marks": re.compile(r"<!-- .*? -->"),
}


def build(language: str) -> str:
    """Build the site of a language, and return Sphinx's warnings, "" if there are none."""
    options = ["-q", "-n", "-W", "--keep-going", "-D", f"language={language}", "-A", f"folder={language}"]
    caches, target = SITE / "caches" / language, SITE / language
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "-c", ROOT / "docs", "-d", caches, PAGES[language], target],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return done.stdout.strip() or f"exit status {done.returncode}"
    return "\n".join(loaded_from_outside(target))


def loaded_from_outside(site: Path) -> Iterator[str]:
    """Yield a line for each script, style sheet or picture that the pages of a built site load from another host."""
    for page in sorted(site.glob("*.html")):
        for found in OUTSIDE.findall(page.read_text()):
            if 'rel="canonical"' not in found:
                yield f"{page.name}: loads from another host: {found}"


def names(language: str) -> set[str]:
    return {path.name for path in PAGES[language].glob("*.md")}


def differences() -> Iterator[str]:
    """Yield a line for each page without a translation, and for each page whose translation has another shape."""
    for name in sorted(names("en") ^ names("fr")):
        yield f"docs/{name}: is not in both languages, docs/ and docs/fr/"
    for name in sorted(names("en") & names("fr")):
        english, french = ((PAGES[language] / name).read_text() for language in ("en", "fr"))
        yield from (f"docs/{name} and docs/fr/{name}: {what}" for what in unlike(english, french))


def unlike(english: str, french: str) -> Iterator[str]:
    """Yield what differs between the shapes of a page's text and of its translation's."""
    (blocks, pieces), (french_blocks, french_pieces) = code(english), code(french)
    if blocks != french_blocks:
        yield "the blocks of code differ"
    yield from (f"the translation lacks `{piece}`" for piece in sorted(set(pieces) - set(french_pieces)))
    prose = [FENCED.sub("", text) for text in (english, french)]
    for what, pattern in SHAPE.items():
        here, there = (pattern.findall(text) for text in prose)
        if what in ("headings", "pictures", "marks") and here != there:
            yield f"other {what}: {missing(here, there)}"
        elif len(here) != len(there):
            yield f"{len(here)} and {len(there)} {what}"


def code(text: str) -> tuple[list[str], list[str]]:
    """Return a page's blocks of code, without Sphinx's own, and what stands in backticks in its sentences."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    blocks = [each.content for each in tokens if each.type in ("fence", "code_block") and each.info[:1] != "{"]
    return blocks, [part.content for each in tokens for part in each.children or () if part.type == "code_inline"]


def missing(here: list[str], there: list[str]) -> str:
    only = [*(Counter(here) - Counter(there)), *(Counter(there) - Counter(here))]
    return ", ".join(only) or "in another order"


def misspelt() -> Iterator[str]:
    """Yield a line for each French word that no dictionary and not docs/fr/words.txt has, and for each wrong space.

    In French, no line may end before ; : ! ? » or after «.
    """
    dictionary = SpellChecker(language="fr")
    dictionary.word_frequency.load_words((PAGES["fr"] / "words.txt").read_text().split())
    for path in sorted(PAGES["fr"].glob("*.md")):
        for number, line in enumerate(prose(path.read_text()).splitlines(), 1):
            if re.search(r" [;!?»]| :(?=\s|$)|« ", line):
                yield f"docs/fr/{path.name}:{number}: write a narrow no-break space (U+202F) beside ; : ! ? « »"
            for word in re.findall(r"[^\W\d_]{2,}", line.replace("œ", "oe")):
                if word != word.upper() and dictionary.unknown([word]):
                    yield f"docs/fr/{path.name}:{number}: {word}"


def prose(text: str) -> str:
    """Return a page's text with its code, addresses and comments blanked, in its lines."""
    for pattern in (FENCED.pattern, r"`[^`]*`", r"\]\([^)]*\)", r"https?://\S+", r"<!--.*?-->", r"^    .*$", r"^:.*$"):
        text = re.sub(
            pattern, lambda found: "\n" * found[0].count("\n"), text, flags=re.M | re.S if "`" in pattern else re.M
        )
    return text


def problems() -> str:
    """Build both sites, compare them, and return what is wrong, "" if nothing is."""
    with ThreadPoolExecutor(2) as pool:
        built = list(pool.map(build, PAGES))
    return "\n".join(line for line in (*built, *differences()) if line)


def main(arguments: list[str]) -> int:
    found = "\n".join(misspelt()) if arguments == ["spelling"] else problems()
    print(found or "\n".join(str(SITE / language / "index.html") for language in PAGES))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
