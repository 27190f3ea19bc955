"""People's names, and search by name, whatever the case, accents, apostrophes and hyphens in the name and as typed."""

import logging
from collections.abc import Iterator
from typing import Any
from unicodedata import category, combining, normalize

from django.apps import apps as installed_apps
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import DatabaseError, connections, models, transaction
from django.db.models.lookups import Contains

logger = logging.getLogger(__name__)

PARTS = frozenset({"first_name", "last_name"})  # the fields of which a name consists
LONGEST = 400  # characters: PostgreSQL's index takes no value of more than 2,700 bytes
BATCH_SIZE = 500  # rows read at once
INDEX = "clinic_people_name_parts"
APOSTROPHES = "'`\u00b4\u02b9\u02bb\u02bc\u02bd\u2018\u2019\u201b\u2032\ua78c\uff07"
SEPARATORS = ",.\u2043\u2212"  # the last two, a bullet and a minus, look like hyphens
LETTERS = {"æ": "ae", "ð": "d", "đ": "d", "ħ": "h", "ı": "i", "ł": "l", "ø": "o", "œ": "oe", "þ": "th"}
PLAIN = str.maketrans({**dict.fromkeys(APOSTROPHES, ""), **dict.fromkeys(SEPARATORS, " "), **LETTERS})


def name_of(person: AbstractUser) -> str:
    """Return the person's first and last name, or the user name if they have none."""
    return person.get_full_name() or person.get_username()


def folded(text: str) -> str:
    """Return the text in plain lower-case letters, such as "jean luc obrien lefevre" for "Jean-Luc O’BRIEN Lefèvre".

    Accents, apostrophes and invisible characters are removed, hyphens become spaces, and words have one space between
    them. Text of more than LONGEST characters is cut.
    """
    decomposed = normalize("NFKD", text.translate(PLAIN)).casefold().translate(PLAIN)
    visible = (letter for letter in decomposed if not combining(letter) and category(letter) != "Cf")
    words = "".join(" " if category(letter) == "Pd" else letter for letter in visible).split()
    return " ".join(words)[:LONGEST].rstrip()


def folded_name(person: Any) -> str:
    return folded(f"{person.first_name} {person.last_name}")


class FoldedNameField(models.CharField):  # type: ignore[type-arg]
    """A field with the folded (simplified for search) first and last name, set whenever a row is saved or bulk-created.

    The lookups `exact`, `in` and `contains` fold the text that they compare with the field.
    """

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        name = folded_name(model_instance)
        setattr(model_instance, self.attname, name)
        return name

    def get_prep_value(self, value: Any) -> Any:
        return folded(value) if isinstance(value, str) else super().get_prep_value(value)


@FoldedNameField.register_lookup
class ContainsFolded(Contains):
    prepare_rhs = True  # by FoldedNameField.get_prep_value


def wrongly_folded(people: models.QuerySet[Any]) -> Iterator[Any]:
    """Yield the people whose stored folded name doesn't match their name, as when other software changed the row."""
    for person in people.only("folded_name", *PARTS).iterator(BATCH_SIZE):
        if person.folded_name != folded_name(person):
            yield person


def fold_again(people: models.QuerySet[Any]) -> None:
    """Correct the wrong folded names among these people. A person who is renamed at the same moment is left alone."""
    rows = [(folded_name(person), person.pk, person.first_name, person.last_name) for person in wrongly_folded(people)]
    table, key = map(connections[people.db].ops.quote_name, (people.model._meta.db_table, people.model._meta.pk.column))
    change = f"SET folded_name = %s WHERE {key} = %s AND first_name = %s AND last_name = %s"
    with transaction.atomic(people.db), connections[people.db].cursor() as cursor:
        cursor.executemany(f"UPDATE {table} {change}", rows)


def has_index(connection: Any) -> bool:
    """Return whether the database has the index that finds parts of names, or isn't PostgreSQL and needs none."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [INDEX])
        return bool(cursor.fetchone()[0])


def make_index(connection: Any, table: str) -> None:
    """Create PostgreSQL's trigram index on the table's folded names, and the extension that it needs.

    If the database's user isn't allowed to, this only logs a warning, because searches also work without the index, but
    slower.
    """
    try:
        with transaction.atomic(connection.alias), connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            cursor.execute(
                f"CREATE INDEX {INDEX} ON {connection.ops.quote_name(table)} USING gin (folded_name gin_trgm_ops)"
            )
    except DatabaseError as error:
        logger.warning("name_index_missing", extra={"error": type(error.__cause__).__name__})


def prepare_search(using: str, apps: Any = installed_apps, **kwargs: Any) -> None:
    """Receive post_migrate: correct folded names, and create PostgreSQL's index if it is missing.

    This happens at each `migrate`, because a release can change the folding rules, and the extension that the index
    needs may be installed later. `apps` has no user model yet if only other apps were migrated.
    """
    try:
        user_model = apps.get_model(settings.AUTH_USER_MODEL)
    except LookupError:
        return
    fold_again(user_model._base_manager.using(using))
    if not has_index(connections[using]):
        make_index(connections[using], user_model._meta.db_table)
