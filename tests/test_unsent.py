"""Tests that what was typed in a form survives signing in again, proving one's identity, or adding a second factor."""

import datetime
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
import time_machine
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import AsyncClient, Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from appointments.models import Appointment, Practitioner
from payments.desk import refund_approvals
from payments.desk.refund_orders import Order
from payments.domain.status import PaymentStatus
from payments.models import Note, Payment
from tests.payments.clients import desk_page_of, text_of
from tests.payments.stripe_story import Story, deliver
from tests.plain_browser import ORIGIN, PlainBrowser
from tests.test_accounts import code_of
from tests.test_authority import RULES, World

pytestmark = pytest.mark.django_db
PASSWORD = "sesame, said aloud"
NOTE = "Maman appelle lundi: été, œuf & <b>"


@pytest.fixture(autouse=True)
def fresh_counts(db: None) -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def payment(db: None) -> Payment:
    """Return the unpaid payment of the patient camille; ines, an accountant, and bea, a manager, are staff."""
    for name, group in (("ines", "accountant"), ("bea", "manager")):
        User.objects.create_user(name, password=PASSWORD, is_staff=True).groups.add(Group.objects.get(name=group))
    start = timezone.now() + datetime.timedelta(days=1)
    appointment = Appointment.objects.create(
        patient=User.objects.create_user("camille", password=PASSWORD),
        practitioner=Practitioner.objects.create(name="Dr Mercier"),
        service="Consultation",
        start=start,
        end=start + datetime.timedelta(minutes=20),
        price_amount=5000,
    )
    return Payment.objects.with_appointment().get(appointment=appointment)


@pytest.fixture
def paid(payment: Payment) -> Payment:
    deliver(Story(payment).succeeded())
    payment.refresh_from_db()
    return payment


@pytest.fixture
def browser(payment: Payment) -> PlainBrowser:
    return at_the_desk("ines")


def at_the_desk(name: str, **options: Any) -> PlainBrowser:
    browser = PlainBrowser(**options)
    browser.sign_in(name, PASSWORD)
    return browser


def minutes_later(minutes: float) -> Any:
    return time_machine.travel(timezone.now() + datetime.timedelta(minutes=minutes))


def notes_of(payment: Payment) -> str:
    return f"{desk_page_of(payment)}notes/"


def written(browser: PlainBrowser, payment: Payment) -> str:
    return browser.fields(notes_of(payment))["text"]


# The session has ended


@pytest.mark.parametrize("referer", [True, False])
def test_a_note_that_was_sent_too_late_is_back_on_its_page(payment: Payment, referer: bool) -> None:
    browser = at_the_desk("ines", referer=referer)
    browser.open(desk_page_of(payment))
    with minutes_later(31):
        browser.send(notes_of(payment), text=NOTE)
        assert browser.url.startswith("/login/")
        assert "Rien n’a encore été envoyé" in text_of(browser.page)
        browser.sign_in("ines", PASSWORD)
        assert (browser.page.status_code, browser.url) == (200, desk_page_of(payment))
        assert written(browser, payment) == NOTE
        assert not Note.objects.exists()
        browser.send(notes_of(payment))
    assert Note.objects.get().text == NOTE
    assert written(browser, payment) == ""


def test_a_note_that_was_refused_first_is_not_lost_either(browser: PlainBrowser, payment: Payment) -> None:
    browser.open(desk_page_of(payment))
    browser.send(notes_of(payment), text="x" * 1001)
    assert (browser.page.status_code, browser.url) == (422, notes_of(payment))
    with minutes_later(31):
        browser.send(notes_of(payment), text=NOTE)
        browser.sign_in("ines", PASSWORD)
        assert (browser.page.status_code, browser.url) == (200, desk_page_of(payment))
        assert written(browser, payment) == NOTE


def test_what_was_typed_is_shown_once(browser: PlainBrowser, payment: Payment) -> None:
    browser.open(desk_page_of(payment))
    with minutes_later(31):
        browser.send(notes_of(payment), text=NOTE)
        browser.sign_in("ines", PASSWORD)
        browser.open(desk_page_of(payment))
        assert written(browser, payment) == ""


def test_a_page_that_refreshes_itself_takes_nothing_away(browser: PlainBrowser, payment: Payment) -> None:
    browser.open(desk_page_of(payment))
    other = PlainBrowser(browser.client)
    with minutes_later(31):
        browser.send(notes_of(payment), text=NOTE)
        other.sign_in("ines", PASSWORD)
        browser.client.get(desk_page_of(payment), headers={"HX-Request": "true"})
        browser.open(desk_page_of(payment))
        assert written(browser, payment) == NOTE


