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
from tests.host_project import LEFT_OUT, NEW, WITH_USERS, HostProject, blocks
from tests.waits import PATIENCE, wait_until

PASSWORD = "choose another"
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
    project.run("manage.py", "startapp", "accounts")
    project.run("manage.py", "startapp", "theme")
    project.write("mysite/settings.py", BEFORE, at_end=True)
    project.write("accounts/models.py", USERS)
    project.write("accounts/admin.py", next(block.text for block in blocks() if "accounts/admin.py" in block.text))
    project.write("theme/templates/base.html", "The wrong base.html")
    project.write("templates/base.html", LAYOUT)
    project.write("static/css/site.css", STYLE)
    for block in blocks():
        if block.heading == NEW and ("auth.urls" in block.text or "login.html" in block.first_line):
            project._follow(block)
    project.run("manage.py", "makemigrations", "accounts")
    project.run("manage.py", "migrate")
    people = "from accounts.models import User; [User.objects.create_user(name) for name in ('old', 'older')]"
    project.run("manage.py", "shell", "-c", people)


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


@pytest.mark.timeout(900)
@pytest.mark.parametrize("prefix", ["", pytest.param("/portal", marks=pytest.mark.nightly)])
def test_the_page_leads_a_project_with_users_to_a_live_payment(
    project: HostProject, new_context: NewContext, prefix: str
) -> None:
    """With a prefix, the project is below a path of its server, runs dj-stripe's own migrations, and asks the doctor."""
    make_hostile(project)
    if prefix:
        project.mount_below(prefix)
    else:
        project.make_quick()
    project.follow(WITH_USERS)
    project.wait_until_listening()
    assert "No changes detected" in project.run("manage.py", "makemigrations", "--check")

    patient = signed_in(project, new_context, "patient", "/clinic/")
    sockets: list[str] = []
    patient.on("websocket", lambda socket: sockets.append(socket.url))
    expect(patient.get_by_text("The host’s own foot")).to_be_visible()
    patient.locator(".visit h3 a").click()
    expect_live(patient)
    assert sockets[-1].startswith(project.url.replace("http", "ws") + "/clinic/ws/payments/?")
    own_page = signed_in(project, new_context, "patient", "/visits/")
    desk = signed_in(project, new_context, "desk", "/clinic/desk/")
    for page in (own_page, desk):
        expect_live(page)
        expect(page.locator(".payment-status")).to_have_attribute("data-status", "unpaid")
        mark(page)

    session = pages.start_paying(patient)
    pages.pay_by_card(patient, pages.PAID)
    expect(patient).to_have_url(re.compile(f"{project.url}/clinic/appointments/"))
    for page in (patient, own_page, desk):
        expect_paid(page)
    expect_same_document(desk)
    expect_same_document(own_page)

    without_sockets = new_context(storage_state=patient.context.storage_state())
    without_sockets.route_web_socket(re.compile("/ws/"), lambda socket: socket.close())
    polling = without_sockets.new_page()
    polling.goto(f"{project.url}/clinic/appointments/")
    expect_live(polling, "polling")
    project.at_stripe("refund", session=session)
    expect(desk.locator(".payment-status")).to_have_attribute("data-status", "refunded")
    polling.get_by_role("link", name="Actualiser").click()
    expect(polling.locator(".payment-status")).to_have_attribute("data-status", "refunded")

    receipt = f"{project.url}/clinic/payments/"
    wait_until(lambda: receipt in project.log("work"), "the receipt is e-mailed with its link")
    if not prefix:
        return
    findings = json.loads(project.run("manage.py", "payments_doctor", "--json"))
    assert [finding for finding in findings if finding["level"] == "error"] == []


@pytest.mark.nightly
def test_the_page_leads_a_new_project_to_its_pages(project: HostProject) -> None:
    project.make_quick()
    project.follow(NEW)
    project.wait_until_listening()
    with urllib.request.urlopen(f"{project.url}/clinic/", timeout=PATIENCE) as answer:
        assert "<h1>Sign in</h1>" in answer.read().decode()
    assert {block.first_line for block in blocks()} >= set(LEFT_OUT)
