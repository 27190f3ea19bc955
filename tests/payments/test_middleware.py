"""Tests of each middleware, with a sync view and with an async view."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncClient, Client, RequestFactory

from accounts.models import User
from payments import middleware
from payments.models import Payment
from tests.payments.page import feed_position

pytestmark = pytest.mark.django_db
Ask = Callable[[Any, HttpRequest, HttpResponseBase], HttpResponse]  # (middleware, request, the view's response)


def sync_chain(factory: Any, request: HttpRequest, response: HttpResponseBase) -> HttpResponse:
    answer: HttpResponse = factory(lambda request: response)(request)
    return answer


def async_chain(factory: Any, request: HttpRequest, response: HttpResponseBase) -> HttpResponse:
    async def view(request: HttpRequest) -> HttpResponseBase:
        return response

    handler: Callable[[HttpRequest], Awaitable[HttpResponse]] = factory(view)
    return async_to_sync(handler)(request)


@pytest.fixture(params=[sync_chain, async_chain])
def ask(request: pytest.FixtureRequest) -> Ask:
    chain: Ask = request.param
    return chain


def request_of(path: str = "/", session: str = "", **headers: str) -> HttpRequest:
    request = RequestFactory().get(path, headers=headers)
    if session:
        request.COOKIES[settings.SESSION_COOKIE_NAME] = session
    return request


def test_every_response_gets_the_security_headers_that_it_lacks(ask: Ask) -> None:
    own = HttpResponse(headers={"Cross-Origin-Resource-Policy": "cross-origin"})
    response = ask(middleware.security_headers, request_of(), own)
    assert response["Permissions-Policy"] == middleware.HEADERS["Permissions-Policy"]
    assert response["Cross-Origin-Resource-Policy"] == "cross-origin"


def test_pages_are_compressed_and_streams_are_not(ask: Ask) -> None:
    """Browsers would read the first part of a compressed stream alone."""
    accepting = {"Accept-Encoding": "gzip"}
    assert ask(middleware.CompressPages, request_of(**accepting), HttpResponse("x" * 999))["Content-Encoding"] == "gzip"
    stream = StreamingHttpResponse(iter(["x" * 999]))
    assert "Content-Encoding" not in ask(middleware.CompressPages, request_of(**accepting), stream)


def test_no_cache_stores_anything_but_static_files(ask: Ask) -> None:
    weaker = HttpResponse(headers={"Cache-Control": "max-age=600", "Vary": "Cookie"})
    answer = ask(middleware.no_store, request_of(), weaker)
    assert answer["Cache-Control"] == "no-store, private"
    assert answer["Vary"] == "Cookie, HX-Request, HX-Target, HX-History-Restore-Request"
    static = HttpResponse(headers={"Cache-Control": "max-age=600"})
    assert ask(middleware.no_store, request_of("/static/x.js"), static)["Cache-Control"] == "max-age=600"
    missing = HttpResponse(status=404, headers={"Cache-Control": "max-age=600"})
    assert ask(middleware.no_store, request_of("/static/x.js"), missing)["Cache-Control"] == "no-store, private"


def test_htmx_is_told_that_it_is_signed_out_and_stays_on_the_page(ask: Ask) -> None:
    to_sign_in = HttpResponseRedirect("/login/?next=/desk/")
    response = ask(middleware.htmx_sign_in, request_of("/desk/", **{"HX-Request": "true"}), to_sign_in)
    assert (response.status_code, response.content) == (401, b"Signed out.")
    assert "HX-Redirect" not in response.headers
    clicked = {"HX-Request": "true", "HX-Boosted": "true"}
    opened = ask(middleware.htmx_sign_in, request_of("/desk/", **clicked), to_sign_in)
    assert opened.headers["HX-Redirect"] == "/login/?next=/desk/"
    assert ask(middleware.htmx_sign_in, request_of("/desk/"), to_sign_in) is to_sign_in
    elsewhere = HttpResponseRedirect("/desk/")
    assert ask(middleware.htmx_sign_in, request_of(**{"HX-Request": "true"}), elsewhere) is elsewhere


@pytest.mark.django_db(transaction=True)
async def test_an_async_site_reads_the_cursor_and_numbers_fragments(payment: Payment, patient: User) -> None:
    client = AsyncClient()
    await sync_to_async(client.force_login)(patient)
    path = f"/appointments/{payment.appointment.reference}/"
    page = await client.get(path, headers={"HX-Request": "true"})
    assert (page["X-Live-Seq"], page["X-Live-Epoch"]) == ("1", (await sync_to_async(feed_position)(patient)).epoch)
    assert 'name="after" value="1"' in page.content.decode()
    assert "X-Live-Seq" not in await client.get(path)


def test_a_response_that_middleware_gives_by_itself_is_marked_too(payment: Payment, patient: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(patient)
    refused = client.post(f"/payments/{payment.public_id}/pay/")
    assert refused.status_code == 403
    assert refused["Cache-Control"].startswith("no-store")
    signed_out = Client().get("/appointments/", headers={"HX-Request": "true"})
    assert (signed_out.status_code, "Permissions-Policy" in signed_out.headers) == (401, True)
