"""Tests of the browser fixtures: contexts are separate, page errors are collected, and failed tests leave evidence."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewContext, keep_evidence
from tests.live_site import LiveSite
from tests.waits import wait_until


@pytest.fixture
def page(shared_site: LiveSite, new_context: NewContext) -> Page:
    return new_context(base_url=shared_site.url).new_page()


def test_a_stranger_is_asked_to_sign_in_in_french(page: Page) -> None:
    page.goto("/")
    expect(page).to_have_url(re.compile("/login/"))
    expect(page.locator("html")).to_have_attribute("lang", "fr")


def test_two_people_have_two_sessions(new_context: NewContext) -> None:
    first, second = new_context(), new_context()
    first.add_cookies([{"name": "sessionid", "value": "first", "url": "http://127.0.0.1"}])
    assert second.cookies() == []


def test_uncaught_exceptions_and_csp_violations_are_collected(page: Page, page_errors: list[str]) -> None:
    page.goto("/login/")
    page.evaluate("setTimeout(() => { throw new Error('forgotten') })")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"http://127.0.0.1:1/x.png\">')")

    def collected() -> bool:
        page.evaluate("null")  # Playwright delivers events during a call
        return {"forgotten", "Content Security Policy"} <= {
            known for known in ("forgotten", "Content Security Policy") if known in " ".join(page_errors)
        }

    wait_until(collected, "both are collected")
    page_errors.clear()


def test_a_failure_leaves_a_screenshot_the_page_and_a_trace_if_asked(
    shared_site: LiveSite, new_context: NewContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE", "1")
    page = new_context(base_url=shared_site.url).new_page()
    page.goto("/login/")
    keep_evidence(page.context, tmp_path)
    assert (tmp_path / "0.png").read_bytes().startswith(b"\x89PNG")
    assert "Se connecter" in (tmp_path / "0.html").read_text()
    assert (tmp_path / "trace.zip").stat().st_size > 1000
