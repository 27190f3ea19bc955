"""The permissions of every role: the URLs that it may request, the feeds and socket messages that it may use.

A URL without a row in TABLE fails a test. Roles that a row doesn't allow must get the status in that row.
"""

import datetime
import json
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.auth.models import Group
from django.http import HttpResponseForbidden, HttpResponseNotFound
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from djstripe.models import Payout

from accounts import invitations
from accounts.models import User
from appointments.models import Appointment, Practitioner
from integrations.models import CalendarLink
from payments.desk.closings import open_sheet, seal
from payments.models import Closing, PayLink, Payment
from payments_site import urls
from tests.payments.clients import text_of
from tests.payments.page import Page
from tests.payments.stripe_story import Story, deliver

Roles = frozenset[str]

PAYOUT = {"amount": 5000, "arrival_date": 1_780_000_000, "automatic": False, "status": "paid"}  # made by hand
ANONYMOUS = frozenset({"anonymous", "inactive"})  # deactivating an account signs it out at once
OWNER = frozenset({"owner"})
DESK = frozenset({"temp", "front desk", "accountant", "manager", "superuser"})  # is_staff; temp is in no group
REFUNDERS = DESK - {"temp"}
CLOSERS = REFUNDERS
EXPORTERS = frozenset({"accountant", "manager", "superuser"})
SIGNED_IN = OWNER | {"other"} | DESK
EVERYBODY = ANONYMOUS | SIGNED_IN
RARE: Roles = frozenset({"inactive", "superuser"})  # at night; may do what "anonymous" and "manager" may, or more
NOBODY: Roles = frozenset()

# Statuses for signed-in people who may not use a view. To signed-out people 302 is a redirect to the sign-in page.
FORBIDDEN, HIDDEN = 403, 404

