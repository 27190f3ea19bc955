"""Tests that people are found by name and phone number in any spelling, on SQLite and on PostgreSQL."""

import logging
import unicodedata
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import Value
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import User
from appointments import week
from payments import doctor
from payments.doctor.finding import Level
from payments.models import Payment
from people import names
from tests.payments.conftest import book, patient, practitioner

__all__ = ["book", "patient", "practitioner"]
Book = Callable[..., Payment]
EVERYWHERE = [pytest.mark.django_db, pytest.mark.postgres]
PEOPLE = {
    "elodie": ("Élodie", "Lefèvre"),
    "sean": ("Seán", "O\u2019Brien"),
    "luc4": ("Jean-Luc", "Strauß"),
    "soren": ("Søren", "Bœuf"),
    "lukasz": ("Łukasz", "Yıldız"),
    "other": ("Camille", "Roux"),
}
TYPED = [
    ("elodie", "elodie"),
    ("LEFEVRE", "elodie"),
    ("lefevre elodie", "elodie"),
    ("  Lefèvre,   Élod ", "elodie"),
    (unicodedata.normalize("NFD", "ÉLODIE Lefèvre"), "elodie"),
    ("O'Brien", "sean"),
    ("o\u2019brien sean", "sean"),
    ("O\u02bcBRIEN", "sean"),
    ("OBrien", "sean"),
    ("o brien", "sean"),
    ("jean-luc", "luc4"),
    ("Jean Luc", "luc4"),
    ("Jean\u2011Luc", "luc4"),
    ("Jean \u2013 Luc STRAUSS", "luc4"),
    ("strauß", "luc4"),
    ("soren", "soren"),
    ("SØREN boeuf", "soren"),
    ("lukasz", "lukasz"),
    ("Łukasz YILDIZ", "lukasz"),
]
NOT_IN_A_NAME = ["%", "_", "\\", "e%e", "E_odie", "lefevre roux"]


@pytest.fixture
def people() -> dict[str, User]:
    return {
        login: User.objects.create_user(login, first_name=first, last_name=last)
        for login, (first, last) in PEOPLE.items()
    }


@pytest.fixture
def as_superuser() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Jean-Luc O\u2019BRIEN  Lefèvre", "jean luc obrien lefevre"),
        ("Œuvrard \u00c6gir Łoś Ðorđe Þór Ħal", "oeuvrard aegir los dorde thor hal"),
        ("İpek ISPARTA ıspanak", "ipek isparta ispanak"),
        ("Nguyễn\u00a0Ánh", "nguyen anh"),
        ("Zoë\u200b\u00ad", "zoe"),
        ("O\u00b4Brien \ufb01n", "obrien fin"),
        ("J.-P. Martin", "j p martin"),
        ("Ǿrsted", "orsted"),
        ("Ελένη", "ελενη"),
        ("'", ""),
        ("", ""),
    ],
)
def test_a_folded_name_is_plain(name: str, plain: str) -> None:
    assert names.folded(name) == plain


@given(st.text(st.characters(max_codepoint=0x24F)))
def test_one_spelling_of_a_latin_name_is_as_good_as_another(name: str) -> None:
    plain = names.folded(name)
    composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert {names.folded(text) for text in (composed, decomposed, plain, f" {name} ")} == {plain}


@given(st.text())
def test_any_name_is_folded_once_and_for_all(name: str) -> None:
    plain = names.folded(name)
    assert len(plain) <= names.LONGEST
    assert names.folded(plain) == plain


def test_a_name_that_grows_when_folded_is_cut() -> None:
    longest = names.folded("\ufdfa " * 150)
    assert len(longest) <= names.LONGEST
    assert longest == longest.strip()


