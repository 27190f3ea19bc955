"""Tests of imports: all or nothing, each file once, and by the rules that hold at the front desk."""

import datetime
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from accounts.models import User
from appointments.models import Appointment, Practitioner, Service
from integrations.importing.rules import Plan
from integrations.importing.saving import import_file, preview
from payments.models import Feed, Payment, StatusChange
from tests.docs.page import take
from tests.integrations.files import csv_of, excel_of, row, stored
from tests.payments.stripe_story import Story, deliver

pytestmark = pytest.mark.django_db
[COMMANDS] = take("docs/import.md")


@pytest.fixture(autouse=True)
def _in_english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.fixture
def manager() -> User:
    return User.objects.create_superuser("boss", first_name="Ada", last_name="Boss")


@pytest.fixture(autouse=True)
def practitioner() -> Practitioner:
    return Practitioner.objects.create(name="Dr Mercier", specialty="Dermatology")


def load(manager: User, *rows: dict[str, Any], **options: Any) -> Plan:
    return import_file(csv_of(*rows), "export.csv", manager, **options)


def said(plan: Plan) -> list[str]:
    return [str(problem) for problem in plan.problems]


def what_is_stored() -> dict[str, int]:
    """Return how many rows each table has that an import may write."""
    models = (Appointment, Payment, StatusChange, User, LogEntry)
    return {model.__name__: model.objects.count() for model in models}


@pytest.mark.postgres
def test_new_rows_are_booked_with_their_patients_and_payments(manager: User) -> None:
    plan = load(manager, row(1), row(2, patient_id="P1", last_name="Roux 1"), row(3, price="1234.50"))
    assert not plan.problems
    first, second, third = Appointment.objects.order_by("external_id").select_related("patient", "payment")
    assert first.patient == second.patient
    assert first.patient.get_full_name() == "Camille Roux 1"
    assert not first.patient.has_usable_password()
    assert (first.price_amount, third.price_amount) == (6000, 123450)
    assert timezone.localtime(first.start).isoformat() == "2027-03-01T00:30:00+01:00"
    assert first.end - first.start == datetime.timedelta(minutes=30)
    assert (third.payment.amount_owed, third.payment.version) == (123450, 1)
    change = StatusChange.objects.get(payment=first.payment)
    assert change.actor == manager
    assert Feed.objects.of("staff").head == 3


def test_the_same_file_twice_changes_nothing_and_says_so(manager: User) -> None:
    rows = [row(number, email=f"roux{number}@example.org", birth_date="1980-02-01") for number in range(1, 4)]
    load(manager, *rows)
    before, head = what_is_stored(), Feed.objects.of("staff").head
    again = load(manager, *rows)
    assert again.is_empty
    assert again.unchanged == 3
    assert what_is_stored() == before | {"LogEntry": before["LogEntry"] + 1}
    assert Feed.objects.of("staff").head == head


@pytest.mark.postgres
def test_a_changed_row_moves_corrects_and_cancels(manager: User) -> None:
    load(manager, row(1), row(2), row(3))
    plan = load(
        manager, row(1, time="11:00", status=""), row(2, status="annulé"), row(3, last_name="Martin", price="80.00")
    )
    assert not plan.problems
    assert (len(plan.new), len(plan.changed)) == (0, 3)
    moved, canceled, dearer = Appointment.objects.order_by("external_id")
    assert timezone.localtime(moved.start).hour == 11
    assert moved.end - moved.start == datetime.timedelta(minutes=30)
    assert canceled.canceled
    assert Payment.objects.get(appointment=canceled).amount_owed == 0
    assert (dearer.patient.last_name, dearer.payment.amount_owed) == ("Martin", 8000)
    assert StatusChange.objects.filter(actor=manager).count() == 6
    assert LogEntry.objects.filter(object_id=dearer.patient.pk, change_message__contains="last_name").exists()


