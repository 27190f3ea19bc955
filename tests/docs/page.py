"""Reads the code blocks of a Markdown page, and does with them what the page tells its reader to do.

The first line of a block names its file in a comment, such as `# today/views.py`, `// today/static/hooks.js` or
`{# today/templates/list.html #}`. Behind the name of a file that exists stands `(at the end)` if the block is added to
it, or `(the whole file)` if the block replaces it. Blocks of the language `sh` are commands.
"""

import re
import subprocess
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

FENCED = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
HOW = r"(?: \((?P<how>at the end|the whole file)\))?"
NAMED = re.compile(rf"(?:#|//|\{{#|<!--) (?P<file>[\w./-]+\.\w+){HOW}(?: #\}}| -->)?\n")


@dataclass(frozen=True)
class Block:
    """A block of code. `file` is "" if it names none.

    The block is added to a file that exists if `at_end`, and replaces one if `whole`.
    """

    language: str
    text: str
    file: str = ""
    at_end: bool = False
    whole: bool = False


def read_blocks(page: Path) -> list[Block]:
    """Return the page's blocks of code, from its top to its end."""
    found = []
    for fenced in FENCED.finditer(page.read_text()):
        text = textwrap.dedent(fenced["text"])
        named = NAMED.match(text)
        file, how = (named["file"], named["how"]) if named else ("", "")
        found.append(Block(fenced["language"], text, file, how == "at the end", how == "the whole file"))
    return found


def marked(text: str, name: str) -> str:
    """Return the part of a page's text that stands between the comments `<!-- name -->` and `<!-- /name -->`."""
    [part] = re.findall(f"<!-- {name} -->\n(.*)<!-- /{name} -->", text, re.S)
    return str(part)


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