class TestFinding:
    pytestmark = EVERYWHERE

    @pytest.mark.parametrize(("typed", "login"), TYPED)
    def test_the_front_desk_finds_the_payment_of_a_patient(
        self, typed: str, login: str, people: dict[str, User], book: Book
    ) -> None:
        payments = {name: book(patient=person) for name, person in people.items()}
        assert list(Payment.objects.matching(typed)) == [payments[login]]

    def test_no_wildcard_and_no_half_match_finds_a_payment(self, people: dict[str, User], book: Book) -> None:
        book(patient=people["elodie"])
        for typed in NOT_IN_A_NAME:
            assert not Payment.objects.matching(typed).exists(), typed

    def test_a_reference_and_a_name_are_found_together(self, people: dict[str, User], book: Book) -> None:
        payment, _other = book(patient=people["elodie"]), book(patient=people["other"])
        for typed in (payment.appointment.reference.lower(), f"{payment.appointment.reference[:5]} LEFEVRE"):
            assert list(Payment.objects.matching(typed)) == [payment]
        assert not Payment.objects.matching(f"{payment.appointment.reference} roux").exists()

    def test_the_admin_finds_users_and_appointments_and_completes_the_patient_of_a_booking(
        self, people: dict[str, User], book: Book, as_superuser: Client
    ) -> None:
        appointments = {name: book(patient=person).appointment for name, person in people.items()}
        to_complete = {"app_label": "clinic_appointments", "model_name": "appointment", "field_name": "patient"}
        for typed, login in TYPED:
            users = as_superuser.get("/admin/clinic_accounts/user/", {"q": typed})
            assert list(users.context["cl"].queryset) == [people[login]], typed
            visits = as_superuser.get("/admin/clinic_appointments/appointment/", {"q": typed})
            assert list(visits.context["cl"].queryset) == [appointments[login]], typed
            proposed = as_superuser.get("/admin/autocomplete/", {"term": typed, **to_complete}).json()
            assert [each["id"] for each in proposed["results"]] == [str(people[login].pk)], typed
        for typed in NOT_IN_A_NAME:
            users = as_superuser.get("/admin/clinic_accounts/user/", {"q": typed})
            assert not users.context["cl"].queryset.exists(), typed

    def test_a_week_is_booked_by_full_names_in_either_order(self, people: dict[str, User]) -> None:
        User.objects.create_user("nameless")
        full_names = {
            "elodie": ["elodie lefevre", "LEFEVRE Élodie", unicodedata.normalize("NFD", "Élodie Lefèvre")],
            "sean": ["Sean O'Brien", "O\u2018brien SEAN"],
            "luc4": ["Jean Luc Strauss", "strauß jean\u2010luc", "Strauss Jean Luc"],
        }
        for login, written in full_names.items():
            for name in written:
                assert list(week.patients_called(name)) == [people[login]], name
        for part in ("lefevre", "Jean", "Luc Strauss", "elodie%", "%", "_", "-", "’", "elodie roux"):
            assert not week.patients_called(part).exists(), part
        people["elodie"].is_active = False
        people["elodie"].save()
        assert not week.patients_called("elodie lefevre").exists()

    @pytest.mark.parametrize(
        "typed",
        ["0612345678", "06 12 34 56 78", "+33612345678", "+33 6 12 34 56 78", "0033 6.12.34.56.78", "12 34 56", "5678"],
    )
    @pytest.mark.parametrize("stored", ["+33 6 12 34 56 78", "06.12.34.56.78", "0612345678", "(06) 12-34-56-78"])
    def test_a_phone_number_is_found_however_it_is_written(self, typed: str, stored: str, as_superuser: Client) -> None:
        User.objects.create_user("other", phone="07 98 76 54 32")
        owner = User.objects.create_user("owner", phone=stored)
        found = as_superuser.get("/admin/clinic_accounts/user/", {"q": typed})
        assert list(found.context["cl"].queryset) == [owner]

    def test_an_e_mail_address_is_found_in_any_case(self, as_superuser: Client) -> None:
        owner = User.objects.create_user("owner", "Some.One@Clinic.example")
        User.objects.create_user("other", "some_one@clinic.example", phone="12")
        found = as_superuser.get("/admin/clinic_accounts/user/", {"q": "SOME.ONE@clinic.EXAMPLE"})
        assert list(found.context["cl"].queryset) == [owner]
        assert not as_superuser.get("/admin/clinic_accounts/user/", {"q": "0"}).context["cl"].queryset.exists()


def named(*people: User) -> set[str]:
    return {User.objects.get(pk=person.pk).folded_name for person in people}


