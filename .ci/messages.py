"""`./run messages [--check]` collects translatable texts into catalogues (django.po), and compiles them to django.mo.

What an app says is in its own locale/, which a project that installs the app gets with it. What only this site says is
in the locale/ at the top. To add a language, make its folder in each of them. Babel does the work, because Django's
makemessages needs GNU gettext, which few machines have.
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
APPS = ("appointments", "integrations", "payments", "people")
SITE = ("accounts", "payments_site", "templates")
FOLDERS = (ROOT / "locale", *(ROOT / app / "locale" for app in APPS))
LAZY = {f"{name}_lazy": DEFAULT_KEYWORDS[name] for name in ("gettext", "ngettext", "pgettext", "npgettext")}


def extract_template(
    file: io.BytesIO, keywords: Mapping[str, Any], comment_tags: Collection[str], options: Any
) -> Iterator[Any]:
    """Yield a Django template's translatable texts for Babel.

    templatize() turns the template into gettext calls and keeps line numbers; Babel then reads the result as Python.
    """
    python = "\n".join(line.strip() for line in templatize(file.read().decode()).splitlines())
    return extract_python(io.BytesIO(python.encode()), keywords, comment_tags, options)


def texts(sources: Collection[str]) -> Catalog:
    """Return a catalogue of all translatable texts in these folders, each with the files that use it."""
    catalog = Catalog()
    extractors: Any = [("**.py", "python"), ("**.html", extract_template), ("**.txt", extract_template)]
    for source in sources:
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
    """Return the catalogue of the .po file `po`, or a new one, updated to the texts that its app or the site has now.

    Translations of unchanged texts are kept; translations of deleted texts are dropped.
    """
    language, owner = po.parts[-3], po.parts[-5]
    catalog = read_po(po.open("rb"), locale=language) if po.exists() else new_catalog(language)
    catalog.update(texts((owner,) if owner in APPS else SITE), no_fuzzy_matching=True, update_creation_date=False)
    catalog.obsolete.clear()
    return catalog


def serialize(write: Callable[..., None], catalog: Catalog, **options: Any) -> bytes:
    buffer = io.BytesIO()
    write(buffer, catalog, **options)
    return buffer.getvalue()


def files_of(po: Path, catalog: Catalog) -> dict[Path, bytes]:
    """Return a dict from path to expected content (bytes), for the .po file `po` and the .mo file beside it."""
    layout = {"width": 116, "include_lineno": False, "sort_by_file": True}
    return {po: serialize(write_po, catalog, **layout), po.with_suffix(".mo"): serialize(write_mo, catalog)}


def problems(po: Path) -> Iterator[str]:
    """Yield a line for each missing or faulty translation in `po`, and for each outdated file (.po or .mo)."""
    catalog = catalog_of(po)
    for message in catalog:
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        if message.id and (message.fuzzy or not all(strings)):
            yield f"no translation of {message.id!r} ({message.locations[0][0]})"
    for message, errors in catalog.check():
        yield from (f"{message.id!r}: {error}" for error in errors)
    for path, content in files_of(po, catalog).items():
        if not path.exists() or path.read_bytes() != content:
            yield f"{path.name} is out of date: run ./run messages"


def main(arguments: list[str]) -> int:
    failed = False
    for folder in sorted(language for catalogs in FOLDERS for language in catalogs.iterdir()):
        po = folder / "LC_MESSAGES" / "django.po"
        if arguments != ["--check"]:
            po.parent.mkdir(exist_ok=True)
            for path, content in files_of(po, catalog_of(po)).items():
                path.write_bytes(content)
        for problem in problems(po):
            failed = True
            print(f"{folder.relative_to(ROOT)}: {problem}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