@pytest.mark.postgres
def test_one_problem_means_that_nothing_is_saved(manager: User) -> None:
    before = what_is_stored()
    plan = load(manager, row(1), row(2, practitioner="Dr Who"), row(3, price="x"))
    assert said(plan) == [
        "row 3 practitioner: This practitioner isn’t known. Correct it, or add the practitioner first.",
        "row 4 price: This is no amount in EUR like the others in the file. Check its decimal places and marks.",
    ]
    assert what_is_stored() == before


def test_a_preview_saves_nothing() -> None:
    before = what_is_stored()
    plan = preview(csv_of(row(1), row(2)))
    assert (len(plan.new), len(plan.new_patients), said(plan)) == (2, 2, [])
    assert what_is_stored() == before


def test_an_empty_cell_leaves_what_is_stored(manager: User) -> None:
    load(manager, row(1, email="camille@example.org", phone="0612345678"))
    load(manager, row(1, email="", phone="", price="", minutes="", service=""))
    found = Appointment.objects.get()
    assert (found.patient.email, found.patient.phone) == ("camille@example.org", "0612345678")
    assert (found.price_amount, found.service) == (6000, "Bilan")


def test_one_id_twice_is_an_error(manager: User) -> None:
    assert said(load(manager, row(1), row(2, appointment_id="A1"))) == [
        "row 3 appointment_id: Row 2 has this id too. Remove one of the two rows."
    ]


def test_rows_that_contradict_each_other_about_a_patient_are_an_error(manager: User) -> None:
    assert said(load(manager, row(1), row(2, patient_id="P1", last_name="Other"))) == [
        "row 3 patient_id: Row 2 says otherwise about this patient: last_name. Write the same in both rows."
    ]


@pytest.mark.parametrize("time", ["02:30"])
@pytest.mark.parametrize("date", ["2027-03-28", "2027-10-31"])
def test_a_time_that_clocks_skip_or_repeat_is_refused(manager: User, date: str, time: str) -> None:
    assert said(load(manager, row(1, date=date, time=time))) == [
        "row 2 time: The clocks change that night: this time is skipped or comes twice. Write another time."
    ]


def test_a_repeated_time_that_is_stored_already_is_no_problem(manager: User) -> None:
    load(manager, row(1, date="2027-10-31", time="03:30"))
    twice = datetime.datetime(2027, 10, 31, 1, 30, tzinfo=datetime.UTC)
    Appointment.objects.update(start=twice, end=twice + datetime.timedelta(minutes=30))
    assert load(manager, row(1, date="2027-10-31", time="02:30")).is_empty


@pytest.mark.postgres
def test_overlaps_are_named_unless_they_are_allowed(manager: User) -> None:
    load(manager, row(1))
    rows = [row(2, time="00:45", date="2027-03-01"), row(3, time="10:00"), row(4, time="10:15")]
    plan = load(manager, *rows)
    reference = Appointment.objects.get().reference
    assert said(plan) == [
        f"row 2 time: The practitioner has another appointment at this time: {reference}."
        " Correct the time, or allow overlaps for this file.",
        "row 4 time: The practitioner has another appointment at this time: A3."
        " Correct the time, or allow overlaps for this file.",
    ]
    assert not load(manager, *rows, overlaps=True).problems
    assert Appointment.objects.count() == 4


def test_a_patient_is_found_by_folded_name_or_address(manager: User) -> None:
    zoe = User.objects.create(username="zoe", first_name="Zoé", last_name="Le-Goff", email="Zoe@Example.org")
    rows = [
        row(1, patient_id="", first_name="ZOE", last_name="LE GOFF", email=""),
        row(2, patient_id="", first_name="", last_name="", email="zoe@example.ORG"),
    ]
    assert not load(manager, *rows).problems
    assert Appointment.objects.filter(patient=zoe).count() == 2


def test_an_ambiguous_or_unknown_name_is_a_problem(manager: User) -> None:
    for number in range(2):
        User.objects.create(username=f"ann{number}", first_name="Ann", last_name="Lee")
    rows = [row(1, patient_id="", first_name="ann", last_name="LEE"), row(2, patient_id="", last_name="Nobody")]
    assert [line.split(". ")[0] for line in said(load(manager, *rows))] == [
        "row 2 last_name: Several patients have this name",
        "row 3 last_name: This patient isn’t known",
    ]


