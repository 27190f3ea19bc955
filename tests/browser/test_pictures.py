"""Takes the handbook's pictures again and compares the words on them with those on the kept pictures."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests import pictures


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_pictures_of_the_handbook_show_the_pages_as_they_are(browser: Browser, tmp_path: Path) -> None:
    def folder_of(language: str) -> Path:
        (tmp_path / language).mkdir()
        return tmp_path / language

    for language, words in pictures.take_all(browser, folder_of):
        kept = json.loads((pictures.FOLDERS[language] / "words.json").read_text())
        assert set(words) == set(kept)
        changed = {file: set(words[file]) ^ set(kept[file]) for file in words if words[file] != kept[file]}
        assert not changed, f"the pages have changed: ./run pictures\n{changed}"
        assert (tmp_path / language / "live.gif").stat().st_size > 10_000