def test_paying_leads_back_to_the_list_one_came_from(payment: Payment) -> None:
    browser = at_the_desk("camille")
    browser.open("/appointments/")
    with minutes_later(31):
        browser.send(f"/payments/{payment.public_id}/pay/")
        assert browser.url.startswith("/login/")
        browser.sign_in("camille", PASSWORD)
    assert (browser.page.status_code, browser.url) == (200, "/appointments/")
    payment.refresh_from_db()
    assert payment.status == PaymentStatus.UNPAID


def test_a_payment_at_the_desk_is_shown_again_and_not_recorded(browser: PlainBrowser, payment: Payment) -> None:
    take = f"{desk_page_of(payment)}take/"
    browser.open(take)
    key = browser.fields(take)["key"]
    with minutes_later(31):
        browser.send(take, method="terminal", amount="12,34")
        browser.sign_in("ines", PASSWORD)
        assert (browser.page.status_code, browser.url) == (200, take)
        shown = browser.fields(take)
        assert (shown["method"], shown["amount"], shown["key"]) == ("terminal", "12,34", key)
        payment.refresh_from_db()
        assert payment.amount_received == 0
        browser.send(take)
        browser.open(take)
    payment.refresh_from_db()
    assert payment.amount_received == 1234


def dialog(browser: PlainBrowser, payment: Payment, name: str) -> tuple[str, dict[str, str]]:
    """Prepare the payment for one of the desk's dialogs. Return the dialog's path, and what to type into it."""
    desk = desk_page_of(payment)
    if name == "mistake":
        browser.open(f"{desk}take/")
        browser.send(f"{desk}take/", method="cash", amount="20")
        return f"{desk}mistake/{payment.facts.get(kind='offline').stripe_id}/", {"reason": "été"}
    if name == "ask-again":
        story = Story(payment)
        deliver(story.succeeded())
        deliver(story.dispute("lost", "closed"))
    return desk + {"fee": "cancel/", "cheque": "take/"}.get(name, f"decide/{name}/"), {
        "stop-asking": {"reason": "été"},
        "ask-again": {},
        "fee": {"fee": "12,34"},
        "cheque": {"method": "cheque", "amount": "12,34", "deposited": "2031-02-03", "note": "BNP 1"},
    }[name]


@pytest.mark.usefixtures("noon")  # because an entry can be reversed only on its day
@pytest.mark.parametrize("name", ["mistake", "stop-asking", "ask-again", "fee", "cheque"])
def test_each_dialog_of_the_desk_is_shown_again_and_then_does_its_work(
    browser: PlainBrowser, payment: Payment, name: str
) -> None:
    path, typed = dialog(browser, payment, name)
    browser.open(path)
    changes = payment.changes.count()
    with minutes_later(31):
        browser.send(path, **typed)
        browser.sign_in("ines", PASSWORD)
        assert (browser.page.status_code, browser.url) == (200, path)
        assert browser.fields(path).items() >= typed.items()
        assert payment.changes.count() == changes
        browser.send(path)
    assert payment.changes.count() > changes


def test_what_was_wrong_with_a_form_is_said_again(browser: PlainBrowser, payment: Payment) -> None:
    take = f"{desk_page_of(payment)}take/"
    browser.open(take)
    with minutes_later(31):
        browser.send(take, method="cash", amount="1000")
        browser.sign_in("ines", PASSWORD)
    assert (browser.page.status_code, browser.fields(take)["amount"]) == (200, "1000")
    assert "Saisissez au plus 50,00" in text_of(browser.page)


@pytest.mark.parametrize("confirmed", [{}, {"confirmed": "1"}])
def test_a_refund_goes_on_at_its_confirmation(browser: PlainBrowser, paid: Payment, confirmed: dict[str, str]) -> None:
    refund = f"{desk_page_of(paid)}refund/"
    browser.open(refund)
    if confirmed:
        browser.send(refund, through="stripe", amount="12,34", reason="duplicate")
    with minutes_later(31):
        browser.send(refund, through="stripe", amount="12,34", reason="duplicate", **confirmed)
        browser.sign_in("ines", PASSWORD)
        assert (browser.page.status_code, browser.url) == (200, refund)
        assert "Rembourser 12,34" in text_of(browser.page)
        shown = browser.fields(refund)
        assert (shown["amount"], shown["reason"]) == ("12,34", "duplicate")
        paid.refresh_from_db()
        assert paid.amount_refund_pending == 0
        browser.send(refund, confirmed="1")
    paid.refresh_from_db()
    assert paid.amount_refund_pending == 1234


