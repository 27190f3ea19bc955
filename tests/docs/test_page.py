"""Tests of the reader of code blocks, on which the tests of pages rely."""

from pathlib import Path

import pytest

from tests.docs.page import Block, follow, read_blocks

PAGE = """
```python
# shop/views.py
one = 1
```

1. A list:

   ```html
   {# shop/templates/page.html #}
     <p>
   ```

```js
// shop/hooks.js
```

```python
# shop/views.py (at the end)
two = 2
```

```html
{# shop/templates/page.html (the whole file) #}
<b>
```

```sh
test -s shop/views.py
echo "$WORD" > said
```
"""


@pytest.fixture
def blocks(tmp_path: Path) -> list[Block]:
    (tmp_path / "page.md").write_text(PAGE)
    return read_blocks(PAGE)


def test_blocks_become_files_and_commands_run_in_order(blocks: list[Block], tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    follow(blocks, folder, {"WORD": "hello"})
    names: dict[str, int] = {}
    exec((folder / "shop/views.py").read_text(), names)  # noqa: S102 - written above
    assert (names["one"], names["two"]) == (1, 2)
    assert (folder / "shop/templates/page.html").read_text() == "{# shop/templates/page.html (the whole file) #}\n<b>\n"
    assert (folder / "shop/hooks.js").exists()
    assert (folder / "said").read_text() == "hello\n"


@pytest.mark.parametrize(
    "block",
    [
        Block("python", "one = 1\n"),
        Block("python", "# a.py (at the end)\n", "a.py", at_end=True),
        Block("python", "# a.py (the whole file)\n", "a.py", whole=True),
        Block("python", "# page.md\n", "page.md"),
    ],
    ids=["without a file", "added to nothing", "instead of nothing", "over another file"],
)
def test_a_block_that_cannot_be_followed_is_refused(block: Block, blocks: list[Block], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"names no file|exist"):
        follow([block], tmp_path, {})
