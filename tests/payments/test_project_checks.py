"""Tests of what is explained to a project that installs the apps: each thing that it lacks, and the line to write."""

import copy
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.checks import Error, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands
from django.db import models
from django.test import Client
from pytest_django.fixtures import Settings

from integrations.conf import IntegrationsSettings, app_settings
from payments import checks, project_checks
from payments.conf import PaymentsSettings
from people.checks import user_model
from people.conf import PeopleSettings, Setting, declared

OWNERS = {
    "clinic_people": PeopleSettings,
    "clinic_payments": PaymentsSettings,
    "clinic_integrations": IntegrationsSettings,
}
ALL: list[Setting[Any]] = [each for owner in OWNERS.values() for each in declared(owner)]
REQUIRED = {"CLINIC_SITE_URL", "CLINIC_NAME", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRETS"}


@pytest.fixture(autouse=True)
def healthy(settings: Settings) -> None:
    """Give each test settings of which no check complains."""
    settings.SECRET_KEY = "aB3-x" * 12


def errors() -> list[tuple[str, str]]:
    """Return the id and text of each error that the apps' checks give."""
    found = [each for each in run_checks(tags=["people", "payments", "integrations"]) if isinstance(each, Error)]
    return [(str(each.id), f"{each.msg} {each.hint}") for each in found]


def test_this_site_has_all_that_the_apps_need() -> None:
    assert errors() == []


def test_only_what_has_no_safe_default_must_be_set() -> None:
    assert {each.name for each in ALL if each.default is None} == REQUIRED
    for each in ALL:
        assert each.meaning.endswith("."), each.name
        assert each.default is None or each.kind.accepts(each.default), each.name


@pytest.mark.parametrize("name", [each.name for each in ALL])
def test_a_setting_that_is_missing_has_its_default_or_is_explained(name: str, settings: Settings) -> None:
    delattr(settings, name)
    if name in REQUIRED:
        ((label, text),) = errors()
        assert label.endswith(".E100")
        assert f"Add to your settings: {name} = " in text
        with pytest.raises(ImproperlyConfigured, match=f"{name} is not set.*Add to your settings: {name} = "):
            getattr(app_settings, name)
    else:
        assert errors() == []
        assert getattr(app_settings, name) == next(each.default for each in ALL if each.name == name)


def test_without_any_of_the_settings_each_required_one_is_explained(settings: Settings) -> None:
    for each in ALL:
        delattr(settings, each.name)
    assert {text.split()[0] for _label, text in errors()} == REQUIRED
    assert {str(message.id)[-4:] for message in checks.problems()} == {"E100"}


WRONG: dict[str, list[Any]] = {
    "CLINIC_SITE_URL": [
        "clinic.example", "ftp://clinic.example", "https://clinic.example/", "https://clinic.example/app",
        "https://clinic.example?a=b", "https://", "https://clinic.example:port", "https://[", b"https://a.example", 1,
    ],
    "CLINIC_NAME": [1, ["Clinic"]],
    "CLINIC_LEGAL_LINES": ["SIRET 123", [1]],
    "STRIPE_WEBHOOK_SECRETS": ["whsec_1", [None]],
    "STRIPE_LIVE_MODE": ["1", 1],
    "CLINIC_FRONT_DESK_REFUND_LIMITS": [{"eur": 10.0}, {"eur": -1}, {"EUR": 1}, {"euro": 1}, {"eur": True}, 100, [1]],
    "CLINIC_PAYMENT_REMINDER_DAYS": ["3", 1.5, -1, True],
    "CLINIC_PROBE_SECONDS": ["60", -1],
    "CLINIC_OUTGOING_WEBHOOK_NETWORKS": ["10.0.0.0/8", ["10.0.0.1/8"], ["intranet"]],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_value_of_a_wrong_type_is_explained(name: str, value: object, settings: Settings) -> None:
    setattr(settings, name, value)
    ((label, text),) = errors()
    assert label.endswith(".E101")
    assert text.startswith(f"{name} has a wrong value. Set it to ")


@pytest.mark.parametrize("value", ["http://localhost:8000", "https://clinic.example", "http://[::1]:9"])
def test_an_origin_is_right(value: str, settings: Settings) -> None:
    settings.CLINIC_SITE_URL = value
    assert errors() == []


@pytest.mark.parametrize("name", project_checks.APPS)
def test_an_app_that_is_missing_is_explained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda each: each != name)
    ((label, text),) = [(each.id, each.hint) for each in project_checks.installed_apps(None)]
    assert (label, text) == ("clinic_payments.E020", f'Add "{name}" to INSTALLED_APPS.')


@pytest.mark.parametrize("name", ["people", "appointments", "djstripe"])
def test_an_app_whose_models_are_needed_is_explained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda each: each != name)
    with pytest.raises(ImproperlyConfigured, match=f'Add "{name}" to INSTALLED_APPS'):
        apps.get_app_config("clinic_payments").import_models()