def test_a_week_typed_in_the_admin_is_not_lost(browser: PlainBrowser, payment: Payment) -> None:
    week = "/admin/clinic_appointments/appointment/week/"
    browser = at_the_desk("bea")
    browser.open(week)
    with minutes_later(31):
        browser.send(week, lines="2031-05-30 09:30 Camille Roux", service="Consultation", preview="1")
        assert browser.url.startswith("/login/")
        browser.sign_in("bea", PASSWORD)
    assert (browser.page.status_code, browser.url) == (200, week)
    assert browser.fields(week)["lines"] == "2031-05-30 09:30 Camille Roux"


@pytest.mark.slow
@pytest.mark.parametrize("role", ["superuser", "owner"])
def test_no_form_ends_in_a_page_for_no_method(db: None, role: str) -> None:
    """After signing in to send a form, the user sees a page and no error, with and without a Referer header.

    An error would come from following a link to a view that answers POST only.
    """
    world = World()
    for view, method in RULES:
        allowed, _, stranger = RULES[view, method]
        if (method, stranger) != ("POST", 302) or role not in allowed or not view.startswith("clinic:"):
            continue
        for referer in ({}, {"Referer": ORIGIN + world.path(view)}):
            client = Client()
            cache.clear()  # few sign-ins a minute are allowed from one address
            asked = client.post(world.path(view), headers=referer)
            assert asked["Location"].startswith("/login/?next="), view
            form = {"login": role, "password": "sesame", "next": unquote(asked["Location"].partition("next=")[2])}
            page = client.post(asked["Location"], form, follow=True)
            assert page.status_code == 200, (view, referer, page.redirect_chain)


def test_the_sign_in_page_in_another_language_says_nothing_of_a_form() -> None:
    browser = PlainBrowser()
    browser.open("/desk/")
    browser.send("/language/setlang/", language="en")
    assert unquote(browser.url) == "/login/?next=/desk/"
    assert "Nothing has been sent" not in text_of(browser.page)


# Another person


def test_another_person_neither_sees_nor_sends_what_was_typed(browser: PlainBrowser, payment: Payment) -> None:
    browser.open(desk_page_of(payment))
    with minutes_later(31):
        browser.send(notes_of(payment), text=NOTE)
        browser.sign_in("bea", PASSWORD)
        assert browser.url == desk_page_of(payment)
        assert written(browser, payment) == ""
        assert "Maman" not in str([row.get_decoded() for row in Session.objects.all()])
        browser.send("/logout/")
        browser.sign_in("ines", PASSWORD)
        browser.open(desk_page_of(payment))
        assert written(browser, payment) == ""


def test_what_a_stranger_sends_is_kept_nowhere(payment: Payment) -> None:
    browser = PlainBrowser()
    browser.open("/login/")
    token = browser.fields("/login/")["csrfmiddlewaretoken"]
    for mark in ("", "1", "1:forged"):
        form = {"text": NOTE, "typed_by": mark, "csrfmiddlewaretoken": token}
        answer = browser.client.post(notes_of(payment), form, headers={"Origin": ORIGIN})
        assert answer["Location"].startswith("/login/")
    assert not Session.objects.exists()


# Another tab


def test_signing_in_again_in_another_tab_loses_nothing(browser: PlainBrowser, payment: Payment) -> None:
    browser.open(desk_page_of(payment))
    with minutes_later(31):
        PlainBrowser(browser.client).sign_in("ines", PASSWORD)
        browser.send(notes_of(payment), text=NOTE)
        assert (browser.page.status_code, browser.url) == (200, desk_page_of(payment))
        assert written(browser, payment) == NOTE
        assert not Note.objects.exists()
        browser.send(notes_of(payment))
    assert Note.objects.get().text == NOTE


def test_a_page_of_another_person_in_another_tab_tells_nothing(browser: PlainBrowser, payment: Payment) -> None:
    browser.open(desk_page_of(payment))
    with minutes_later(31):
        PlainBrowser(browser.client).sign_in("bea", PASSWORD)
        browser.send(notes_of(payment), text=NOTE)
        assert browser.url == desk_page_of(payment)
        assert written(browser, payment) == ""
    assert not Note.objects.exists()


