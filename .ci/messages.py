"""./run messages [--check]: texts of code and templates into locale/*/LC_MESSAGES/django.po, compiled to django.mo.

Another language is another folder in locale/. Babel does it: Django's makemessages needs GNU gettext, rarely installed.
"""

import io
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir, extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("accounts", "appointments", "payments", "payments_site", "templates")
LAZY = {f"{name}_lazy": DEFAULT_KEYWORDS[name] for name in ("gettext", "ngettext", "pgettext", "npgettext")}


def extract_template(
    file: io.BytesIO, keywords: Mapping[str, Any], comment_tags: Collection[str], options: Any
) -> Iterator[Any]:
    """Babel's extractor for Django templates. templatize blanks all but gettext calls and keeps them on their lines."""
    python = "\n".join(line.strip() for line in templatize(file.read().decode()).splitlines())
    return extract_python(io.BytesIO(python.encode()), keywords, comment_tags, options)


def texts() -> Catalog:
    """Everything that the sources ask gettext for, with the file it is in."""
    catalog = Catalog()
    extractors: Any = [("**.py", "python"), ("**.html", extract_template), ("**.txt", extract_template)]
    for source in SOURCES:
        found = extract_from_dir(str(ROOT / source), extractors, keywords={**DEFAULT_KEYWORDS, **LAZY})
        for path, line, message, _comments, context in found:
            catalog.add(message, None, [(f"{source}/{path}", line)], context=context)
    return catalog


def new_catalog(language: str) -> Catalog:
    authors = "The payments-live authors"
    comment = f"# Translations of payments-live. Copyright {authors}, MIT licence."
    return Catalog(
        language,
        header_comment=comment,
        project="payments-live",
        version="0",
        copyright_holder=authors,
        msgid_bugs_address=authors,
        last_translator=authors,
        language_team=authors,
        revision_date=datetime.now(UTC),
        fuzzy=False,
    )


def catalog_of(po: Path) -> Catalog:
    """The kept translations on today's texts; translations of texts that are gone are dropped."""
    language = po.parts[-3]
    catalog = read_po(po.open("rb"), locale=language) if po.exists() else new_catalog(language)
    catalog.update(texts(), no_fuzzy_matching=True, update_creation_date=False)
    catalog.obsolete.clear()
    return catalog


def written(write: Callable[..., None], catalog: Catalog, **options: Any) -> bytes:
    buffer = io.BytesIO()
    write(buffer, catalog, **options)
    return buffer.getvalue()


def files_of(po: Path, catalog: Catalog) -> dict[Path, bytes]:
    """What the .po and the .mo should hold."""
    layout = {"width": 116, "include_lineno": False, "sort_by_file": True}
    return {po: written(write_po, catalog, **layout), po.with_suffix(".mo"): written(write_mo, catalog)}


def problems(po: Path) -> Iterator[str]:
    """What is wrong with a language's two files."""
    catalog = catalog_of(po)
    for message in catalog:
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        if message.id and (message.fuzzy or not all(strings)):
            yield f"no translation of {message.id!r} ({message.locations[0][0]})"
    for message, errors in catalog.check():
        yield from (f"{message.id!r}: {error}" for error in errors)
    for path, content in files_of(po, catalog).items():
        if not path.exists() or path.read_bytes() != content:
            yield f"{path.name} is not what the sources make it: ./run messages brings it up to date"


def main(arguments: list[str]) -> int:
    failed = False
    for folder in sorted((ROOT / "locale").iterdir()):
        po = folder / "LC_MESSAGES" / "django.po"
        if arguments != ["--check"]:
            po.parent.mkdir(exist_ok=True)
            for path, content in files_of(po, catalog_of(po)).items():
                path.write_bytes(content)
        for problem in problems(po):
            failed = True
            print(f"{folder.name}: {problem}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