# View, method, roles that may use it, status for other signed-in people, status for signed-out people.
# A view answers methods without a row with 405.
TABLE: tuple[tuple[str, str, Roles, int, int], ...] = (
    ("account_login", "GET", EVERYBODY, 0, 0),
    ("account_login", "POST", EVERYBODY, 0, 0),
    ("account_logout", "GET", EVERYBODY, 0, 0),  # only asks for confirmation; a POST signs out
    ("account_logout", "POST", EVERYBODY, 0, 0),
    ("account_inactive", "GET", EVERYBODY, 0, 0),
    ("account_reauthenticate", "GET", SIGNED_IN, 0, 302),
    ("account_reauthenticate", "POST", SIGNED_IN, 0, 302),
    ("account_change_password", "GET", SIGNED_IN, 0, 302),
    ("account_change_password", "POST", SIGNED_IN, 0, 302),
    ("account_set_password", "GET", SIGNED_IN, 0, 302),
    ("account_set_password", "POST", SIGNED_IN, 0, 302),
    ("account_reset_password", "GET", EVERYBODY, 0, 0),
    ("account_reset_password", "POST", EVERYBODY, 0, 0),
    ("account_reset_password_done", "GET", EVERYBODY, 0, 0),
    ("account_reset_password_from_key", "GET", EVERYBODY, 0, 0),  # the key from the e-mail opens it
    ("account_reset_password_from_key", "POST", EVERYBODY, 0, 0),
    ("account_reset_password_from_key_done", "GET", EVERYBODY, 0, 0),
    ("set_language", "POST", EVERYBODY, 0, 0),
    ("account_session", "GET", SIGNED_IN, 0, 401),
    ("account_welcome", "GET", EVERYBODY, 0, 0),  # the token from the e-mail opens it
    ("account_welcome", "POST", EVERYBODY, 0, 0),
    ("integrations:own_calendar", "GET", OWNER | {"other"}, FORBIDDEN, 302),
    ("integrations:own_calendar", "POST", OWNER | {"other"}, FORBIDDEN, 302),
    ("integrations:calendar_file", "GET", EVERYBODY, 0, 0),  # the address's token is the key
    ("integrations:calendars", "GET", frozenset({"manager", "superuser"}), FORBIDDEN, 302),
    ("integrations:calendars", "POST", frozenset({"manager", "superuser"}), FORBIDDEN, 302),
    ("clinic:home", "GET", SIGNED_IN, 0, 302),
    ("clinic:appointments", "GET", SIGNED_IN, 0, 302),
    ("clinic:appointment", "GET", OWNER | DESK, HIDDEN, 302),
    ("clinic:appointment_calendar", "GET", OWNER | DESK, HIDDEN, 302),
    ("clinic:review_queue", "GET", DESK, FORBIDDEN, 302),
    ("clinic:desk", "GET", DESK, FORBIDDEN, 302),
    ("clinic:desk_export", "GET", EXPORTERS, FORBIDDEN, 302),
    ("clinic:journal", "GET", EXPORTERS, FORBIDDEN, 302),
    ("clinic:journal_export", "GET", EXPORTERS, FORBIDDEN, 302),
    ("clinic:transfers", "GET", EXPORTERS, FORBIDDEN, 302),
    ("clinic:transfers_export", "GET", EXPORTERS, FORBIDDEN, 302),
    ("clinic:transfer", "GET", EXPORTERS, FORBIDDEN, 302),
    ("clinic:transfer_export", "GET", EXPORTERS, FORBIDDEN, 302),
    ("clinic:news", "GET", DESK, FORBIDDEN, 302),
    ("clinic:closing", "GET", CLOSERS, FORBIDDEN, 302),
    ("clinic:closing", "POST", CLOSERS, FORBIDDEN, 302),
    ("clinic:sealed_closing", "GET", CLOSERS, FORBIDDEN, 302),
    ("clinic:correct_closing", "GET", CLOSERS, FORBIDDEN, 302),
    ("clinic:correct_closing", "POST", CLOSERS, FORBIDDEN, 302),
    ("clinic:closing_month", "GET", EXPORTERS, FORBIDDEN, 302),
    ("clinic:closing_month_export", "GET", EXPORTERS, FORBIDDEN, 302),
    ("clinic:why", "GET", DESK, FORBIDDEN, 302),
    ("clinic:desk_appointment", "GET", DESK, FORBIDDEN, 302),
    ("clinic:book", "GET", DESK, FORBIDDEN, 302),
    ("clinic:book", "POST", DESK, FORBIDDEN, 302),
    ("clinic:change_appointment", "GET", DESK, FORBIDDEN, 302),
    ("clinic:change_appointment", "POST", DESK, FORBIDDEN, 302),
    ("clinic:patients", "GET", DESK, FORBIDDEN, 302),
    ("clinic:patient", "GET", DESK, FORBIDDEN, 302),
    ("clinic:edit_patient", "GET", DESK, FORBIDDEN, 302),
    ("clinic:edit_patient", "POST", DESK, FORBIDDEN, 302),
    ("clinic:invite_patient", "GET", DESK, FORBIDDEN, 302),  # redirects to the page with the button
    ("clinic:invite_patient", "POST", DESK, FORBIDDEN, 302),
    ("clinic:payment_timeline", "GET", DESK, FORBIDDEN, 302),
    ("clinic:movements", "GET", DESK, FORBIDDEN, 302),
    ("clinic:why_payment", "GET", DESK, FORBIDDEN, 302),
    ("clinic:set_attendance", "GET", DESK, FORBIDDEN, 302),  # redirects to the page with the form
    ("clinic:set_attendance", "POST", DESK, FORBIDDEN, 302),
    ("clinic:set_arrival", "GET", DESK, FORBIDDEN, 302),  # redirects to the page with the form
    ("clinic:set_arrival", "POST", DESK, FORBIDDEN, 302),
    ("clinic:cancel_appointment", "GET", DESK, FORBIDDEN, 302),
    ("clinic:cancel_appointment", "POST", DESK, FORBIDDEN, 302),
    ("clinic:take_payment", "GET", DESK, FORBIDDEN, 302),
    ("clinic:take_payment", "POST", DESK, FORBIDDEN, 302),
    ("clinic:entered_by_mistake", "GET", DESK, FORBIDDEN, 302),
    ("clinic:entered_by_mistake", "POST", DESK, FORBIDDEN, 302),
    ("clinic:decide", "GET", DESK, FORBIDDEN, 302),
    ("clinic:decide", "POST", DESK, FORBIDDEN, 302),
    ("clinic:refund_payment", "GET", REFUNDERS, FORBIDDEN, 302),
    ("clinic:refund_payment", "POST", REFUNDERS, FORBIDDEN, 302),
    ("clinic:approve_refund", "GET", REFUNDERS, FORBIDDEN, 302),
    ("clinic:approve_refund", "POST", REFUNDERS, FORBIDDEN, 302),
    ("clinic:add_note", "GET", DESK, FORBIDDEN, 302),  # redirects to the page with the form
    ("clinic:add_note", "POST", DESK, FORBIDDEN, 302),
    ("clinic:replay_event", "GET", EXPORTERS, FORBIDDEN, 302),
    ("clinic:replay_event", "POST", EXPORTERS, FORBIDDEN, 302),
    ("clinic:collect", "GET", DESK, FORBIDDEN, 302),
    ("clinic:pay_links", "GET", DESK, FORBIDDEN, 302),
    ("clinic:send_links", "GET", DESK, FORBIDDEN, 302),
    ("clinic:send_links", "POST", DESK, FORBIDDEN, 302),
    ("clinic:send_sms", "GET", DESK, FORBIDDEN, 302),
    ("clinic:send_sms", "POST", DESK, FORBIDDEN, 302),
    ("clinic:replace_pay_link", "GET", DESK, FORBIDDEN, 302),  # redirects to the page with the form
    ("clinic:replace_pay_link", "POST", DESK, FORBIDDEN, 302),
    ("clinic:end_pay_link", "GET", DESK, FORBIDDEN, 302),  # redirects to the page with the form
    ("clinic:end_pay_link", "POST", DESK, FORBIDDEN, 302),
    ("clinic:pay_link", "GET", EVERYBODY, 0, 0),  # the link's token is the key
    ("clinic:pay_by_link", "GET", EVERYBODY, 0, 0),  # redirects to the page with the form
    ("clinic:pay_by_link", "POST", EVERYBODY, 0, 0),
    ("clinic:confirm_by_link", "GET", EVERYBODY, 0, 0),  # redirects to the page with the form
    ("clinic:confirm_by_link", "POST", EVERYBODY, 0, 0),
    ("clinic:keep_card", "GET", OWNER, HIDDEN, 302),  # nobody agrees to anything for a patient
    ("clinic:keep_card", "POST", OWNER, HIDDEN, 302),
    ("clinic:keep_card_by_link", "GET", EVERYBODY, 0, 0),
    ("clinic:keep_card_by_link", "POST", EVERYBODY, 0, 0),
    ("clinic:remove_card", "GET", OWNER, HIDDEN, 302),
    ("clinic:remove_card", "POST", OWNER, HIDDEN, 302),
    ("clinic:remove_card_at_desk", "GET", DESK, FORBIDDEN, 302),
    ("clinic:remove_card_at_desk", "POST", DESK, FORBIDDEN, 302),
    ("clinic:charge_fee", "GET", DESK, FORBIDDEN, 302),
    ("clinic:charge_fee", "POST", DESK, FORBIDDEN, 302),
    ("clinic:pay", "GET", OWNER | DESK, HIDDEN, 302),  # redirects to the page with the form
    ("clinic:pay", "POST", OWNER | DESK, HIDDEN, 302),
    ("clinic:checkout_return", "GET", OWNER | DESK, HIDDEN, 302),
    ("clinic:confirm_payment", "GET", OWNER | DESK, HIDDEN, 302),  # redirects to the page with the form
    ("clinic:confirm_payment", "POST", OWNER | DESK, HIDDEN, 302),
    ("clinic:receipt", "GET", OWNER | DESK, HIDDEN, 302),
    ("clinic:payments_live", "GET", SIGNED_IN, 0, 401),
    ("clinic:payments_socket", "GET", NOBODY, 426, 426),  # a WebSocket's, see MESSAGES
    ("clinic:components", "GET", SIGNED_IN, 0, 302),
    ("clinic:livez", "GET", EVERYBODY, 0, 0),
    ("clinic:readyz", "GET", EVERYBODY, 0, 0),
    ("clinic:metrics", "GET", EVERYBODY, 0, 0),  # by address or token, see tests/payments/views/test_health.py
    ("clinic:stripe_webhook", "POST", NOBODY, 400, 400),  # by signature, see tests/payments/gateway/test_webhooks.py
    ("clinic:stripe_webhook_endpoint", "POST", NOBODY, 404, 404),  # the endpoint doesn't exist
    ("clinic:operations", "GET", EXPORTERS, FORBIDDEN, 302),
    ("integrations:openapi", "GET", EVERYBODY, 0, 0),  # says how to ask, and nothing of patients
    ("integrations:api_docs", "GET", EVERYBODY, 0, 0),
    # A key opens the API, not a person; see tests/integrations/test_authority.py.
    ("integrations:patient", "GET", NOBODY, 401, 401),
    ("integrations:patient", "PUT", NOBODY, 401, 401),
    ("integrations:visit", "GET", NOBODY, 401, 401),
    ("integrations:visit", "PUT", NOBODY, 401, 401),
    ("integrations:cancel_visit", "POST", NOBODY, 401, 401),
    ("integrations:payment", "GET", NOBODY, 401, 401),
    ("integrations:entries", "POST", NOBODY, 401, 401),
    ("integrations:make_link", "POST", NOBODY, 401, 401),
    ("integrations:end_link", "POST", NOBODY, 401, 401),
    ("integrations:changes", "GET", NOBODY, 401, 401),
    ("integrations:practitioners", "GET", NOBODY, 401, 401),
    ("integrations:services", "GET", NOBODY, 401, 401),
    ("mfa_authenticate", "GET", EVERYBODY, 0, 0),  # asks for the code after the password; else redirects to sign-in
    ("mfa_authenticate", "POST", EVERYBODY, 0, 0),
    ("mfa_login_webauthn", "GET", EVERYBODY, 0, 0),
    ("mfa_login_webauthn", "POST", EVERYBODY, 0, 0),
)
# Views of a person's own second factors. Their URLs contain no user, at most the id of a security key.
OWN = ("mfa_index", "mfa_reauthenticate", "mfa_activate_totp", "mfa_deactivate_totp", "mfa_view_recovery_codes",
       "mfa_generate_recovery_codes", "mfa_download_recovery_codes", "mfa_list_webauthn", "mfa_add_webauthn",
       "mfa_reauthenticate_webauthn", "mfa_remove_webauthn", "mfa_edit_webauthn")  # fmt: skip
