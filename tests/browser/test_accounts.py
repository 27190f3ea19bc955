"""Tests that staff sign in with a second factor, in a browser with a passkey."""

import datetime
import re
import shutil
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.utils import timezone
from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD, NewContext
from tests.browser.pages import sign_in
from tests.browser.test_accessibility import check
from tests.clinic import Clinic
from tests.live_site import LiveSite


@pytest.fixture
def strict_site(make_site: Callable[..., LiveSite], clinic_of: Callable[[datetime.date], Clinic]) -> str:
    """Start a site that requires second factors and return its URL.

    The URL's host is `localhost`, because passkeys need a host name.
    """
    site = make_site(start=False, REQUIRE_MFA="1", ALLOWED_HOSTS="127.0.0.1,localhost")
    address = f"http://localhost:{urlsplit(site.url).port}"
    site.server.env["SITE_URL"] = address
    shutil.copyfile(clinic_of(timezone.localdate()).site.database_file, site.database_file)
    site.start()
    return address


def put_in_a_passkey(page: Page) -> None:
    """Give the page's browser a virtual passkey device that confirms every request at once."""
    browser = page.context.new_cdp_session(page)
    browser.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
    browser.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def code_on(page: Page) -> str:
    secret = page.locator("#authenticator_secret").input_value()
    return str(format_hotp_value(hotp_value(secret, max(yield_hotp_counters_from_time()))))


def test_staff_set_up_a_code_and_a_passkey_and_sign_in_with_it(strict_site: str, new_context: NewContext) -> None:
    page = new_context(base_url=strict_site).new_page()
    put_in_a_passkey(page)
    sign_in(page, "staff0", PASSWORD)
    expect(page).to_have_url(re.compile("/two-factor/$"))
    check(page)

    page.goto("/two-factor/totp/activate/")
    check(page)
    page.locator("#id_code").fill(code_on(page))
    page.get_by_role("button", name="Activer").click()
    expect(page).to_have_url(re.compile("/recovery-codes/"))
    check(page)

    page.goto("/two-factor/webauthn/add/")
    check(page)
    page.locator("#id_passwordless").check()
    page.get_by_role("button", name="Ajouter").click()
    expect(page).not_to_have_url(re.compile("/webauthn/add/"))
    page.goto("/two-factor/")
    check(page)
    page.goto("/desk/")
    expect(page).to_have_url(re.compile("/desk/$"))

    page.get_by_role("button", name="Se déconnecter").click()
    expect(page).to_have_url(re.compile("/login/"))
    page.get_by_role("button", name="Se connecter avec une clé d’accès").click()
    expect(page).to_have_url(re.compile("/desk/$"))

    page.get_by_role("button", name="Se déconnecter").click()
    sign_in(page, "staff0", PASSWORD)
    expect(page).to_have_url(re.compile("/two-factor/authenticate/"))
    check(page)
    page.get_by_role("button", name=re.compile("clé d’accès ou de sécurité")).click()
    expect(page).to_have_url(re.compile("/desk/$"))

    page.locator(".rows .who").first.click()
    note = page.get_by_label("Note pour les collègues")
    note.fill("Maman appelle lundi")
    address = page.url
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Enregistrer la note").click()
    expect(page).to_have_url(re.compile("/login/"))
    page.get_by_role("button", name="Se connecter avec une clé d’accès").click()
    expect(page).to_have_url(address)
    expect(note).to_have_value("Maman appelle lundi")


def test_what_else_a_person_sees_of_their_account(clinic: Clinic, new_context: NewContext) -> None:
    page: Any = new_context(base_url=clinic.site.url).new_page()
    sign_in(page, clinic.patients[0].name, PASSWORD)
    expect(page).to_have_url(re.compile("/appointments/"))
    for path in ("/password/reset/", "/password/reset/done/", "/password/change/", "/reauthenticate/"):
        page.goto(path)
        check(page)