def test_signing_in_twice_in_two_tabs_leads_on_in_both(payment: Payment) -> None:
    first, second = at_the_desk("ines"), PlainBrowser()
    second.client = first.client
    with minutes_later(31):
        first.open(desk_page_of(payment))
        second.open("/review/")
        first.sign_in("ines", PASSWORD)
        second.sign_in("ines", PASSWORD)
    assert (second.page.status_code, second.url) == (200, "/review/")


@pytest.mark.parametrize("origin", [{}, {"Origin": "https://evil.example"}, {"Origin": "null"}])
def test_another_site_puts_nothing_into_a_form(browser: PlainBrowser, payment: Payment, origin: dict[str, str]) -> None:
    browser.open(desk_page_of(payment))
    form = browser.fields(notes_of(payment)) | {"text": NOTE, "csrfmiddlewaretoken": "x" * 64}
    assert browser.client.post(notes_of(payment), form, headers=origin).status_code == 403
    browser.open(desk_page_of(payment))
    assert written(browser, payment) == ""


def test_a_browser_without_cookies_is_told_so(browser: PlainBrowser, payment: Payment) -> None:
    browser.open(desk_page_of(payment))
    browser.client.cookies.clear()
    browser.send(notes_of(payment), text=NOTE)
    assert browser.page.status_code == 403


# Limits


def test_what_was_typed_waits_for_half_an_hour(browser: PlainBrowser, payment: Payment) -> None:
    browser.open(desk_page_of(payment))
    with minutes_later(31):
        browser.send(notes_of(payment), text=NOTE)
        PlainBrowser(browser.client).sign_in("ines", PASSWORD)
        browser.client.get("/desk/")
    with minutes_later(55):
        browser.client.get("/desk/")
    with minutes_later(62):
        browser.open(desk_page_of(payment))
        assert written(browser, payment) == ""


def test_a_text_that_is_too_long_for_the_session_still_leads_back(browser: PlainBrowser, payment: Payment) -> None:
    browser.open(desk_page_of(payment))
    with minutes_later(31):
        browser.send(notes_of(payment), text="x" * 50_000)
        assert not Session.objects.filter(expire_date__gt=timezone.now()).exists()
        browser.sign_in("ines", PASSWORD)
    assert (browser.page.status_code, browser.url) == (200, desk_page_of(payment))


def test_what_was_typed_is_in_no_url_and_in_no_log(
    browser: PlainBrowser, payment: Payment, caplog: pytest.LogCaptureFixture
) -> None:
    browser.open(desk_page_of(payment))
    with minutes_later(31), caplog.at_level(logging.DEBUG):
        browser.send(notes_of(payment), text="Maman")
        browser.sign_in("ines", PASSWORD)
    assert written(browser, payment) == "Maman"
    assert "Maman" not in " ".join(browser.seen)
    records = [record for record in caplog.records if record.name != "django.db.backends"]  # DEBUG logs SQL
    assert "Maman" not in " ".join(f"{record.getMessage()} {vars(record)}" for record in records)


def test_htmx_leaves_the_page_with_what_was_typed(browser: PlainBrowser, payment: Payment) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": ORIGIN + desk_page_of(payment)}
    browser.open(desk_page_of(payment))
    form = browser.fields(notes_of(payment)) | {"text": NOTE}
    with minutes_later(31):
        for answer in (
            browser.client.post(notes_of(payment), form, headers=headers | {"Origin": ORIGIN}),
            browser.client.get(f"{desk_page_of(payment)}timeline/", headers=headers),
        ):
            assert (answer.status_code, answer.content) == (401, b"Signed out.")
            assert "HX-Redirect" not in answer.headers
        assert not Session.objects.filter(expire_date__gt=timezone.now()).exists()


@pytest.mark.django_db(transaction=True)
async def test_an_async_site_keeps_it_too(payment: Payment) -> None:
    browser = await sync_to_async(at_the_desk)("ines")
    await sync_to_async(browser.open)(desk_page_of(payment))
    form = browser.fields(notes_of(payment)) | {"text": NOTE}
    client = AsyncClient()
    asked = await client.post(notes_of(payment), form, headers={"Referer": ORIGIN + desk_page_of(payment)})
    assert unquote(asked["Location"]) == f"/login/?next={desk_page_of(payment)}"
    session = await client.asession()
    assert set(await session.aget("unsent_forms", {})) == {notes_of(payment)}


# The proof of identity


