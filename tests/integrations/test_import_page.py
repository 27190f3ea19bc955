"""Tests of the admin's pages that import appointments."""

import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone, translation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import User
from appointments.models import Appointment, Practitioner
from integrations.importing.columns import COLUMNS
from integrations.importing.reader import read
from integrations.importing.rules import make_plan
from integrations.models import ImportFile
from payments.models import StatusChange
from tests.integrations.files import csv_of, row
from tests.payments.clients import text_of

pytestmark = pytest.mark.django_db
PAGE = "/admin/clinic_appointments/appointment/import/"
CONFIRM = "/admin/clinic_appointments/appointment/process_import/"


@pytest.fixture
def manager() -> User:
    person = User.objects.create_user("manager", password="sesame", is_staff=True)
    person.groups.add(Group.objects.get(name="manager"))
    return person


@pytest.fixture
def page(manager: User) -> Client:
    Practitioner.objects.create(name="Dr Mercier", specialty="Dermatology")
    client = Client(headers={"Accept-Language": "en"})
    client.force_login(manager)
    return client


def upload(client: Client, content: bytes, name: str = "export.csv", **more: str) -> Any:
    return client.post(PAGE, {"file": SimpleUploadedFile(name, content), **more})


def confirmation(answer: Any) -> dict[str, Any]:
    return {name: value for name, value in answer.context["confirm"].initial.items() if value}


def test_a_file_is_shown_first_and_imported_when_it_is_confirmed(page: Client, manager: User) -> None:
    answer = upload(page, csv_of(row(1), row(2)))
    assert "To be imported: 2 new appointments, 0 changed, 0 unchanged, 2 new patients." in text_of(answer)
    assert "Dates: 2026-12-31" in text_of(answer)
    assert not Appointment.objects.exists()
    done = page.post(CONFIRM, confirmation(answer), follow=True)
    assert "Imported: 2 new appointments" in text_of(done)
    assert set(StatusChange.objects.values_list("actor", flat=True)) == {manager.pk}
    assert not ImportFile.objects.exists()
    again = upload(page, csv_of(row(1), row(2)))
    assert "Everything in this file is stored already" in text_of(again)
    assert again.context["confirm"] is None


def test_the_list_leads_to_the_import_the_week_and_the_calendars(page: Client) -> None:
    content = page.get("/admin/clinic_appointments/appointment/").content.decode()
    assert f'href="{PAGE}"' in content
    assert 'href="/admin/clinic_appointments/appointment/week/"' in content
    assert 'href="/desk/calendars/"' in page.get("/admin/clinic_appointments/practitioner/").content.decode()


def test_each_problem_is_a_line_of_the_page(page: Client) -> None:
    text = text_of(upload(page, csv_of(row(1, time="x"), row(2, practitioner="Dr Who"))))
    assert "2 time This is no time of day. Write it like 09:30." in text
    assert "3 practitioner This practitioner isn’t known." in text
    assert not ImportFile.objects.exists()


def test_what_changed_since_the_preview_is_checked_again(page: Client) -> None:
    answer = upload(page, csv_of(row(1)))
    Practitioner.objects.update(name="Dr Other")
    refused = page.post(CONFIRM, confirmation(answer))
    assert "This practitioner isn’t known." in text_of(refused)
    assert not Appointment.objects.exists()


def test_a_preview_is_its_owner_s_and_is_over_after_an_hour(page: Client) -> None:
    answer = upload(page, csv_of(row(1)))
    other = Client()
    other.force_login(User.objects.create_superuser("other"))
    assert other.post(CONFIRM, confirmation(answer))["Location"] == PAGE
    ImportFile.objects.update(made_at=timezone.now() - datetime.timedelta(hours=2))
    ImportFile.forget_old()
    assert page.post(CONFIRM, confirmation(answer))["Location"] == PAGE
    assert not Appointment.objects.exists()


def test_a_large_file_is_refused(page: Client) -> None:
    assert "Upload at most 900 KB" in text_of(upload(page, b"a" * 900 * 1024 + b"a"))


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_the_file_to_fill_in_can_be_imported(page: Client, kind: str) -> None:
    answer = page.get(f"{PAGE}{kind}/")
    assert answer["Content-Disposition"] == f'attachment; filename="appointments.{kind}"'
    Practitioner.objects.update(name="Dr Anne Mercier", external_id="PRA-3")
    with translation.override("en"):
        plan = make_plan(read(answer.content))
        assert [str(problem) for problem in plan.problems] == []
    assert len(plan.new) == 1
    assert page.get(f"{PAGE}pdf/").status_code == 404


def test_the_page_names_every_column(page: Client) -> None:
    text = text_of(page.get(PAGE))
    for column in COLUMNS:
        assert f"{column.name}{' *' if column.needed else ''} {column.meaning}" in text


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: csv_of(row(1, service=text))))
def test_no_upload_is_an_error_of_the_site(page: Client, content: bytes) -> None:
    assert upload(page, content).status_code == 200
