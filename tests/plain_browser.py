"""Simulates a browser without JavaScript with Django's test client: follows redirects and submits a page's forms.

It checks CSRF tokens, and sends the Origin and Referer headers that browsers send.
"""

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

from django.test import Client

ORIGIN = "http://testserver"
VOID = ("submit", "image", "button", "reset")


class Forms(HTMLParser):
    """Collects the forms of an HTML page, as pairs of their attributes and the fields that a browser would send."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[tuple[dict[str, str | None], dict[str, str]]] = []
        self._inside = False
        self._text = self._select = ""
        self.feed(html)

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        attrs = dict(pairs)
        name = attrs.get("name") or ""
        if tag == "form":
            self.forms.append((attrs, {}))
            self._inside = True
        elif not self._inside:
            return
        elif tag == "input" and name and attrs.get("type") not in VOID:
            if attrs.get("type") not in ("radio", "checkbox") or "checked" in attrs:
                self.forms[-1][1][name] = attrs.get("value") or ""
        elif tag == "textarea":
            self._text = name
            self.forms[-1][1][name] = ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and ("selected" in attrs or self._select not in self.forms[-1][1]):
            self.forms[-1][1][self._select] = attrs.get("value") or ""

    def handle_data(self, data: str) -> None:
        if self._text:
            self.forms[-1][1][self._text] += data.removeprefix("\n")

    def handle_endtag(self, tag: str) -> None:
        self._text = "" if tag == "textarea" else self._text
        self._inside = self._inside and tag != "form"


class PlainBrowser:
    """One tab of the browser: the cookies in `client`, and the page shown. Two tabs of one browser share a client."""

    def __init__(self, client: Client | None = None, referer: bool = True) -> None:
        self.client = client or Client(enforce_csrf_checks=True)
        self.referer = referer
        self.page: Any = None
        self.seen: list[str] = []  # every URL that was requested, with its query

    @property
    def url(self) -> str:
        request = self.page.request
        return f"{request['PATH_INFO']}?{request['QUERY_STRING']}".rstrip("?")

    @property
    def html(self) -> str:
        return str(self.page.content.decode())

    def open(self, path: str) -> None:
        self._show(self.client.get(path, follow=True), path)

    def fields(self, action: str) -> dict[str, str]:
        """Return the field values of the page's form whose `action` this is.

        A form without an action is found by the page's URL.
        """
        return self._form(action)[1]

    def send(self, action: str, **fields: str) -> None:
        """Fill in `fields` in the page's form whose `action` this is, and send it; the pressed button is a field."""
        target, filled = self._form(action)
        headers = {"Origin": ORIGIN} | ({"Referer": ORIGIN + self.url} if self.referer else {})
        self._show(self.client.post(target, filled | fields, headers=headers, follow=True), target)

    def sign_in(self, name: str, password: str) -> None:
        if not self.page or not self.url.startswith("/login/"):
            self.open("/login/")
        self.send("/login/", login=name, password=password)

    def _form(self, action: str) -> tuple[str, dict[str, str]]:
        found = [(urljoin(self.url, attrs.get("action") or self.url), held) for attrs, held in Forms(self.html).forms]
        for target, held in found:
            if target.partition("?")[0] == action:
                return target, held
        raise AssertionError(f"{self.url} has no form for {action}, only for {[target for target, _ in found]}")

    def _show(self, page: Any, asked: str) -> None:
        self.page = page
        self.seen += [asked, *(url for url, _ in page.redirect_chain)]