@pytest.mark.parametrize("confirmed", [{}, {"confirmed": "1"}])
def test_a_refund_goes_on_after_the_proof(browser: PlainBrowser, paid: Payment, confirmed: dict[str, str]) -> None:
    refund = f"{desk_page_of(paid)}refund/"
    browser.open(refund)
    if confirmed:
        browser.send(refund, through="stripe", amount="12,34", reason="duplicate")
    with minutes_later(6):
        browser.send(refund, through="stripe", amount="12,34", reason="duplicate", **confirmed)
        assert browser.url.startswith("/reauthenticate/")
        browser.send("/reauthenticate/", password="wrong")
        browser.send("/reauthenticate/", password=PASSWORD)
        assert (browser.page.status_code, browser.url) == (200, refund)
        shown = browser.fields(refund)
        assert (shown["amount"], shown["reason"]) == ("12,34", "duplicate")
        paid.refresh_from_db()
        assert paid.amount_refund_pending == 0
        browser.send(refund, confirmed="1")
        assert browser.url == desk_page_of(paid)
    paid.refresh_from_db()
    assert (paid.status, paid.amount_refund_pending) == (PaymentStatus.REFUND_PENDING, 1234)


@pytest.mark.usefixtures("noon")
def test_a_correction_goes_on_after_the_proof(browser: PlainBrowser, payment: Payment) -> None:
    path, typed = dialog(browser, payment, "mistake")
    browser.open(path)
    with minutes_later(6):
        browser.send(path, **typed)
        browser.send("/reauthenticate/", password=PASSWORD)
        assert (browser.page.status_code, browser.url) == (200, path)
        assert browser.fields(path).items() >= typed.items()
        browser.send(path)
    payment.refresh_from_db()
    assert payment.amount_received == 0


def test_an_approval_is_asked_for_again_after_the_proof(paid: Payment, settings: Settings) -> None:
    settings.CLINIC_REFUND_APPROVAL_LIMITS = {"eur": 1000}
    refund_approvals.request(paid, Order(2000, "duplicate"), User.objects.get(username="ines"), "a" * 32)
    browser = at_the_desk("bea")
    approve = f"{desk_page_of(paid)}refund/approve/"
    browser.open(approve)
    with minutes_later(6):
        browser.send(approve, approve="1")
        browser.send("/reauthenticate/", password=PASSWORD)
        assert (browser.page.status_code, browser.url) == (200, approve)
        assert refund_approvals.waiting(paid)
        browser.send(approve, approve="1")
        assert browser.url == desk_page_of(paid)
    paid.refresh_from_db()
    assert not refund_approvals.waiting(paid)
    assert paid.amount_refund_pending == 2000


# The second factor


@pytest.mark.parametrize(
    ("form", "typed"),
    [
        ("notes/", {"text": NOTE}),
        ("take/", {"method": "terminal", "amount": "12,34"}),
        ("refund/", {"amount": "12,34", "reason": "duplicate"}),
        ("cancel/", {}),
        ("attendance/", {}),
        ("event", {}),
    ],
)
def test_a_form_goes_on_after_the_second_factor(
    browser: PlainBrowser, payment: Payment, settings: Settings, form: str, typed: dict[str, str]
) -> None:
    deliver(Story(payment).failed() if form == "take/" else Story(payment).succeeded())
    event = payment.changes.exclude(stripe_event_id="").latest("pk").stripe_event_id
    action = desk_page_of(payment) + (f"events/{event}/" if form == "event" else form)
    page = desk_page_of(payment) if form in ("notes/", "attendance/") else action
    changes = payment.changes.count()
    browser.open(page)
    secret = generate_totp_secret()
    TOTP.activate(User.objects.get(username="ines"), secret)
    settings.REQUIRE_MFA = True
    browser.send(action, **typed, **({"through": "stripe"} if form == "refund/" else {}))
    assert browser.url.startswith("/two-factor/reauthenticate/")
    browser.send("/two-factor/reauthenticate/", code=code_of(secret))
    assert (browser.page.status_code, browser.url) == (200, page)
    assert browser.fields(action).items() >= typed.items()
    payment.refresh_from_db()
    assert (payment.changes.count(), payment.appointment.canceled, Note.objects.count()) == (changes, False, 0)


def test_the_second_factor_leads_back_to_the_filtered_list(browser: PlainBrowser, settings: Settings) -> None:
    secret = generate_totp_secret()
    TOTP.activate(User.objects.get(username="ines"), secret)
    settings.REQUIRE_MFA = True
    browser.open("/desk/?status=paid")
    browser.send("/two-factor/reauthenticate/", code=code_of(secret))
    assert browser.url == "/desk/?status=paid"
