"""Tests of what pages ask of a project's way of signing in, and of the checks of its user model."""

from typing import Any

import pytest
from django.contrib.auth.models import UserManager
from django.http import HttpResponse
from django.test import Client, RequestFactory
from pytest_django.fixtures import Settings

from accounts.models import User
from payments.models import Payment
from people import checks, sign_in
from people.models import PersonManager
from tests.payments.conftest import book, clerk, patient, practitioner

__all__ = ["book", "clerk", "patient", "practitioner"]


@pytest.fixture
def plain(settings: Settings) -> None:
    """Use the sign-in of a project that has set nothing, although staff of this site need a second factor."""
    settings.REQUIRE_MFA = True
    del settings.CLINIC_SIGN_IN


@pytest.mark.django_db
@pytest.mark.usefixtures("plain")
def test_django_s_own_sign_in_asks_for_no_second_proof(book: Any, clerk: User) -> None:
    """Without the setting CLINIC_SIGN_IN, money moves and pages are live without a second factor or a new proof."""
    payment: Payment = book()
    request = RequestFactory().post(f"/desk/{payment.appointment.reference}/refund/")
    request.user = clerk
    assert not sign_in.lacks_second_factor(clerk, {})
    page = HttpResponse("the page")
    assert sign_in.proof_required(lambda request: page)(request) is page


@pytest.mark.django_db
@pytest.mark.usefixtures("plain")
def test_django_s_own_sign_in_offers_no_invitation(clerk: User, patient: User, settings: Settings) -> None:
    patient.email = "camille@clinic.example"
    assert not sign_in.current().may_invite(patient)
    with pytest.raises(sign_in.NotInvitableError):
        sign_in.current().invite(RequestFactory().post("/"), patient)


@pytest.mark.usefixtures("plain")
def test_without_steps_the_sign_in_page_alone_is_one(settings: Settings) -> None:
    settings.LOGIN_URL = "/door/"
    assert sign_in.step_paths() == {"/door/"}


@pytest.mark.django_db
@pytest.mark.usefixtures("plain")
def test_pages_lead_to_the_project_s_own_sign_in_page(client: Client, clerk: User, settings: Settings) -> None:
    settings.LOGIN_URL = "/door/"
    settings.REQUIRE_MFA = False
    client.force_login(clerk)
    page = client.get("/desk/").content.decode()
    assert '<a href="/door/?next=%2Fdesk%2F"' in page


def problems(found: list[Any]) -> list[str]:
    return [problem.id for problem in found]


def test_this_site_s_user_model_and_sign_in_are_sound() -> None:
    assert not problems(checks.user_model(None) + checks.sign_in_policy(None))


def test_a_user_model_without_a_patient_s_fields_is_explained(settings: Settings) -> None:
    settings.AUTH_USER_MODEL = "auth.User"
    (found,) = checks.user_model(None)
    assert found.id == "clinic_people.E001"
    assert "class User(PatientFields)" in str(found.hint)


def test_a_manager_that_finds_no_patients_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager that inherits PersonManager is sound, and Django's own is not."""

    class Members(PersonManager[User]):
        pass

    for manager, expected in ((Members(), []), (UserManager[User](), ["clinic_people.E002"])):
        manager.model = User
        monkeypatch.setattr(User._meta, "default_manager", manager)
        assert problems(checks.user_model(None)) == expected


@pytest.mark.parametrize("path", ["nowhere.SignIn", "people.sign_in.step_paths", "people.sign_in.View"])
def test_a_setting_that_names_no_way_of_signing_in_is_explained(path: str, settings: Settings) -> None:
    settings.CLINIC_SIGN_IN = path
    assert problems(checks.sign_in_policy(None)) == ["clinic_people.E003"]