RULES: dict[tuple[str, str], tuple[Roles, int, int]] = {(row[0], row[1]): (row[2], row[3], row[4]) for row in TABLE}
HEALTH_VIEWS = ("clinic:livez", "clinic:readyz", "clinic:metrics")  # the same answer for everybody
STAGES = ("mfa_authenticate", "mfa_login_webauthn", "account_logout")  # may redirect to the sign-in page
RULES |= {(view, method): (SIGNED_IN, 0, 302) for view in OWN for method in ("GET", "POST")}

# The admin: a manager's permissions for each model, in Django's words. A superuser has all permissions; other staff may
# open only pages without a model; patients are redirected to the sign-in page.
MANAGED = {
    "clinic_payments_payment": {"view"},
    "clinic_payments_fact": {"view"},
    "clinic_payments_statuschange": {"view"},
    "clinic_payments_eventreceipt": {"view"},
    "clinic_payments_closing": {"view"},
    "clinic_payments_feed": {"view"},
    "clinic_payments_email": {"view"},
    "clinic_payments_note": {"view"},
    "clinic_payments_recordview": {"view"},
    "clinic_appointments_appointment": {"view", "add", "change", "import"},
    "clinic_appointments_practitioner": {"view", "add", "change"},
    "clinic_appointments_service": {"view", "add", "change"},
    "clinic_accounts_user": {"view", "add", "change"},
}
PAGE_NEEDS = {
    "changelist": "view",
    "history": "view",
    "change": "view",
    "add": "add",
    "delete": "delete",
    "week": "add",
    "import": "import",
}
# Pages of the admin without a model: statuses for staff without permissions, for a manager and for a superuser.
ITSELF: dict[tuple[str, str], tuple[int, int, int]] = {
    ("index", "GET"): (200, 200, 200), ("index", "POST"): (200, 200, 200),
    ("login", "GET"): (302, 302, 302), ("login", "POST"): (200, 200, 200),
    ("logout", "GET"): (405, 405, 405), ("logout", "POST"): (302, 302, 302),
    ("password_change", "GET"): (302, 302, 302), ("password_change", "POST"): (302, 302, 302),  # to the site's own page
    ("password_change_done", "GET"): (200, 200, 200), ("password_change_done", "POST"): (405, 405, 405),
    ("autocomplete", "GET"): (403, 403, 403), ("autocomplete", "POST"): (405, 405, 405),  # the field isn't named
    ("jsi18n", "GET"): (200, 200, 200), ("jsi18n", "POST"): (405, 405, 405),
    ("view_on_site", "GET"): (404, 404, 404), ("view_on_site", "POST"): (404, 404, 404),
    ("clinic_appointments_appointment_process_import", "GET"): (403, 405, 405),
    ("clinic_appointments_appointment_process_import", "POST"): (403, 302, 302),  # without a file: to the form
    ("clinic_appointments_appointment_template", "GET"): (403, 200, 200),
    ("clinic_appointments_appointment_template", "POST"): (403, 405, 405),
    **{
        (f"clinic_integrations_webhookendpoint_{act}", method): (status, status, status)
        for act in ("rotate", "test", "again")
        for method, status in (("GET", 405), ("POST", 404))  # no endpoint has this id; test_webhook_admin.py has one
    },
    ("app_list", "GET"): (404, 200, 200), ("app_list", "POST"): (404, 200, 200),
    ("auth_user_password_change", "GET"): (403, 200, 200), ("auth_user_password_change", "POST"): (403, 200, 200),
}  # fmt: skip
ACTION = "djstripe_custom_action"  # of each of dj-stripe's tables; only superusers may run one
# What a superuser may not do, in Django's words. dj-stripe's own tables refuse more.
UNCHANGING = {model: {"add", "change", "delete"} for model in MANAGED if model.startswith("clinic_payments_")}
SUPERUSER_LACKS = UNCHANGING | {
    "mfa_authenticator": {"add", "change"},
    "clinic_integrations_apikey": {"delete"},  # keys are revoked, because the log of their uses refers to them
    "clinic_integrations_apiuse": {"add", "change", "delete"},
    "clinic_integrations_webhookmessage": {"add", "change", "delete"},
}
# These would call Stripe.
CALLS_STRIPE = {("djstripe_webhookendpoint_add", "POST"), ("djstripe_webhookendpoint_change", "POST")}