def test_a_known_patient_gets_the_id_only_if_it_is_certain(manager: User) -> None:
    born = datetime.date(1980, 2, 1)
    ann = User.objects.create(username="ann", first_name="Ann", last_name="Lee", birth_date=born)
    unsure = load(manager, row(1, first_name="Ann", last_name="Lee"))
    assert "it can’t be decided whether it is the same person" in said(unsure)[0]
    other = load(manager, row(1, first_name="Ann", last_name="Lee", birth_date="1999-01-01"))
    assert len(other.new_patients) == 1
    sure = load(manager, row(2, first_name="Ann", last_name="Lee", birth_date="1980-02-01"))
    assert not sure.problems
    ann.refresh_from_db()
    assert ann.external_id == "P2"


def test_an_import_takes_nobody_s_address(manager: User) -> None:
    User.objects.create_user("owner", password="sesame", email="owner@example.org", last_name="Owner", external_id="P9")
    assert [line.split(". ")[0] for line in said(load(manager, row(1, email="owner@example.org")))] == [
        "row 2 patient_id: Somebody else has this e-mail address"
    ]
    assert [
        line.split(". ")[0] for line in said(load(manager, row(9, last_name="Owner", email="thief@example.org")))
    ] == ["row 2 patient_id: This patient signs in with another e-mail address"]
    staff = load(manager, row(1, patient_id="S1", last_name="Boss", first_name="Ada", birth_date="1980-01-01"))
    assert not staff.problems  # a patient with a member of staff's name is somebody new
    User.objects.filter(pk=manager.pk).update(external_id="S2")
    assert "belongs to the staff" in said(load(manager, row(2, patient_id="S2")))[0]


def test_a_practitioner_is_given_the_file_s_id_once(manager: User, practitioner: Practitioner) -> None:
    load(manager, row(1, practitioner_id="D1", practitioner="dr MERCIER"))
    practitioner.refresh_from_db()
    assert practitioner.external_id == "D1"
    assert not load(manager, row(2, practitioner_id="D1", practitioner="")).problems
    assert said(load(manager, row(3, practitioner_id="D2")))[0].startswith(
        "row 2 practitioner_id: This practitioner isn’t"
    )


def test_a_known_service_fills_in_what_is_missing(manager: User) -> None:
    Service.objects.create(name="Bilan", minutes=45, price_amount=9000, deposit_amount=3000, prepayment="deposit",
                           currency="chf")  # fmt: skip
    assert not load(manager, row(1, minutes="", price="")).problems
    found = Appointment.objects.get()
    assert (found.price_amount, found.deposit_amount, found.currency) == (9000, 3000, "chf")
    assert found.end - found.start == datetime.timedelta(minutes=45)
    unknown = load(manager, row(2, minutes="", service="Other"), row(3, price="", service="X"))
    assert [line.split(":")[0] for line in said(unknown)] == ["row 2 minutes", "row 3 price"]


def test_money_that_was_paid_keeps_its_currency(manager: User) -> None:
    load(manager, row(1))
    deliver(Story(Payment.objects.get()).completed())
    translation.activate("en")
    plan = load(manager, row(1, currency="CHF"))
    assert said(plan)[0].startswith("row 2 currency: The currency can’t be changed any more")
    assert not load(manager, row(1, price="90.00")).problems
    assert Payment.objects.get().amount_owed == 3000


def test_a_new_price_must_suit_stripe_and_the_deposit(manager: User) -> None:
    assert [line.split(":")[0] for line in said(load(manager, row(1, price="0.10")))] == ["row 2 price"]
    assert [line.split(":")[0] for line in said(load(manager, row(1, deposit="70.00")))] == ["row 2 deposit"]


