"""docs/in-your-project.md, followed word for word in an empty folder, up to a payment that both pages show at once."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.conftest import NewContext
from tests.browser.pages import expect_live, expect_same_document, mark
from tests.docs.page import follow, marked
from tests.host_project import NEW, PAGE, STRIPE, WITH_USERS, HostProject
from tests.waits import PATIENCE, wait_until

PASSWORD = "choose another"
SIGNING_IN = re.compile("UserAdmin|auth.urls|registration/login.html")  # in blocks for a new project
BEFORE = """
INSTALLED_APPS += ["accounts", "theme"]
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
STATICFILES_DIRS = [BASE_DIR / "static"]
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
LANGUAGE_CODE = "fr"
LOGIN_URL = "login"
"""
USERS = """
from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    class Meta:
        db_table = "HostPeople"
"""
LAYOUT = """{% load static %}<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>{% block title %}{% endblock %}</title>
    <link rel="stylesheet" href="{% static "css/site.css" %}">
    {% block head %}{% endblock %}
  </head>
  <body>
    <header class="host"><a href="/">The host’s own site</a> {{ user }}</header>
    {% block content %}{% endblock %}
    <footer class="host">The host’s own foot</footer>
  </body>
</html>
"""
STYLE = """
body { margin: 0; font-family: serif; }
.host { padding: 1rem; background: navy; color: white; }
.host a { color: white; }
"""


def make_hostile(project: HostProject) -> None:
    """Give the project what could collide: users in a table of its own, an app `accounts`, `base.html` and css/."""
    for path in ("accounts/__init__.py", "accounts/migrations/__init__.py", "theme/__init__.py"):
        project.write(path, "")
    project.write("mysite/settings.py", BEFORE, at_end=True)
    project.write("accounts/models.py", USERS)
    project.write("theme/templates/base.html", "The wrong base.html")
    project.write("templates/base.html", LAYOUT)
    project.write("static/css/site.css", STYLE)
    signing_in = [block for block in project.blocks(PAGE) if SIGNING_IN.search(block.text)]
    assert len(signing_in) == 3
    follow(signing_in, project.folder, project.env)
    project.manage("makemigrations", "accounts")
    project.manage("migrate")
    people = "from accounts.models import User; [User.objects.create_user(name) for name in ('old', 'older')]"
    project.manage("shell", "--command", people)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[HostProject]:
    project = HostProject(tmp_path)
    yield project
    project.stop()


def signed_in(project: HostProject, new_context: NewContext, name: str, path: str) -> Page:
    """Return a new browser's page that shows `path` after `name` has signed in on the project's own page."""
    page = new_context().new_page()
    page.goto(project.url + path)
    page.locator("[name=username]").fill(name)
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    return page


def expect_paid(page: Page) -> None:
    expect(page.locator(".payment-status")).to_have_attribute("data-status", "paid")


def page_without_sockets(like: Page, new_context: NewContext, address: str) -> Page:
    """Return a page with the login session of `like` that can open no WebSocket, and polls."""
    context = new_context(storage_state=like.context.storage_state())
    context.route_web_socket(re.compile("/ws/"), lambda socket: socket.close())
    page = context.new_page()
    page.goto(address)
    expect_live(page, "polling")
    return page


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("prefix", ["", "/portal"])
def test_the_page_leads_a_project_with_users_to_a_live_payment(
    project: HostProject, new_context: NewContext, prefix: str
) -> None:
    """With a prefix, the project is below a path of its server, and asks the doctor."""
    make_hostile(project)
    if prefix:
        project.mount_below(prefix)
    project.follow(WITH_USERS)
    assert "No changes detected" in project.manage("makemigrations", "--check")

    patient = signed_in(project, new_context, "patient", "/clinic/")
    expect(patient.get_by_text("The host’s own foot")).to_be_visible()
    patient.locator(".visit h3 a").click()
    expect_live(patient)
    own_page = signed_in(project, new_context, "patient", "/visits/")
    desk = signed_in(project, new_context, "desk", "/clinic/desk/")
    for page in (own_page, desk):
        expect_live(page)
        expect(page.locator(".payment-status")).to_have_attribute("data-status", "unpaid")
        mark(page)

    session = pages.start_paying(patient)
    pages.pay_by_card(patient, pages.PAID)
    for page in (patient, own_page, desk):
        expect_paid(page)
    expect_same_document(desk)
    expect_same_document(own_page)

    polling = page_without_sockets(patient, new_context, f"{project.url}/clinic/appointments/")
    project.at_stripe("refund", session=session)
    expect(desk.locator(".payment-status")).to_have_attribute("data-status", "refunded")
    polling.get_by_role("link", name="Actualiser").click()
    expect(polling.locator(".payment-status")).to_have_attribute("data-status", "refunded")
    receipt = f"{project.url}/clinic/payments/"
    wait_until(lambda: receipt in project.processes["work"].log(), "the receipt is e-mailed with its link")
    if not prefix:
        return
    findings = json.loads(project.manage("payments_doctor", "--json"))
    assert [finding for finding in findings if finding["level"] == "error"] == []


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_page_leads_a_new_project_to_its_pages(tmp_path: Path) -> None:
    """The project installs this repository as the page says, and at last gets the settings for Stripe itself."""
    project = HostProject(tmp_path, installs=True)
    try:
        project.follow(NEW)
        with urllib.request.urlopen(f"{project.url}/clinic/", timeout=PATIENCE) as answer:
            assert "<h1>Sign in</h1>" in answer.read().decode()
    finally:
        project.stop()
    [settings] = project.blocks(marked(PAGE, STRIPE))
    project.write("mysite/settings.py", settings.text, at_end=True)
    project.env |= {"STRIPE_SECRET_KEY": f"sk_test_{'0' * 24}", "STRIPE_WEBHOOK_SECRET": "whsec_1"}
    project.manage("check")
