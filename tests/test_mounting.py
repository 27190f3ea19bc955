"""Tests that the apps work below prefixes of a project's choice: those of its URLconf, and that of its server."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.testing import WebsocketCommunicator
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.test import Client
from django.urls import set_script_prefix
from pytest_django.fixtures import Settings

from accounts.models import User
from integrations.api import document
from payments.addresses import absolute, mounted_path
from payments.asgi import routes
from payments.gateway.lane import lane
from payments.models import Payment
from tests.integrations.client import make_key
from tests.payments.clients import client_of
from tests.payments.conftest import book, patient, payment, practitioner
from tests.waits import PATIENCE, until

__all__ = ["book", "patient", "payment", "practitioner"]  # fixtures of the tests of payments

Scope = dict[str, Any]
ORIGIN = [(b"origin", b"http://testserver")]


@pytest.fixture
def mounted(settings: Settings) -> Iterator[Settings]:
    """Mount payments below clinic/, and integrations below other/."""
    settings.ROOT_URLCONF = "tests.mounted_urls"
    mounted_path.cache_clear()
    document.document.cache_clear()
    yield settings
    mounted_path.cache_clear()
    document.document.cache_clear()


@pytest.fixture
def below_portal(mounted: Settings) -> Iterator[None]:
    """Let the server's paths begin with /portal too, as Django does in a process with this setting."""
    static("before")  # Django keeps the address of static files from its first use, for all later tests
    mounted.FORCE_SCRIPT_NAME = "/portal"
    set_script_prefix("/portal")
    yield
    set_script_prefix("/")


async def pages(scope: Scope, receive: Any, send: Any) -> None:
    """Stand in for the project's own application: answer with the path that has come to it."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


async def own_sockets(scope: Scope, receive: Any, send: Any) -> None:
    """Stand in for the project's own WebSockets: accept."""
    await receive()
    await send({"type": "websocket.accept"})


async def status_of(method: str, path: str) -> int:
    """Return the status of the answer to a request; 299 is that of the project's own application."""
    scope: Scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [], "client": None}
    server: Any = ApplicationCommunicator(routes(pages), scope)  # type: ignore[no-untyped-call]
    await server.send_input({"type": "http.request", "body": b"{}"})
    status: int = (await server.receive_output(PATIENCE))["status"]
    return status


@pytest.mark.django_db(transaction=True)
async def test_the_webhook_is_where_payments_are_mounted(mounted: Settings) -> None:
    for path in ("/clinic/stripe/webhook/", "/clinic/stripe/webhook"):
        assert await status_of("POST", path) == 400  # unsigned
    assert await status_of("POST", "/clinic/stripe/webhook/3d6b1f2e-8d5c-4d0e-9d3e-0a4d6a2f9b11/") == 404
    for path in ("/stripe/webhook/", "/portal/clinic/stripe/webhook/", "/clinic/stripe/webhook/x"):
        assert await status_of("POST", path) == 299


@pytest.mark.django_db(transaction=True)
async def test_a_server_s_prefix_may_be_in_the_path_or_removed_by_a_proxy(below_portal: None) -> None:
    for path in ("/portal/clinic/stripe/webhook/", "/clinic/stripe/webhook/"):
        assert await status_of("POST", path) == 400
    assert await status_of("POST", "/portal/stripe/webhook/") == 299


async def opens(path: str, sockets: Any = None, headers: Any = ORIGIN) -> bool:
    socket = WebsocketCommunicator(routes(pages, sockets), path, headers)
    connected, _ = await socket.connect(timeout=PATIENCE)
    await socket.disconnect(timeout=PATIENCE)
    return bool(connected)


@pytest.mark.django_db(transaction=True)
async def test_the_socket_is_where_payments_are_mounted_and_beside_the_project_s_own(mounted: Settings) -> None:
    assert await opens("/clinic/ws/payments/")
    assert not await opens("/clinic/ws/payments/", own_sockets, [(b"origin", b"http://elsewhere.example")])
    for path in ("/ws/payments/", "/ws/chat/"):
        assert not await opens(path)
        assert await opens(path, own_sockets, [])


