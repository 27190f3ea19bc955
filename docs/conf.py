"""Sphinx's settings for the handbook. `./run docs` builds the English site from docs/, the French one from docs/fr/."""

import re
from pathlib import Path

from sphinx.application import Sphinx

project = "payments-live"
author = "The payments-live authors"
extensions = ["myst_parser"]
exclude_patterns = ["fr"]
myst_heading_anchors = 3  # for links such as operations.md#backups, as on GitHub
suppress_warnings = ["misc.highlighting_failure"]  # Pygments knows no Django templates in HTML

html_theme = "furo"
html_title = "payments-live"
html_copy_source = False
html_show_sphinx = False
html_use_index = False
html_static_path = [str(Path(__file__).parent / "_static")]
html_css_files = ["handbook.css"]
templates_path = [str(Path(__file__).parent / "_templates")]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/language.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}


def setup(app: Sphinx) -> None:
    """Show links to files outside the handbook as text, because the site doesn't have these files."""

    def unlink(app: Sphinx, page: str, source: list[str]) -> None:
        source[0] = re.sub(r"\[([^]]*)\]\((?:\.\./)+[^)]*\)", r"\1", source[0])

    app.connect("source-read", unlink)