# The socket: role, feed, and the code with which the socket is closed, or 0 if it stays open.
FEEDS: tuple[tuple[str, str, int], ...] = (
    ("anonymous", "patient", 4401), ("anonymous", "staff", 4401), ("inactive", "staff", 4401),
    ("owner", "patient", 0), ("owner", "staff", 4403), ("other", "patient", 4403), ("other", "staff", 4403),
    ("temp", "staff", 0), ("temp", "patient", 4403), ("front desk", "staff", 0), ("front desk", "patient", 4403),
    ("accountant", "staff", 0), ("accountant", "patient", 4403), ("manager", "staff", 0), ("manager", "patient", 4403),
    ("superuser", "staff", 0), ("superuser", "patient", 4403),
)  # fmt: skip
# Messages from a page: text, and close code or 0 if the message is accepted. "websocket.disconnect" is a type of
# Channels' own messages, which a page must not be able to forge.
MESSAGES: tuple[tuple[str, int], ...] = (
    ("ping", 0),
    ('{"seen": 0, "payments": []}', 0),
    ('{"type": "websocket.disconnect"}', 4400),
    ('{"join": "staff"}', 4400),
    ('{"feed": "staff", "after": 0}', 4400),
    ("x" * 8193, 4413),
)


class World:
    """Test data: a paid appointment of the user "owner", and for each role a user and a test client."""

    def __init__(self) -> None:
        self.people: dict[str, User | None] = {"anonymous": None}
        for role in ("owner", "other"):
            self.people[role] = User.objects.create_user(role, password="sesame")
        for role in ("temp", "front desk", "accountant", "manager", "inactive"):
            self.people[role] = User.objects.create_user(role, password="sesame", is_staff=True)
        for role in ("front desk", "accountant", "manager"):
            self.person(role).groups.add(Group.objects.get(name=role))
        self.people["superuser"] = User.objects.create_superuser("superuser", password="sesame")
        self.clients = {role: Client() for role in self.people}
        for role, client in self.clients.items():
            if role != "anonymous":
                client.force_login(self.person(role))
        User.objects.filter(username="inactive").update(is_active=False)
        self.payment = self._paid()

    def person(self, role: str) -> User:
        person = self.people[role]
        assert person is not None, role
        return person

    def _paid(self) -> Payment:
        start = timezone.now() + datetime.timedelta(days=1)
        appointment = Appointment.objects.create(
            patient=self.person("owner"), practitioner=Practitioner.objects.create(name="Dr Mercier"),
            service="Consultation", start=start, end=start + datetime.timedelta(minutes=20), price_amount=5000,
        )  # fmt: skip
        payment = Payment.objects.with_appointment().get(appointment=appointment)
        self.link, self.ended_link = (
            PayLink.objects.offer(payment, channel) for channel in (PayLink.Channel.EMAIL, PayLink.Channel.SMS)
        )
        deliver(Story(payment).completed())
        payment.refresh_from_db()
        Payout.objects.create(id="po_1", currency="eur", created=start, stripe_data=PAYOUT)
        return payment

    @cached_property
    def closing(self) -> Closing:
        """Return a sealed closing, made when a path needs one: SQLite can't empty its table after a test."""
        sheet = open_sheet()
        assert sheet.day
        return seal(sheet.day, {}, [], "", self.person("front desk"), seen=sheet.fingerprint)

    @cached_property
    def event_id(self) -> str:
        """Return the id of the Stripe event that changed the payment's status."""
        return self.payment.changes.exclude(stripe_event_id="").get().stripe_event_id

    def ask(self, role: str, method: str, path: str) -> Any:
        if role not in ANONYMOUS and not self.clients[role].session.get("_auth_user_id"):
            self.clients[role].force_login(self.person(role))  # a request may have signed the role out
        return self.clients[role].generic(method, path)

    def path(self, view: str) -> str:
        payment = self.payment
        values = {
            "closing_number": self.closing.number if "closing_number" in PATTERNS[view] else 0,
            "reference": payment.appointment.reference,
            "public_id": payment.public_id,
            "payment_id": payment.public_id,
            "external_id": "unknown",
            "link_id": self.ended_link.pk,
            "person_id": self.person("owner").public_id,
            "token": self.link.token,
            "number": self.ended_link.pk,
            "djstripe_uuid": uuid.UUID(int=0),
            "payout_id": "po_1",
            "event_id": self.event_id,
            "entry_id": "offline_unknown",
            "name": "ask-again",
            "object_id": payment.pk,
            "id": self.person("owner").pk,
            "app_label": "clinic_payments",
            "uidb36": "1",
            "key": "forged",
            "pk": 1,
            "action_name": "_sync_all_instances",
            "model_name": "event",
            "content_type_id": 1,
            "kind": "csv",
        }
        if view == "account_welcome":
            values["token"] = invitations.token_of(self.person("other"))
        if view == "integrations:calendar_file":
            values["token"] = CalendarLink.objects.make(self.person("owner"), self.person("owner"))
        path = reverse(view, kwargs={name: values[name] for name in PATTERNS[view]})
        if view == "clinic:checkout_return":
            path += "?session_id=" + payment.facts.get().stripe_id
        return path + ("?after=0" if view == "clinic:payments_live" else "")


