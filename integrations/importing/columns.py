"""The columns that a file of appointments may have."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from people.names import folded


class Kind(Enum):
    """How a cell is read. An id may be a whole number in Excel; a phone number may not, because its zero is lost."""

    TEXT, ID, EMAIL, PHONE, DATE, TIME, COUNT, AMOUNT = range(8)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, other headers that mean it, how its cells are read, what it means and an example.

    A file has to have the column if it is `needed`.
    """

    name: str
    kind: Kind
    meaning: Promise
    example: str
    also: tuple[str, ...] = ()
    needed: bool = False


COLUMNS = (
    Column("appointment_id", Kind.ID, _("the appointment’s id in your other software"), "RDV-1001",
           ("appointment", "id rendez-vous", "rendez-vous"), needed=True),
    Column("patient_id", Kind.ID, _("the patient’s id in your other software; else the site must know the patient"),
           "PAT-17", ("id patient",)),
    Column("last_name", Kind.TEXT, _("the patient’s last name"), "Roux", ("nom", "nom patient")),
    Column("first_name", Kind.TEXT, _("the patient’s first name"), "Camille", ("prénom", "prénom patient")),
    Column("birth_date", Kind.DATE, _("the patient’s birth date"), "1985-03-14", ("date de naissance", "naissance")),
    Column("email", Kind.EMAIL, _("the patient’s e-mail address"), "camille.roux@example.org",
           ("e-mail", "courriel", "mail")),
    Column("phone", Kind.PHONE, _("the patient’s phone number"), "06 12 34 56 78", ("téléphone", "tél", "mobile")),
    Column("practitioner_id", Kind.ID, _("the practitioner’s id in your other software"), "PRA-3", ("id praticien",)),
    Column("practitioner", Kind.TEXT, _("the practitioner’s name, as on this site"), "Dr Anne Mercier",
           ("praticien", "médecin")),
    Column("service", Kind.TEXT, _("the service; if this site knows it, it fills in length and prices"), "Consultation",
           ("prestation", "acte", "motif")),
    Column("date", Kind.DATE, _("the day of the appointment"), "2026-05-31", ("jour",), needed=True),
    Column("time", Kind.TIME, _("when it starts, on the clinic’s clock"), "09:30", ("heure",), needed=True),
    Column("minutes", Kind.COUNT, _("its length in minutes"), "30", ("durée", "length")),
    Column("price", Kind.AMOUNT, _("the price"), "60.00", ("prix", "tarif")),
    Column("deposit", Kind.AMOUNT, _("the part to be paid first"), "20.00", ("acompte",)),
    Column("cancellation_fee", Kind.AMOUNT, _("what the clinic keeps after a cancellation"), "0",
           ("frais d’annulation",)),
    Column("currency", Kind.TEXT, _("the currency of the amounts, such as EUR"), "EUR", ("devise",)),
    Column("status", Kind.TEXT, _("booked, completed, cancelled or no_show"), "booked", ("statut", "état")),
)  # fmt: skip
BY_NAME = {column.name: column for column in COLUMNS}


def header_key(text: str) -> str:
    """Return the header without case, accents, underscores and needless spaces, so that " Prénom " is "prenom"."""
    return folded(text.replace("_", " "))


KEYS = {header_key(text): column for column in COLUMNS for text in (column.name, *column.also)}


def known_in(headers: Iterable[str]) -> int:
    """Return how many of these headers mean a column."""
    return sum(header_key(header) in KEYS for header in headers)