def test_an_import_leaves_a_trace_without_names(manager: User, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    import_file(csv_of(row(1)), "Camille Roux.csv", manager)
    entry = LogEntry.objects.get(user=manager)
    assert "new 1, changed 0, unchanged 0, new_patients 1" in entry.change_message
    assert "appointments_imported" in caplog.messages
    for text in (entry.change_message, entry.object_repr, caplog.text, str([vars(each) for each in caplog.records])):
        assert "Roux" not in text


def test_open_pages_load_again_after_many_changes(manager: User, monkeypatch: pytest.MonkeyPatch) -> None:
    load(manager, row(1))
    epoch = Feed.objects.of("staff").epoch
    load(manager, row(2))
    assert Feed.objects.of("staff").epoch == epoch
    monkeypatch.setattr("payments.bookings.MANY", 2)
    load(manager, row(3), row(4), row(5))
    assert Feed.objects.of("staff").epoch != epoch
    assert Feed.objects.of("staff").head == 5


def test_the_number_of_queries_hardly_depends_on_the_rows(manager: User) -> None:
    counts = []
    for first, last in ((1, 21), (101, 221)):
        with CaptureQueriesContext(connection) as queries:
            load(manager, *(row(number) for number in range(first, last)))
        counts.append(len(queries))
    assert counts[1] <= counts[0] + 10


class TestCommand:
    def test_a_file_is_imported_by_the_commands_of_the_handbook(
        self, manager: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("FILE.csv").write_bytes(csv_of(row(1)))
        Path("FILE.xlsx").write_bytes(stored(excel_of(row(1, price=60.5, minutes=30))))
        counts = []
        for line in COMMANDS.text.replace("NAME", manager.username).splitlines():
            run, manage, *words = shlex.split(line, comments=True)
            assert (run, manage) == ("./run", "manage")
            call_command(*words)
            counts.append(Appointment.objects.count())
        assert counts == [0, 1]

    def run(self, path: Path, *options: str, user: str = "boss") -> None:
        call_command("import_appointments", str(path), "--user", user, *options)

    def test_it_imports_a_file_and_says_what_it_found_out(
        self, manager: User, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "file.csv"
        path.write_bytes(csv_of(row(1), row(2)))
        self.run(path, "--dry-run")
        assert not Appointment.objects.exists()
        self.run(path)
        self.run(path)
        shown = capsys.readouterr()
        assert "Separator: ;\nDates: 2026-12-31\nAmounts: 1234.50\n" in shown.out
        assert "To be imported: 2 new appointments, 0 changed, 0 unchanged, 2 new patients." in shown.out
        assert "Imported: 2 new appointments" in shown.out
        assert "Everything in this file is stored already: nothing changes." in shown.out
        assert shown.err == ""  # no progress bar when nobody watches

    def test_it_reads_excel(self, manager: User, tmp_path: Path) -> None:
        path = tmp_path / "file.xlsx"
        path.write_bytes(stored(excel_of(row(1, price=60.5, minutes=30))))
        self.run(path)
        assert Appointment.objects.get().price_amount == 6050

    def test_it_fails_with_a_line_for_each_problem(
        self, manager: User, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "file.csv"
        path.write_bytes(csv_of(row(1, time="x"), row(2, practitioner="?")))
        with pytest.raises(CommandError, match="2 problems: nothing was imported"):
            self.run(path)
        assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
            "row 2 time",
            "row 3 practitioner",
        ]

    def test_it_asks_who_imports(self, manager: User, tmp_path: Path) -> None:
        path = tmp_path / "file.csv"
        path.write_bytes(csv_of(row(1)))
        clerk = User.objects.create_user("clerk", password="sesame", is_staff=True)
        for name in ("clerk", "nobody"):
            with pytest.raises(CommandError, match="may not import"):
                self.run(path, user=name)
        clerk.groups.add(Group.objects.get(name="manager"))
        self.run(path, user="clerk")
        assert StatusChange.objects.get().actor == clerk
        with pytest.raises(CommandError, match="can't be read"):
            self.run(tmp_path / "missing.csv")
