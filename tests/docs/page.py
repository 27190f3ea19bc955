"""Reads the code blocks of a Markdown page, and does with them what the page tells its reader to do.

The first line of a block names its file in a comment, such as `# today/views.py`, `// today/static/hooks.js` or
`{# today/templates/list.html #}`. Behind the name of a file that exists stands `(at the end)` if the block is added to
it, or `(the whole file)` if the block replaces it. Blocks of the language `sh` are commands.
"""

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from payments_site.demo.site import ROOT

HOW = r"(?: \((?P<how>at the end|the whole file)\))?"
NAMED = re.compile(rf"(?:#|//|\{{#|<!--) (?P<file>[\w./-]+\.\w+){HOW}(?: #\}}| -->)?\n")


@dataclass(frozen=True)
class Block:
    """A block of code, in the section of this heading. `file` is "" if it names none.

    The block is added to a file that exists if `at_end`, and replaces one if `whole`.
    """

    language: str
    text: str
    file: str = ""
    at_end: bool = False
    whole: bool = False
    page: str = ""
    section: str = ""


TAKEN: set[Block] = set()  # by the modules of tests that are imported; test_blocks.py asks for all


def take(page: str, section: str = "", *, but: tuple[str, ...] = ()) -> list[Block]:
    """Return the blocks of a page of this repository, such as docs/demo.md, or of one section, and note them in TAKEN.

    A module of tests calls this when it is imported, and its tests then do what the blocks say. The parts between the
    comments with the names `but` are left out.
    """
    blocks = read_blocks(without((ROOT / page).read_text(), *but), page)
    taken = [block for block in blocks if section in ("", block.section)]
    if not taken:
        raise ValueError(f"{page} has no block in a section {section!r}")
    TAKEN.update(taken)
    return taken


def read_blocks(text: str, page: str = "") -> list[Block]:
    """Return the blocks of code in a page's text, fenced and indented ones, from its top to its end."""
    found, section, previous = [], "", ""
    for token in parse(text):
        if previous == "heading_open":
            section = token.content
        elif token.type in ("fence", "code_block"):
            named = NAMED.match(token.content)
            file, how = (named["file"], named["how"]) if named else ("", "")
            last, all_of_it = how == "at the end", how == "the whole file"
            found.append(Block(token.info, token.content, file, last, all_of_it, page, section))
        previous = token.type
    return found


def code_in_text(text: str) -> Iterator[str]:
    """Yield what stands in backticks within the sentences and tables of a page's text."""
    for token in parse(text):
        yield from (part.content for part in token.children or () if part.type == "code_inline")


def parse(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


def marked(text: str, name: str) -> str:
    """Return the part of a page's text that stands between the comments `<!-- name -->` and `<!-- /name -->`."""
    [part] = re.findall(f"<!-- {name} -->\n(.*)<!-- /{name} -->", text, re.S)
    return str(part)


def without(text: str, *names: str) -> str:
    """Return the text without the parts between the comments `<!-- name -->` and `<!-- /name -->` of these names."""
    for name in names:
        text, count = re.subn(f" *<!-- {name} -->\n.*?<!-- /{name} -->\n", "", text, flags=re.S)
        assert count, f"The page marks nothing as {name}"
    return text


def follow(blocks: Iterable[Block], folder: Path, environment: Mapping[str, str]) -> None:
    """Write the blocks' files into `folder` and run their commands there, in the order of the page.

    Raises ValueError for a block that is neither, and CalledProcessError if a command fails.
    """
    for block in blocks:
        if block.file:
            write(block, folder)
        elif block.language == "sh":
            subprocess.run(["sh", "-e", "-c", block.text], cwd=folder, env=environment, check=True)
        else:
            raise ValueError(f"This block names no file: {block.text}")


def write(block: Block, folder: Path) -> None:
    """Write the block's file, or add the block to it. Raises ValueError if the file should exist or shouldn't."""
    path = folder / block.file
    if path.exists() != (block.at_end or block.whole):
        raise ValueError(f"{block.file} {'exists' if path.exists() else 'does not exist'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w" if block.whole else "a") as file:
        file.write(f"\n{block.text}" if block.at_end else block.text)