@pytest.mark.parametrize("name", project_checks.MIDDLEWARE)
def test_middleware_that_is_missing_is_explained(name: str, settings: Settings) -> None:
    settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if each != name]
    ((label, text),) = errors()
    assert label == "clinic_payments.E021"
    assert f'Add "{name}" to MIDDLEWARE' in text


@pytest.mark.parametrize("pair", project_checks.ORDER)
def test_middleware_in_a_wrong_order_is_explained(pair: tuple[str, str, str], settings: Settings) -> None:
    first, second, _reason = pair
    others = [each for each in settings.MIDDLEWARE if each not in (first, second)]
    settings.MIDDLEWARE = [*others, first, second]
    right = errors()
    settings.MIDDLEWARE = [*others, second, first]
    assert [label for label, _text in errors() if (label, _text) not in right] == ["clinic_payments.E022"]


@pytest.mark.parametrize("name", project_checks.PROCESSORS)
def test_a_context_processor_that_is_missing_is_explained(name: str, settings: Settings) -> None:
    engines = copy.deepcopy(settings.TEMPLATES)
    engines[0]["OPTIONS"]["context_processors"].remove(name)
    settings.TEMPLATES = engines
    ((label, text),) = errors()
    assert label == "clinic_payments.E025"
    assert f'Add "{name}"' in text


def test_templates_that_are_not_found_are_explained(settings: Settings) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "APP_DIRS": False}]
    ((label, text),) = errors()
    assert label == "clinic_payments.E024"
    assert '"APP_DIRS": True' in text


CASES: list[tuple[str, Any, str, str]] = [
    ("LOGIN_URL", "/nowhere/", "E027", "django.contrib.auth.urls"),
    ("LOGIN_URL", "no_such_name", "E027", "django.contrib.auth.urls"),
    ("SESSION_ENGINE", "django.contrib.sessions.backends.signed_cookies", "E028", "backends.db"),
    ("SESSION_ENGINE", "django.contrib.sessions.backends.cache", "E028", "backends.db"),
    ("DJSTRIPE_FOREIGN_KEY_TO_FIELD", "djstripe_id", "E029", '"id"'),
    ("CHANNEL_LAYERS", {}, "E030", "InMemoryChannelLayer"),
    ("DATABASES", {"default": {"ENGINE": "django.db.backends.mysql"}}, "E031", "postgresql"),
    ("USE_TZ", False, "E032", "USE_TZ = True"),
    ("ROOT_URLCONF", "django.contrib.auth.urls", "E026", "payments.urls"),
]


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
@pytest.mark.parametrize(("name", "value", "problem", "line"), CASES)
def test_a_setting_of_django_that_does_not_suit_is_explained(
    name: str, value: object, problem: str, line: str, settings: Settings
) -> None:
    setattr(settings, name, value)
    found = [text for label, text in errors() if label == f"clinic_payments.{problem}"]
    assert line in found[0]


def test_a_login_page_of_another_site_is_right(settings: Settings) -> None:
    settings.LOGIN_URL = "https://login.example/"
    assert errors() == []


def test_a_user_model_whose_key_is_no_number_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_user_model()._meta, "pk", models.UUIDField(primary_key=True))
    assert [each.id for each in user_model(None)] == ["clinic_people.E004"]


def test_a_command_that_another_app_has_too_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert project_checks.commands(None) == []
    monkeypatch.setattr(project_checks, "get_commands", lambda: {**get_commands(), "work": "farm"})
    (found,) = project_checks.commands(None)
    assert found.id == "clinic_payments.W033"
    assert 'Put "payments" before "farm" in INSTALLED_APPS' in str(found.hint)


PUBLIC = {
    "/livez": 200,
    "/p/unknown/": 404,
    "/stripe/webhook/": 405,
    "/api/changes": 401,
    "/calendar/unknown.ics": 404,
}


@pytest.mark.django_db
@pytest.mark.parametrize("path", PUBLIC)
def test_what_needs_no_session_stays_open_where_all_else_needs_one(path: str, settings: Settings) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert Client().get(path).status_code == PUBLIC[path]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/desk/", "/appointments/"])
def test_pages_about_patients_need_a_session(path: str) -> None:
    assert Client().get(path).status_code == 302
