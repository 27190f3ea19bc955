"""Tests that docs/import.md says what the code does."""

from pathlib import Path

from django.utils import translation

from integrations.importing.columns import COLUMNS

PAGE = Path(__file__).parents[2] / "docs" / "import.md"


def test_the_page_lists_the_columns() -> None:
    with translation.override("en"):
        rows = [
            f"| `{column.name}`{' *' if column.needed else ''} | {', '.join(column.also)} | {column.meaning} |"
            for column in COLUMNS
        ]
    assert "\n".join(["| column | also | meaning |", "|---|---|---|", *rows]) in PAGE.read_text()
