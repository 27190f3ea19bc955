"""Finds the patients of a file among the site's, and makes those that are new.

A patient is found by external id. A patient whom the other software has just numbered is recognised by the e-mail
address and the name, or by the name and the birth date. A name alone never decides: two people may share it.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db.models import QuerySet
from django.db.models.functions import Lower
from django.utils.translation import gettext as _

from people.models import PatientFields, new_username
from people.names import folded_name

from .cells import Line, WrongCellError

DETAILS = {"last_name": "last_name", "first_name": "first_name", "birth_date": "birth_date", "email": "email",
           "phone": "phone", "patient_id": "external_id"}  # fmt: skip


class People:
    """The patients whom the lines of a file may mean.

    `created` are new and not saved yet. `changed` holds the others whom the file changes, by their keys, each with the
    names of the changed fields.
    """

    def __init__(self, lines: Iterable[Line], *, locked: bool) -> None:
        self.created: list[PatientFields] = []
        self.changed: dict[int, tuple[PatientFields, set[str]]] = {}
        self._said: dict[tuple[str, str], tuple[int, Any]] = {}
        self._by_name: defaultdict[str, list[PatientFields]] = defaultdict(list)
        self._by_email: dict[str, PatientFields] = {}
        self._by_id: dict[str, PatientFields] = {}
        people = _query(lines).order_by("pk")
        for person in people.select_for_update(no_key=True) if locked else people:
            self._remember(person)

    def _remember(self, person: PatientFields) -> None:
        self._by_name[folded_name(person)].append(person)
        if person.email:
            self._by_email[person.email.lower()] = person
        if person.external_id:
            self._by_id[person.external_id] = person

    def of(self, line: Line) -> PatientFields:
        """Return the line's patient, who may be new. Raises WrongCellError."""
        number = line.get("patient_id")
        if not number:
            return self._known(line)
        person = self._by_id.get(number) or self._recognised(line) or self._new(line)
        self._require_patient(person)
        self._update(person, line)
        return person

    def _known(self, line: Line) -> PatientFields:
        """Return the patient whom the line names without an id. Raises WrongCellError."""
        name, email = _name(line), line.get("email")
        by_email = self._by_email.get(email) if email else None
        found = [by_email] if by_email else self._named(line)
        found = [person for person in found if person.is_active and not person.is_staff]
        if by_email and name and not _same_name(by_email, line):
            raise WrongCellError(
                _("This e-mail address belongs to somebody else."), _("Correct the name or the address.")
            )
        if len(found) == 1:
            return found[0]
        if found:
            raise WrongCellError(_("Several patients have this name."), _("Add the e-mail address or the patient_id."))
        raise WrongCellError(
            _("This patient isn’t known."), _("Add a patient_id, so that the patient is created, or correct the name.")
        )

    def _named(self, line: Line) -> list[PatientFields]:
        """Return the people with the line's name; first and last name may be swapped."""
        names = {folded_name(_Named(*parts)) for parts in _orders(line)} - {""}
        return list({person.pk or id(person): person for name in names for person in self._by_name[name]}.values())

    def _recognised(self, line: Line) -> PatientFields | None:
        """Return the patient without an external id who is certainly the line's; None if it is somebody new.

        Raises WrongCellError if it may be a known patient, but not certainly.
        """
        by_email = self._by_email.get(line.get("email") or "")
        if by_email:
            if by_email.external_id or not _same_name(by_email, line):
                raise WrongCellError(
                    _("Somebody else has this e-mail address."), _("Correct the address, the name or the patient_id.")
                )
            return by_email
        alike = [person for person in self._named(line) if not person.external_id and not person.is_staff]
        born = line.get("birth_date")
        certain = [person for person in alike if born and person.birth_date == born]
        if len(certain) == 1:
            return certain[0]
        if certain or any(not (born and person.birth_date) for person in alike):
            raise WrongCellError(
                _("A patient with this name exists, and it can’t be decided whether it is the same person."),
                _("Add birth date and e-mail address, or give that patient this external id in the administration."),
            )
        return None

    def _new(self, line: Line) -> PatientFields:
        if not line.get("last_name"):
            raise WrongCellError(_("This patient is new."), _("Fill in last_name."))
        person = get_user_model()(username=new_username(), password=make_password(None))
        for name in DETAILS.keys() & line.values.keys():
            setattr(person, DETAILS[name], line.values[name])
        self.created.append(person)
        self._remember(person)
        return person

    def _require_patient(self, person: PatientFields) -> None:
        if person.is_staff or not person.is_active:
            raise WrongCellError(
                _("This account belongs to the staff or is closed."), _("Correct the patient_id or the account.")
            )

    def _update(self, person: PatientFields, line: Line) -> None:
        """Take over the line's data about the patient. Raises WrongCellError if another line said otherwise."""
        for name in DETAILS.keys() & line.values.keys():
            value, field = line.values[name], DETAILS[name]
            row, said = self._said.setdefault((line.values["patient_id"], name), (line.number, value))
            if said != value:
                what = _("Row %(row)s says otherwise about this patient: %(column)s.")
                raise WrongCellError(what % {"row": row, "column": name}, _("Write the same in both rows."))
            stored = getattr(person, field)
            if stored == value or (name == "email" and stored.lower() == value):
                continue
            if name == "email":
                self._require_free(person, value)
            setattr(person, field, value)
            if person.pk:
                self.changed.setdefault(person.pk, (person, set()))[1].add(field)
        self._remember(person)

    def _require_free(self, person: PatientFields, email: str) -> None:
        """Raise WrongCellError unless an import may give this patient this e-mail address.

        Links to choose a password are sent to it. So the address of somebody who signs in is changed by a person.
        """
        owner = self._by_email.get(email)
        if owner and owner is not person:
            raise WrongCellError(_("Somebody else has this e-mail address."), _("Correct the address."))
        if person.has_usable_password():
            raise WrongCellError(
                _("This patient signs in with another e-mail address."), _("Change it on the patient’s page.")
            )


class _Named:
    def __init__(self, first_name: str, last_name: str) -> None:
        self.first_name, self.last_name = first_name, last_name


def _orders(line: Line) -> list[tuple[str, str]]:
    first, last = line.get("first_name") or "", line.get("last_name") or ""
    return [(first, last), (last, first)]


def _name(line: Line) -> str:
    return folded_name(_Named(*_orders(line)[0]))


def _same_name(person: PatientFields, line: Line) -> bool:
    return folded_name(person) in {folded_name(_Named(*parts)) for parts in _orders(line)}


def _query(lines: Iterable[Line]) -> QuerySet[PatientFields]:
    """Return everybody who has an id, an e-mail address or a name of the lines."""
    ids, emails, names = set[str](), set[str](), set[str]()
    for line in lines:
        ids.add(line.get("patient_id") or "")
        emails.add(line.get("email") or "")
        names |= {folded_name(_Named(*parts)) for parts in _orders(line)}
    people = get_user_model()._default_manager
    keys: set[int] = set()
    keys |= set(people.filter(external_id__among=sorted(ids - {""})).values_list("pk", flat=True))
    keys |= set(people.filter(folded_name__among=sorted(names - {""})).values_list("pk", flat=True))
    with_address = people.annotate(address=Lower("email")).exclude(email="")
    keys |= set(with_address.filter(address__among=sorted(emails - {""})).values_list("pk", flat=True))
    return people.filter(pk__among=sorted(keys))