@pytest.mark.django_db(transaction=True)
async def test_the_socket_is_below_the_server_s_prefix(below_portal: None) -> None:
    assert await opens("/portal/clinic/ws/payments/")
    assert not await opens("/portal/ws/payments/")


def test_a_page_names_the_socket_and_the_poll_below_all_prefixes(below_portal: None, payment: Payment) -> None:
    page = client_of(payment.appointment.patient).get("/clinic/appointments/").content.decode()
    assert 'src="/portal/clinic/ws/payments/?feed=' in page
    assert 'hx-get="/portal/clinic/payments/live/?feed=' in page


def test_threads_make_addresses_below_the_server_s_prefix(below_portal: None) -> None:
    """Django itself sets the prefix in the main thread alone, but webhooks and e-mails are made in others."""
    expected = "http://testserver/portal/clinic/stripe/webhook/"
    assert absolute("clinic:stripe_webhook") == expected
    with ThreadPoolExecutor(1) as bare:
        assert bare.submit(absolute, "clinic:stripe_webhook").result() != expected
    fresh = type(lane)()
    assert fresh._thread.submit(absolute, "clinic:stripe_webhook").result() == expected
    assert fresh._beside.submit(absolute, "clinic:stripe_webhook").result() == expected


def test_the_socket_s_address_says_so_to_a_plain_request(mounted: Settings) -> None:
    answer = Client().get("/clinic/ws/payments/")
    assert (answer.status_code, answer["Upgrade"]) == (426, "websocket")
    assert "payments.asgi.routes()" in answer.content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_api_is_where_integrations_are_mounted(mounted: Settings) -> None:
    refused = Client().get("/other/api/changes")
    assert (refused.status_code, refused["Content-Type"]) == (401, "application/problem+json")
    assert refused.json()["type"] == "http://testserver/other/api/docs/#problem-401"
    paths = Client().get("/other/api/openapi.json").json()["paths"]
    assert "/other/api/changes" in paths
    assert all(path.startswith("/other/api/") for path in paths)
    assert Client().get("/api/changes").status_code == 404


@pytest.mark.django_db(transaction=True)
async def test_requests_for_changes_wait_where_integrations_are_mounted(
    mounted: Settings, book: Callable[..., Payment]
) -> None:
    from integrations.api import waiting

    key = (await sync_to_async(make_key)(await sync_to_async(User.objects.create_user)("agenda", is_staff=True)))[1]
    await sync_to_async(book)()
    answer = await sync_to_async(Client(headers={"Authorization": f"Bearer {key}"}).get)("/other/api/changes")
    told = json.loads(answer.content)
    headers = [(b"host", b"testserver"), (b"authorization", f"Bearer {key}".encode())]
    query = f"after={told['last']}&epoch={told['epoch']}&wait=20".encode()
    scope = {"type": "http", "method": "GET", "path": "/other/api/changes", "query_string": query, "headers": headers}
    server: Any = ApplicationCommunicator(routes(pages), scope)  # type: ignore[no-untyped-call]
    await server.send_input({"type": "http.request", "body": b"", "more_body": False})
    await until(lambda: sum(waiting._waiting.values()), "the request waits")
    assert await server.receive_nothing(0.1)
    await sync_to_async(book)()
    assert (await server.receive_output(PATIENCE))["status"] == 299


def test_a_project_that_has_not_mounted_the_apps_is_told_what_to_write(settings: Settings) -> None:
    settings.ROOT_URLCONF = "accounts.urls"
    mounted_path.cache_clear()
    with pytest.raises(ImproperlyConfigured, match=r'accounts\.urls lacks path\("clinic/", include\("(\w+)\.urls"\)\)'):
        routes(pages)
    mounted_path.cache_clear()