def patterns(resolver: URLResolver, namespace: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield (view name, names of the path's arguments) for every URL pattern; a nameless pattern yields "None"."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLPattern):
            regex = getattr(pattern.pattern, "regex", None)
            names = list(pattern.pattern.converters or (regex.groupindex if regex else {}))
            yield f"{namespace}{pattern.name}", names
        else:
            outer = list(pattern.pattern.converters)
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from ((name, outer + names) for name, names in patterns(pattern, inner))


def routes(resolver: URLResolver, prefix: str = "/") -> Iterator[tuple[str, str | None]]:
    """Yield (path, name of its last part) for every URL pattern; the path still has the patterns of its arguments."""
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield path, pattern.name
        else:
            yield from routes(pattern, path)


def filled(path: str) -> str:
    """Return the path with an argument in each place: an object's id, an action of dj-stripe's, or a made-up word."""
    path = path.replace("<path:object_id>", "1").replace("<uuid:djstripe_uuid>", str(uuid.UUID(int=0)))
    path = path.replace("<str:action_name>/<str:model_name>", "_sync_all_instances/event")
    return path.replace("(?P<url>.*)$", "nowhere")


PATTERNS = dict(patterns(get_resolver()))
NAMELESS = {
    "clinic:None": "the two paths of Stripe's webhook without their last slash",
    "admin:None": "Django's older change addresses, and all addresses in the admin that don't exist",
}
REPEATED = [path for path, name in routes(get_resolver()) if name in (None, ACTION)]  # one name, several paths
ADMIN = sorted(name.removeprefix("admin:") for name in PATTERNS if name.startswith("admin:") and name not in NAMELESS
               and name != f"admin:{ACTION}")  # fmt: skip
OURS = sorted(name for name in PATTERNS if not name.startswith("admin:") and name not in NAMELESS)


def is_sign_in(answer: Any) -> bool:
    return bool(answer.status_code == 302) and answer["Location"].startswith(("/login/", "/admin/login/"))


@pytest.fixture
def short_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer 403 and 404 without a page, because rendering a page for each refusal takes a third of the test's time."""
    monkeypatch.setattr(urls, "handler403", lambda request, exception: HttpResponseForbidden(), raising=False)
    monkeypatch.setattr(urls, "handler404", lambda request, exception: HttpResponseNotFound(), raising=False)


def test_every_url_has_a_rule_and_every_rule_a_url() -> None:
    assert {view for view, _ in RULES} == set(OURS)


@pytest.mark.slow
@pytest.mark.usefixtures("short_refusals")
@pytest.mark.parametrize(
    "roles", [EVERYBODY - RARE, pytest.param(RARE, marks=pytest.mark.nightly)], ids=["most roles", "other roles"]
)
def test_a_view_is_open_to_those_whom_the_table_names(world: World, roles: Roles) -> None:
    wrong = []
    for view, method in RULES:
        for role in asking(view, roles):
            answer = world.ask(role, method, world.path(view))
            if not as_told(view, method, role, answer):
                wrong.append((view, method, role, answer.status_code, answer.get("Location", "")))
    assert not wrong, "\n".join(map(str, wrong))


def asking(view: str, roles: Roles) -> list[str]:
    """Return with which of `roles` the test requests the view: all, unless nothing in the request is a person's."""
    return sorted(roles & {"anonymous"} if view in HEALTH_VIEWS else roles)


def as_told(view: str, method: str, role: str, answer: Any) -> bool:
    allowed, refusal, stranger = RULES[view, method]
    if role in allowed:
        fine = (
            {200, 204, 302, 422}
            | ({404} if view == "integrations:calendars" and method == "POST" else set())  # names no practitioner
            | ({404, 405} if view in OWN else set())
            | ({503} if view == "clinic:readyz" else set())
            | ({409} if view == "clinic:charge_fee" else set())  # the sample payment has no fee to charge
        )
        return answer.status_code in fine and (role in ANONYMOUS or view in STAGES or not is_sign_in(answer))
    if role in ANONYMOUS:
        return is_sign_in(answer) if stranger == 302 else bool(answer.status_code == stranger)
    return bool(answer.status_code == refusal)


@pytest.mark.usefixtures("short_refusals")
def test_any_other_method_is_refused(world: World) -> None:
    for view in OURS:
        for method in {"GET", "POST", "PUT", "DELETE"} - {method for other, method in RULES if other == view}:
            if not view.startswith(("account_", "mfa_", "set_language")):  # these views come from libraries
                assert world.ask("superuser", method, world.path(view)).status_code == 405, (view, method)


@pytest.mark.parametrize("role", sorted(DESK - {"superuser"}))
def test_the_admin_gives_those_rights_which_the_table_names(role: str, world: World) -> None:
    request = RequestFactory().get("/admin/")
    request.user = world.person(role)
    for model, of_model in admin.site._registry.items():
        verbs = [
            verb
            for verb in ("view", "add", "change", "delete", "import")
            if hasattr(of_model, f"has_{verb}_permission")
        ]
        rights = {verb for verb in verbs if getattr(of_model, f"has_{verb}_permission")(request)}
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        assert rights == (MANAGED.get(name, set()) if role == "manager" else set()), name


# The other roles run only at night: most get what one of these gets, and a superuser's pages take the longest.
TYPICAL = {"anonymous", "front desk", "manager"}


@pytest.mark.parametrize("role", sorted(SIGNED_IN))
def test_a_refusal_is_a_page_that_says_so(role: str, world: World) -> None:
    refused = "clinic:desk" if role not in DESK else "admin:djstripe_event_add"
    answer = world.ask(role, "GET", world.path(refused))
    assert answer.status_code == 403
    assert "n’y a pas accès" in text_of(answer)


@pytest.mark.slow
@pytest.mark.usefixtures("short_refusals")
@pytest.mark.parametrize(
    "role", [pytest.param(role, marks=[] if role in TYPICAL else pytest.mark.nightly) for role in sorted(EVERYBODY)]
)
def test_the_admin_s_pages_follow_those_rights(role: str, world: World) -> None:
    wrong = []
    for page in ADMIN:
        for method in ("GET", "POST"):
            if role == "superuser" and (page, method) in CALLS_STRIPE:
                continue
            answer = world.ask(role, method, world.path(f"admin:{page}"))
            if not as_the_admin_should(page, method, role, answer):
                wrong.append((page, method, answer.status_code, answer.get("Location", "")))
    assert not wrong, "\n".join(map(str, wrong))


def as_the_admin_should(page: str, method: str, role: str, answer: Any) -> bool:
    if role not in DESK:
        if page == "logout":
            return bool(answer.get("Location") == "/admin/")
        return is_sign_in(answer) or (page == "login" and role in OWNER | {"other"} and answer.status_code == 403)
    if (page, method) in ITSELF:
        column = {"manager": 1, "superuser": 2}.get(role, 0)
        return bool(answer.status_code == ITSELF[page, method][column])
    model, _, kind = page.rpartition("_")
    needs = "change" if (kind, method) == ("change", "POST") else PAGE_NEEDS[kind]
    no_row = answer.get("Location") == "/admin/"  # no row has this id
    if role == "superuser" and model.startswith("djstripe_"):
        return answer.status_code in (200, 302, 403) and not is_sign_in(answer)
    if role == "superuser":
        may = needs not in SUPERUSER_LACKS.get(model, ())
    else:
        may = role == "manager" and needs in MANAGED.get(model, ())
    if may:
        return bool(answer.status_code == 200) or no_row
    return bool(answer.status_code == 403) or no_row


@pytest.mark.usefixtures("short_refusals")
@pytest.mark.parametrize("role", sorted(TYPICAL | {"superuser"}))
def test_paths_that_share_a_name_or_have_none_follow_the_rules(role: str, world: World) -> None:
    """Django's older addresses and those that don't exist tell nothing, and only superusers run dj-stripe's actions."""
    for path in REPEATED:
        for method in ("GET", "POST"):
            if path.startswith("/admin/") and "/action/" in path and role == "superuser" and method == "POST":
                continue  # it would call Stripe
            answer = world.ask(role, method, filled(path))
            if path.startswith("/stripe/"):
                assert answer.status_code == (405 if method == "GET" else 404 if "<" in path else 400), path
            elif role not in DESK:
                assert is_sign_in(answer), (path, method)
            elif "/action/" in path:
                assert answer.status_code == {"GET": 405, "POST": 403}[method], (path, method)
            else:
                assert answer.status_code == (404 if "url" in path else 302), (path, method)
                assert "url" in path or answer["Location"].endswith("/1/change/"), path


def test_every_path_is_requested_by_a_test() -> None:
    names = [name for _path, name in routes(get_resolver()) if name not in (None, ACTION)]
    assert len(names) == len(set(ADMIN) | set(OURS))
    assert len(REPEATED) + len(names) == sum(1 for _ in routes(get_resolver()))
    assert not [path for path in REPEATED if set("<>()") & set(filled(path))]


def test_nobody_adds_or_deletes_what_is_known_of_payments(world: World) -> None:
    for model in (name for name in MANAGED if name.startswith("clinic_payments_")):
        for page in ("add", "delete"):
            assert world.clients["superuser"].get(world.path(f"admin:{model}_{page}")).status_code == 403, model


def test_every_page_of_the_admin_is_one_that_the_table_knows() -> None:
    itself = {page for page, _method in ITSELF}
    assert [page for page in ADMIN if page not in itself and page.rpartition("_")[2] not in PAGE_NEEDS] == []
    assert itself <= set(ADMIN)


@pytest.mark.usefixtures("short_refusals")
def test_a_change_without_the_forms_token_is_refused(world: World) -> None:
    for view, method in RULES:
        if method == "POST" and not view.startswith(("clinic:stripe_webhook", "integrations:")):
            client = Client(enforce_csrf_checks=True)
            client.force_login(world.person("superuser"))
            assert client.post(world.path(view)).status_code == 403, view


def test_a_feed_is_polled_by_those_whom_the_table_names(world: World) -> None:
    names = {"staff": "staff", "patient": f"patient.{world.person('owner').pk}"}
    for role, feed, code in FEEDS:
        answer = world.clients[role].get("/payments/live/", {"after": "0", "feed": names[feed]})
        expected = {0: 200, 4401: 401, 4403: 403}[code]
        assert answer.status_code == expected, (role, feed)


@pytest.mark.django_db(transaction=True)
async def test_a_feed_is_opened_by_those_whom_the_table_names() -> None:
    world = await sync_to_async(World)()
    names = {"staff": "staff", "patient": f"patient.{world.person('owner').pk}"}
    for role, feed, code in FEEDS:
        page = Page(None, f"after=0&feed={names[feed]}")
        page.client = world.clients[role]
        async with page:
            if code:
                assert await page.close_code() == code, (role, feed)
            else:
                assert (await page.told_until_hello())[-1]["t"] == "hello", (role, feed)


@pytest.mark.django_db(transaction=True)
async def test_a_page_may_say_what_the_table_names_and_nothing_else() -> None:
    world = await sync_to_async(World)()
    for role in sorted(SIGNED_IN):
        for message, code in MESSAGES:
            page = Page(None, "after=900")
            page.client = world.clients[role]
            async with page:
                await page.told_until_hello()
                await page.socket.send_to(text_data=message)
                if code:
                    assert await page.close_code() == code, (role, message[:40])
                else:
                    await page.socket.send_to(text_data="ping")
                    assert json.dumps(await page.told()), (role, message)


@pytest.mark.parametrize("path", ["/", "/ws/", "/ws/other/", "/desk/", "/payments/live/"])
async def test_there_is_one_socket_and_everything_else_is_refused(path: str) -> None:
    assert not await Page(None, path=path).open()


def test_a_manager_makes_nobody_more_than_a_manager(world: World) -> None:
    """A manager can't make anyone a superuser, although Django's own form would allow it."""
    client = world.clients["manager"]
    change: Callable[[str], str] = lambda role: f"/admin/clinic_accounts/user/{world.person(role).pk}/change/"  # noqa: E731
    form = {"username": "temp", "is_active": "on", "is_staff": "on", "is_superuser": "on", "user_permissions": "1"}
    form |= {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    assert client.post(change("temp"), form).status_code == 302
    temp = User.objects.get(username="temp")
    assert not temp.is_superuser
    assert not temp.user_permissions.exists()
    assert client.post(change("superuser"), form | {"username": "superuser"}).status_code == 403
    assert client.post(f"/admin/clinic_accounts/user/{world.person('superuser').pk}/password/", {}).status_code == 403
