"""Tests that the templates of the apps need nothing of this site, and that none of them shadows a project's own."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.template import engines
from django.template.loader import render_to_string
from django.test import RequestFactory

from accounts.models import User
from payments.context_processors import site
from tests.sources import ROOT, STATIC, TEMPLATES

APPS_OWN = [(name, path) for name, path in TEMPLATES if path.is_relative_to(ROOT / "appointments")] + [
    (name, path) for name, path in TEMPLATES if path.is_relative_to(ROOT / "payments")
]
NAMES = re.compile(r'{% (?:include|extends) "([^"]+)"')
FILES = re.compile(r'{% static "([^"]+)" %}')
OTHERS = ("admin/", "django_htmx/")  # templates and static files of the packages that the apps need
OURS = ("payments/", "appointments/", "admin/clinic_appointments/")


def ids(named: tuple[str, Path] | str) -> str:
    return named if isinstance(named, str) else named[0]


@pytest.mark.parametrize("named", APPS_OWN, ids=ids)
def test_a_template_of_the_apps_loads_all_that_it_uses(named: tuple[str, Path]) -> None:
    """It loads its tags itself, and names only templates and static files that stand in the apps too."""
    name, path = named
    text = path.read_text()
    engine: Any = engines["django"]
    assert not {"people", "payments"} & {library.split(".")[0] for library in engine.engine.builtins}
    engine.from_string(text)
    assert name.startswith(OURS)
    available = {own for own, _ in APPS_OWN}
    assert {each for each in NAMES.findall(text) if not each.startswith("admin/")} - {""} <= available
    files = {own for own, file in STATIC if file.is_relative_to(ROOT / "payments")}
    assert {each for each in FILES.findall(text) if not each.startswith(OTHERS)} <= files


def test_static_files_of_the_apps_shadow_none_of_a_project() -> None:
    ours = [name for name, path in STATIC if path.is_relative_to(ROOT / "payments")]
    assert ours
    assert not [name for name in ours if not name.startswith("payments/")]


@pytest.mark.django_db
@pytest.mark.parametrize("is_staff", [False, True])
def test_pages_are_complete_in_a_project_without_a_layout(is_staff: bool, tmp_path: Path) -> None:
    """The apps' own payments/base.html is a whole page, although this site overrides it."""
    request = RequestFactory().get("/")
    request.user = User.objects.create_user("somebody", is_staff=is_staff)
    text = (ROOT / "payments/templates/payments/base.html").read_text()
    page = engines["django"].from_string(text).render({**site(request), "user": request.user}, request)
    assert page.startswith("<!doctype html>")
    assert "/static/payments/css/pages.css" in page
    assert ("payments-page staff" in page) == is_staff
    assert '<main class="container" id="main"' in page
    assert page.rstrip().endswith("</html>")
    assert "account_" not in page


def test_this_site_shows_the_apps_pages_in_its_own_layout() -> None:
    text = render_to_string("payments/base.html", request=RequestFactory().get("/"))
    assert 'href="/static/img/favicon.svg"' in text