class TestKeepingCurrent:
    pytestmark = EVERYWHERE

    def test_saving_a_user_folds_the_name(self) -> None:
        user = User.objects.create(username="u", first_name="Zoë", last_name="Roux")
        assert named(user) == {user.folded_name} == {"zoe roux"}
        user.last_name = "Lefèvre"
        user.save()
        assert named(user) == {"zoe lefevre"}

    def test_saving_one_field_saves_the_folded_name_with_it(self) -> None:
        user = User.objects.create(username="u", first_name="Zoë", last_name="Roux")
        user.last_name = "Lefèvre"
        user.save(update_fields=["phone"])
        assert named(user) == {"zoe roux"}
        user.save(update_fields=["last_name"])
        assert named(user) == {"zoe lefevre"}
        for loaded in (User.objects.only("last_name"), User.objects.defer("folded_name", "first_name")):
            someone = loaded.get()
            someone.last_name = f"{someone.last_name}-Ünal"
            someone.save()
        assert named(user) == {"zoe lefevre unal unal"}

    def test_other_ways_to_make_and_change_one_user_fold_the_name(self) -> None:
        made, _new = User.objects.get_or_create(username="u", defaults={"last_name": "Ré"})
        assert named(made) == {"re"}
        User.objects.update_or_create(username="u", defaults={"last_name": "Ça"})
        assert named(made) == {"ca"}

    def test_users_who_are_made_or_changed_in_bulk_have_folded_names(self) -> None:
        users = User.objects.bulk_create([User(username=f"u{n}", first_name="É", last_name=f"{n}") for n in range(3)])
        assert named(*users) == {"e 0", "e 1", "e 2"}
        for user in users:
            user.first_name = "Ø"
        User.objects.bulk_update(users, ["first_name"])
        assert named(*users) == {"o 0", "o 1", "o 2"}

    def test_an_update_of_many_rows_folds_their_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(names, "BATCH_SIZE", 1)
        users = User.objects.bulk_create([User(username=f"u{n}", first_name="É", last_name=f"{n}") for n in range(3)])
        assert User.objects.filter(last_name__in=("0", "1")).update(last_name="Ñ", phone="1") == 2
        assert named(*users) == {"e n", "e 2"}
        User.objects.filter(last_name="2").update(first_name=Value("Ü"))
        group = Group.objects.create(name="some")
        group.user_set.add(users[0])
        group.user_set.update(first_name="Å")
        assert named(*users) == {"a n", "e n", "u 2"}

    def test_the_admin_folds_the_names_it_saves(self, as_superuser: Client) -> None:
        password = "correct horse battery staple 4711"
        secret = {"password1": password, "password2": password, "usable_password": "true"}
        form = {"username": "new", "first_name": "Élodie", "last_name": "Lefèvre", **secret}
        assert as_superuser.post("/admin/clinic_accounts/user/add/", form).status_code == 302
        made = User.objects.get(username="new")
        assert made.folded_name == "elodie lefevre"
        joined = {"date_joined_0": "01/01/2026", "date_joined_1": "10:00:00", "is_active": "on"}
        page = f"/admin/clinic_accounts/user/{made.pk}/change/"
        answer = as_superuser.post(page, {"username": "new", "first_name": "Zoë", "last_name": "Ünal", **joined})
        assert answer.status_code == 302
        assert named(made) == {"zoe unal"}

    def test_migrate_folds_names_that_something_else_wrote(self) -> None:
        users = User.objects.bulk_create([User(username=f"u{n}", last_name="Roux") for n in range(3)])
        with connection.cursor() as cursor:
            cursor.execute("UPDATE clinic_accounts_user SET last_name = 'Lefèvre' WHERE username <> 'u0'")
        check = doctor.CHECKS["name-search"]()
        assert check.level == Level.ERROR
        assert "2" in check.what
        assert "manage.py migrate" in check.fix
        names.prepare_search(connection.alias)
        assert named(*users) == {"roux", "lefevre"}
        assert doctor.CHECKS["name-search"]().level == Level.OK

    def test_a_name_that_changes_meanwhile_is_not_folded_from_what_it_was(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If a name changes while fold_again corrects folded (accent-free) names, the old name isn't folded.

        The test lets fold_again work with names that were read before the change.
        """
        user = User.objects.create_user("u", last_name="Roux")
        User.objects.filter(pk=user.pk).update(folded_name="wrong")
        read = list(names.wrongly_folded(User.objects.all()))
        user.last_name = "Lefèvre"
        user.save()
        monkeypatch.setattr(names, "wrongly_folded", lambda _people: read)
        names.fold_again(User.objects.all())
        assert named(user) == {"lefevre"}


@pytest.mark.django_db
def test_sqlite_reads_names_from_the_index_alone() -> None:
    assert (
        "COVERING INDEX person_by_folded_name" in User.objects.filter(folded_name__contains="él").values("pk").explain()
    )


@pytest.mark.django_db
@pytest.mark.postgres(only=True)
class TestPostgres:
    def test_a_part_of_a_name_is_found_by_the_trigram_index(self) -> None:
        User.objects.bulk_create(
            [User(username=f"p{n}", first_name=f"Élodie{n}", last_name=f"Roux{n * n}") for n in range(20000)],
            batch_size=2000,
        )
        with connection.cursor() as cursor:
            cursor.execute("SELECT gin_clean_pending_list(%s)", [names.INDEX])  # as autovacuum would
            cursor.execute("ANALYZE clinic_accounts_user")
        found = User.objects.filter(folded_name__contains="Élodie4711")
        assert f"Bitmap Index Scan on {names.INDEX}" in found.explain()
        assert found.get().username == "p4711"
        assert names.INDEX in Payment.objects.matching("ODIE4711").explain()
        assert "person_by_folded_name" in User.objects.filter(folded_name="Élodie4711 Roux22193521").explain()

    def test_a_user_without_the_right_gets_no_index_and_is_told_so(self, caplog: pytest.LogCaptureFixture) -> None:
        assert doctor.CHECKS["name-search"]().level == Level.OK
        with connection.cursor() as cursor:
            cursor.execute("DROP EXTENSION pg_trgm CASCADE")
            cursor.execute("CREATE ROLE restricted")
            cursor.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO restricted")
            cursor.execute("SET LOCAL ROLE restricted")
            with caplog.at_level(logging.WARNING):
                names.prepare_search(connection.alias)
            cursor.execute("RESET ROLE")
        assert [(record.message, record.__dict__["error"]) for record in caplog.records] == [
            ("name_index_missing", "InsufficientPrivilege")
        ]
        check = doctor.CHECKS["name-search"]()
        assert check.level == Level.WARNING
        assert "CREATE EXTENSION pg_trgm" in check.fix
        User.objects.create_user("elodie", first_name="Élodie")
        assert User.objects.filter(folded_name__contains="ODIE").exists()
        names.prepare_search(connection.alias)
        assert doctor.CHECKS["name-search"]().level == Level.OK
