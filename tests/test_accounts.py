"""Tests of signing in: password guesses, second factors, the end of sessions, and confirmation before refunds."""

import datetime
import re
import threading
import time
from collections.abc import Iterator
from smtplib import SMTPRecipientsRefused
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from allauth.account.adapter import get_adapter
from allauth.account.models import EmailAddress
from allauth.core.context import request_context
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.db import IntegrityError, transaction
from django.test import Client, RequestFactory
from django.utils import timezone, translation
from pytest_django.fixtures import Settings

from accounts import mail as account_mail
from accounts.models import User
from appointments.models import Appointment, Practitioner
from payments.live import hub, socket_sessions
from payments.models import Payment
from tests.payments.clients import desk_page_of, text_of
from tests.payments.page import Page
from tests.payments.stripe_story import Story, deliver
from tests.waits import wait_for_account_emails

pytestmark = pytest.mark.django_db
PASSWORD = "sesame, said aloud"


@pytest.fixture(autouse=True)
def fresh_counts(db: None) -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def clerk(db: None) -> User:
    clerk = User.objects.create_user("desk", "desk@clinic.example", PASSWORD, is_staff=True)
    clerk.groups.add(Group.objects.get(name="front desk"))
    return clerk


def sign_in(name: str, password: str = PASSWORD, client: Client | None = None, **options: Any) -> Any:
    return (client or Client()).post("/login/", {"login": name, "password": password}, **options)


def test_a_person_signs_in_and_out_where_they_always_did(clerk: User, client: Client) -> None:
    asked = client.get("/desk/")
    assert asked["Location"] == "/login/?next=/desk/"
    assert sign_in("desk", client=client)["Location"] == "/"
    assert client.get("/desk/").status_code == 200
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/desk/").status_code == 302


def test_after_signing_in_one_is_where_one_wanted_to_be(clerk: User, client: Client) -> None:
    form = {"login": "desk", "password": PASSWORD, "next": "/review/"}
    assert client.post("/login/", form)["Location"] == "/review/"


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:x"])
def test_after_signing_in_one_is_never_elsewhere(clerk: User, client: Client, elsewhere: str) -> None:
    assert client.post("/login/", {"login": "desk", "password": PASSWORD, "next": elsewhere})["Location"] == "/"


def test_a_wrong_name_a_wrong_password_and_a_deactivated_person_get_the_same_answer(clerk: User) -> None:
    User.objects.create_user("gone", password=PASSWORD, is_active=False)
    pages = [
        text_of(sign_in(name, password)) for name, password in (("desk", "x"), ("nobody", "x"), ("gone", PASSWORD))
    ]
    assert pages[0].replace("desk", "") == pages[1].replace("nobody", "") == pages[2].replace("gone", "")


def test_six_guesses_lock_a_name_for_that_address_and_for_nobody_else(clerk: User) -> None:
    for _ in range(5):
        sign_in("desk", "guess")
    assert "_auth_user_id" not in sign_in("desk").wsgi_request.session
    assert "_auth_user_id" in sign_in("desk", REMOTE_ADDR="192.0.2.7").wsgi_request.session
    with time_machine.travel(timezone.now() + datetime.timedelta(minutes=16)):
        assert "_auth_user_id" in sign_in("desk").wsgi_request.session


def test_guesses_of_many_names_push_out_nobodys_counter(clerk: User) -> None:
    for _ in range(5):
        sign_in("desk", "guess")
    cache.set_many({f"zz{number}": [time.time()] for number in range(400)}, 900)  # other people's counters
    assert "Trop de tentatives" in text_of(sign_in("desk", "guess"))


def test_an_unknown_name_is_locked_in_the_same_words(clerk: User) -> None:
    for name in ("desk", "nobody"):
        for _ in range(5):
            sign_in(name, "guess")
        assert "Trop de tentatives" in text_of(sign_in(name, "guess"))


def test_whose_name_is_locked_is_told_by_e_mail_once(clerk: User) -> None:
    User.objects.create_user("gone", "gone@clinic.example", PASSWORD, is_active=False)
    User.objects.create_user("mute", password=PASSWORD)
    for name in ("desk", "gone", "mute", "nobody"):
        for number in range(1, 8):
            sign_in(name, "guess", REMOTE_ADDR=f"192.0.2.{ord(name[0])}", headers={"Accept-Language": "en"})
            assert len(list(sent())) == (name != "desk" or number >= 5), (name, number)
    (letter,) = sent()
    assert letter.to == ["desk@clinic.example"]
    assert letter.subject == "Mots de passe erronés pour votre compte"
    assert "192.0.2.100" in letter.body
    assert "http://testserver/password/reset/" in letter.body
    assert "guess" not in letter.body


class CountingHasher(MD5PasswordHasher):
    algorithm = "counting"
    encoded: list[str] = []

    def encode(self, password: str, salt: str) -> str:
        self.encoded.append(password)
        return super().encode(password, salt)


def test_a_name_that_is_not_known_takes_as_much_hashing_as_one_that_is(settings: Settings) -> None:
    """Every attempt to sign in hashes one password: a faster answer would reveal that there is no such account."""
    settings.PASSWORD_HASHERS = ["tests.test_accounts.CountingHasher"]
    for name, active in (("desk", True), ("gone", False)):
        User.objects.create_user(name, password=PASSWORD, is_active=active)
    for name, password in (("desk", "guess"), ("nobody", "guess"), ("gone", PASSWORD), ("gone", "guess")):
        CountingHasher.encoded.clear()
        sign_in(name, password)
        assert CountingHasher.encoded == [password], name


def test_nobody_makes_an_account(client: Client) -> None:
    assert client.get("/signup/").status_code == 404
    assert "/signup/" not in client.get("/login/").content.decode()


def test_the_admin_is_entered_by_the_same_door(client: Client) -> None:
    answer = client.get("/admin/", follow=True)
    assert answer.redirect_chain[-1][0].startswith("/login/?next=%2Fadmin%2F")


# Passwords


def sent() -> Iterator[Any]:
    wait_for_account_emails()
    yield from mail.outbox


def test_a_forgotten_password_is_answered_alike_whether_the_address_is_known(clerk: User, client: Client) -> None:
    known = client.post("/password/reset/", {"email": "desk@clinic.example"}, follow=True)
    unknown = client.post("/password/reset/", {"email": "nobody@clinic.example"}, follow=True)
    assert text_of(known) == text_of(unknown)
    (letter,) = sent()
    assert letter.to == ["desk@clinic.example"]
    link = re.search(r"/password/reset/key/\S+", letter.body)
    assert link
    form = client.get(link[0], follow=True)
    new = "a new and longer word"
    answer = client.post(form.redirect_chain[-1][0], {"password1": new, "password2": new}, follow=True)
    assert 'class="button" href="/login/"' in answer.content.decode()
    assert "_auth_user_id" in sign_in("desk", new).wsgi_request.session
    assert "invalide" in text_of(Client().get(link[0], follow=True))


def clear_outbox() -> None:
    """Wait for e-mails that are being sent, then empty the outbox."""
    list(sent())
    mail.outbox.clear()


def test_an_email_names_the_site_s_own_address_whatever_port_its_requester_names(clerk: User) -> None:
    Client(headers={"host": "testserver:1234"}).post("/password/reset/", {"email": "desk@clinic.example"})
    (letter,) = sent()
    assert "http://testserver/password/reset/key/" in letter.body
    assert "1234" not in letter.subject + letter.body


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("kind", [
    "account/email/password_reset_key", "account/email/password_changed", "account/email/changed",
    "account/email/locked", "account/email/invitation", "mfa/email/totp_activated", "mfa/email/totp_deactivated",
    "mfa/email/webauthn_added", "mfa/email/webauthn_removed", "mfa/email/recovery_codes_generated",
])  # fmt: skip
def test_every_email_about_accounts_speaks_with_the_clinic_s_name(kind: str, language: str, settings: Settings) -> None:
    settings.CLINIC_CONTACT = "04 78 00 00 00"
    request = RequestFactory().get("/", headers={"host": "testserver:1234"})
    request.user = AnonymousUser()
    with request_context(request), translation.override(language):
        get_adapter().send_mail(kind, "desk@clinic.example", {"ip": "192.0.2.1", "user_agent": "Firefox"})
        (letter,) = sent()
    greeting = {"fr": "Bonjour,", "en": "Hello,"}[language]
    assert letter.body.startswith(greeting)
    for words in (f"\n\n{settings.CLINIC_NAME}\n{settings.CLINIC_ADDRESS}", "04 78 00 00 00", "http://testserver"):
        assert words in letter.body
    assert "1234" not in letter.subject + letter.body
    assert letter.from_email == settings.DEFAULT_FROM_EMAIL


def reset_password(address: str, new: str = "a new and longer word") -> None:
    """Ask for a new password and set it through the link that is sent to `address`."""
    client = Client()
    clear_outbox()
    client.post("/password/reset/", {"email": address})
    [letter] = sent()
    link = re.search(r"/password/reset/key/\S+", letter.body)
    assert link
    form = client.get(link[0], follow=True)
    client.post(form.redirect_chain[-1][0], {"password1": new, "password2": new})


def test_the_link_for_a_new_password_proves_the_address(clerk: User) -> None:
    Client().post("/password/reset/", {"email": "desk@clinic.example"})
    list(sent())
    assert not EmailAddress.objects.get(user=clerk).verified
    reset_password("desk@clinic.example")
    assert EmailAddress.objects.get(user=clerk).verified


def test_a_proved_address_takes_nothing_away_from_a_refund(clerk: User, paid: Payment) -> None:
    """A clerk with a proved e-mail address can still confirm a refund by password, on a page that the site has.

    allauth would offer people with a proved address a code by e-mail, for which the site has no page.
    """
    reset_password("desk@clinic.example", PASSWORD)
    client = Client()
    sign_in("desk", client=client)
    with minutes_later(6):
        asked = client.post(f"{desk_page_of(paid)}refund/", {"scope": "full", "reason": "duplicate"})
        assert client.get(asked["Location"]).status_code == 200


@pytest.mark.parametrize("way", ["totp/activate/", "webauthn/add/"])
@pytest.mark.parametrize("address", ["desk@clinic.example", "other@clinic.example"])
def test_an_address_that_nobody_proved_bars_no_second_factor(
    strict: None, clerk: User, client: Client, way: str, address: str
) -> None:
    """A user whose e-mail address isn't proved can add a second factor, although allauth knows the address.

    allauth knows an address as soon as anybody asks for a new password for it.
    """
    Client().post("/password/reset/", {"email": "desk@clinic.example"})
    EmailAddress.objects.get_or_create(user=clerk, email=address)
    sign_in("desk", client=client)
    page = client.get(f"/two-factor/{way}")
    assert page.status_code == 200
    if way == "totp/activate/":
        client.post(f"/two-factor/{way}", {"code": code_of(page.context["form"].secret)})
        assert Authenticator.objects.filter(user=clerk, type=Authenticator.Type.TOTP).exists()


def test_an_address_that_the_clinic_replaced_opens_nothing(clerk: User, admin_client: Client) -> None:
    """When the clinic replaces a user's address, the old one gets no password link until it is another user's."""
    reset_password("desk@clinic.example", PASSWORD)
    page = f"/admin/clinic_accounts/user/{clerk.pk}/change/"
    form = {"username": "desk", "email": "ines@clinic.example", "is_active": "on", "is_staff": "on"}
    form |= {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    assert admin_client.post(page, form).status_code == 302
    clear_outbox()
    Client().post("/password/reset/", {"email": "desk@clinic.example"})
    assert list(sent()) == []
    User.objects.create_user("next", "desk@clinic.example", PASSWORD)
    reset_password("desk@clinic.example")
    assert EmailAddress.objects.get(user__username="next").verified
    assert "_auth_user_id" in sign_in("next", "a new and longer word").wsgi_request.session


def test_a_link_goes_to_the_person_s_own_address_only(clerk: User) -> None:
    clear_outbox()
    EmailAddress.objects.create(user=clerk, email="old@clinic.example", verified=True)
    Client().post("/password/reset/", {"email": "old@clinic.example"})
    assert list(sent()) == []


def test_a_new_password_is_told_by_e_mail(clerk: User, client: Client) -> None:
    sign_in("desk", client=client)
    new = "a new and longer word"
    client.post("/password/change/", {"oldpassword": PASSWORD, "password1": new, "password2": new})
    (letter,) = sent()
    assert letter.to == ["desk@clinic.example"]
    assert "Votre mot de passe a été modifié" in letter.body


def test_passwords_are_kept_with_argon2_and_old_ones_move_to_it(clerk: User, settings: Settings) -> None:
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.Argon2PasswordHasher", "django.contrib.auth.hashers.MD5PasswordHasher"
    ]  # fmt: skip
    assert clerk.password.startswith("md5$")
    sign_in("desk")
    clerk.refresh_from_db()
    assert clerk.password.startswith("argon2$argon2id$")


# Second factors


@pytest.fixture
def strict(settings: Settings) -> None:
    settings.REQUIRE_MFA = True


def code_of(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, max(yield_hotp_counters_from_time()))))


def test_staff_without_a_second_factor_are_led_to_set_one_up(strict: None, clerk: User, client: Client) -> None:
    sign_in("desk", client=client)
    for path in ("/desk/", "/review/", "/admin/", "/"):
        assert client.get(path)["Location"] == "/two-factor/", path
    page = client.get("/two-factor/")
    assert "deuxième étape" in text_of(page)
    assert "live-source" not in page.content.decode()
    assert client.get("/payments/live/?after=0", headers={"HX-Request": "true"}).status_code == 403
    assert socket_sessions.load_sessions([client.session.session_key or ""]) == {}


@pytest.mark.django_db(transaction=True)
def test_a_code_that_was_set_up_opens_the_desk(strict: None, clerk: User, client: Client) -> None:
    sign_in("desk", client=client)
    form = client.get("/two-factor/totp/activate/").context["form"]
    answer = client.post("/two-factor/totp/activate/", {"code": code_of(form.secret)}, follow=True)
    assert "codes de récupération" in text_of(answer).lower()
    assert client.get("/desk/").status_code == 200
    assert socket_sessions.load_sessions([client.session.session_key or ""])


def test_whoever_signed_in_before_the_code_was_set_up_is_asked_for_it(
    strict: None, clerk: User, client: Client
) -> None:
    """A session from before the second factor was set up must enter a code, too.

    A thief of the password may have started this session.
    """
    sign_in("desk", client=client)
    TOTP.activate(clerk, generate_totp_secret())
    assert client.get("/desk/")["Location"].startswith("/two-factor/reauthenticate/?next=%2Fdesk%2F")
    assert socket_sessions.load_sessions([client.session.session_key or ""]) == {}


def test_a_password_alone_does_not_sign_in_once_there_is_a_code(strict: None, clerk: User, client: Client) -> None:
    secret = generate_totp_secret()
    TOTP.activate(clerk, secret)
    assert sign_in("desk", client=client)["Location"] == "/two-factor/authenticate/"
    assert client.get("/desk/")["Location"].startswith("/login/")
    assert "Code incorrect" in text_of(client.post("/two-factor/authenticate/", {"code": "000000"}))
    assert client.post("/two-factor/authenticate/", {"code": code_of(secret)})["Location"] == "/"
    assert client.get("/desk/").status_code == 200


def test_a_recovery_code_signs_in_once(strict: None, clerk: User) -> None:
    TOTP.activate(clerk, generate_totp_secret())
    code = RecoveryCodes.activate(clerk).get_unused_codes()[0]
    for _, status in (("first", 302), ("again", 200)):
        client = Client()
        sign_in("desk", client=client)
        assert client.post("/two-factor/authenticate/", {"code": code}).status_code == status


def test_patients_need_no_second_factor(strict: None, client: Client) -> None:
    client.force_login(User.objects.create_user("camille"))
    assert client.get("/appointments/").status_code == 200


# Sessions


def ends_in(client: Client) -> float:
    """Return the number of seconds until the client's session expires."""
    row = Session.objects.get(session_key=client.session.session_key)
    return (row.expire_date - timezone.now()).total_seconds()


def minutes_later(minutes: float) -> Any:
    return time_machine.travel(timezone.now() + datetime.timedelta(minutes=minutes))


@pytest.mark.parametrize("door", ["/logout/", "/admin/logout/"])
def test_signing_out_leaves_nothing_in_the_browser(clerk: User, client: Client, door: str) -> None:
    assert "Clear-Site-Data" not in sign_in("desk", client=client).headers
    assert client.post(door)["Clear-Site-Data"] == '"cache", "storage"'
    assert "Clear-Site-Data" not in client.get("/login/").headers


def test_a_session_ends_when_its_owner_does_nothing_for_long(clerk: User, client: Client) -> None:
    with time_machine.travel(timezone.now(), tick=False):
        sign_in("desk", client=client)
        assert ends_in(client) == django_settings.SESSION_COOKIE_AGE
    with minutes_later(31):
        assert client.get("/desk/").status_code == 302
        assert client.get("/payments/live/?after=0").status_code == 401


def test_a_session_goes_on_while_its_owner_works_but_not_for_ever(clerk: User, client: Client) -> None:
    sign_in("desk", client=client)
    start = timezone.now()
    for minutes in range(20, 600, 20):
        with time_machine.travel(start + datetime.timedelta(minutes=minutes)):
            assert client.get("/review/").status_code == 200, minutes
    with time_machine.travel(start + datetime.timedelta(minutes=601)):
        assert client.get("/review/").status_code == 302


def test_a_page_left_open_keeps_no_session_alive(clerk: User, client: Client) -> None:
    sign_in("desk", client=client)
    with minutes_later(20):
        for path in ("/payments/live/?after=0", "/desk/"):
            client.get(path, headers={"HX-Request": "true"})
        assert ends_in(client) < 11 * 60


def test_a_socket_ends_with_its_session(clerk: User, client: Client) -> None:
    sign_in("desk", client=client)
    [session] = socket_sessions.load_sessions([client.session.session_key or ""]).values()
    assert socket_sessions.ended_sessions([session], session.access) == {}
    with minutes_later(31):
        assert socket_sessions.ended_sessions([session], session.access) == {session: socket_sessions.SIGNED_OUT}


@pytest.mark.django_db(transaction=True)
async def test_an_open_page_is_told_that_its_session_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "TAIL", 0.1)
    monkeypatch.setattr(hub, "CHECK_MOST", 0.1)
    clerk = await sync_to_async(User.objects.create_user)("desk", password=PASSWORD, is_staff=True)
    async with Page(clerk) as page:
        await page.told_until_hello()
        await sync_to_async(Session.objects.update)(expire_date=timezone.now())
        assert await page.close_code(12) == socket_sessions.SIGNED_OUT


def test_signing_in_gives_a_new_session_and_signing_out_ends_it(clerk: User, client: Client) -> None:
    client.get("/login/")
    sign_in("desk", client=client)
    first = client.session.session_key
    client.post("/logout/")
    assert not Session.objects.filter(session_key=first).exists()


# Confirmation of the user's identity before refunds


@pytest.fixture
def paid(db: None) -> Payment:
    start = timezone.now()
    appointment = Appointment.objects.create(
        patient=User.objects.create_user("camille"),
        practitioner=Practitioner.objects.create(name="Dr Mercier"),
        service="Consultation",
        start=start,
        end=start + datetime.timedelta(minutes=20),
        price_amount=5000,
    )
    payment = Payment.objects.with_appointment().get(appointment=appointment)
    deliver(Story(payment).succeeded())
    payment.refresh_from_db()
    return payment


def test_a_refund_asks_again_who_one_is(clerk: User, client: Client, paid: Payment) -> None:
    sign_in("desk", client=client)
    refund = {"through": "stripe", "amount": "12,34", "reason": "duplicate"}
    with minutes_later(6):
        asked = client.post(f"{desk_page_of(paid)}refund/", refund)
        assert asked["Location"].startswith("/reauthenticate/?next=")
        wrong = client.post(asked["Location"], {"password": "x"})
        assert "password" in wrong.context["form"].errors
        assert client.post(asked["Location"], {"password": PASSWORD})["Location"] == f"{desk_page_of(paid)}refund/"
        assert "Rembourser 12,34" in text_of(client.post(f"{desk_page_of(paid)}refund/", refund))


def test_a_password_that_moves_to_another_hasher_signs_nobody_out(
    clerk: User, client: Client, settings: Settings
) -> None:
    """A person who proves their identity by password stays signed in, although the password moves to a new hasher.

    The test signs in without the password, as with a passkey, so that signing in doesn't change the hasher.
    """
    client.force_login(clerk)
    settings.PASSWORD_HASHERS = [f"django.contrib.auth.hashers.{name}PasswordHasher" for name in ("Argon2", "MD5")]
    assert client.post("/reauthenticate/?next=/desk/", {"password": PASSWORD})["Location"] == "/desk/"
    clerk.refresh_from_db()
    assert clerk.password.startswith("argon2$")
    assert client.get("/desk/").status_code == 200


def test_within_five_minutes_of_signing_in_a_refund_asks_for_nothing(
    clerk: User, client: Client, paid: Payment
) -> None:
    sign_in("desk", client=client)
    with minutes_later(4):
        refund = {"through": "stripe", "amount": "50", "reason": "duplicate"}
        answer = client.post(f"{desk_page_of(paid)}refund/", refund)
        assert "Rembourser 50,00" in text_of(answer)


# Accounts


def new_account(**fields: str) -> dict[str, str]:
    """Return the data of the admin's form for a new account; `fields` are added to it."""
    return {"username": "someone", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"} | fields


@pytest.fixture
def admin_client(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("owner"))
    return client


def test_an_account_is_made_with_what_the_clinic_needs_to_reach_the_person(admin_client: Client) -> None:
    form = new_account(email="Some@clinic.example", phone="+33 6 12 34 56 78", preferred_language="en")
    answer = admin_client.post("/admin/clinic_accounts/user/add/", form)
    made = User.objects.get(username="someone")
    assert answer.status_code == 302
    assert (made.email, made.phone, made.preferred_language) == ("Some@clinic.example", "+33 6 12 34 56 78", "en")


def test_an_address_belongs_to_one_account_however_it_is_written(admin_client: Client, clerk: User) -> None:
    answer = admin_client.post("/admin/clinic_accounts/user/add/", new_account(email="DESK@Clinic.example"))
    assert "Un autre compte a cette adresse e-mail." in answer.content.decode()
    assert not User.objects.filter(username="someone").exists()
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create_user("someone", "Desk@clinic.example")


def test_several_accounts_may_have_no_address(admin_client: Client) -> None:
    for name in ("someone", "another"):
        assert admin_client.post("/admin/clinic_accounts/user/add/", new_account(username=name)).status_code == 302
    assert User.objects.filter(username__in=("someone", "another"), email="").count() == 2


# Changes to other people's accounts


@pytest.fixture
def others(db: None) -> None:
    """Make those who hear of changes to accounts of staff: a manager, a superuser, and nobody who has left."""
    for name in ("manager", "gone"):
        person = User.objects.create_user(name, f"{name}@clinic.example", PASSWORD, is_staff=True)
        person.groups.add(Group.objects.get(name="manager"))
    User.objects.filter(username="gone").update(is_active=False)
    User.objects.create_superuser("chief", "chief@clinic.example", PASSWORD, preferred_language="en")


def account_form(user: User, **changes: Any) -> dict[str, Any]:
    """Return the data of the admin's form for this account, with `changes`; a value of None leaves the field out."""
    joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    kept: dict[str, Any] = {
        "username": user.username,
        "email": user.email,
        "is_active": "on",
        "is_staff": "on",
        **joined,
    }
    kept["groups"] = [group.pk for group in user.groups.all()]
    return {name: value for name, value in (kept | changes).items() if value is not None}


def change_in_admin(client: Client, user: User, **changes: Any) -> Any:
    return client.post(f"/admin/clinic_accounts/user/{user.pk}/change/", account_form(user, **changes))


def letters() -> dict[str, str]:
    """Return the text of each e-mail that was sent, by its recipient."""
    return {letter.to[0]: letter.body for letter in sent()}


def test_the_admin_s_page_for_a_new_password_is_the_site_s_own(clerk: User, client: Client) -> None:
    """A new password can't be set at /admin/password_change/, where attempts aren't limited and nobody is told."""
    sign_in("desk", client=client)
    form = {
        "old_password": PASSWORD,
        "new_password1": "a new and longer word",
        "new_password2": "a new and longer word",
    }
    for answer in (client.get("/admin/password_change/"), client.post("/admin/password_change/", form)):
        assert answer["Location"] == "/password/change/"
    clerk.refresh_from_db()
    assert clerk.check_password(PASSWORD)


def test_attempts_at_the_old_password_are_limited(clerk: User, client: Client) -> None:
    sign_in("desk", client=client)
    form = {"oldpassword": "guess", "password1": "a new and longer word", "password2": "a new and longer word"}
    answers = [client.post("/password/change/", form).status_code for _ in range(6)]
    assert answers == [200] * 5 + [429]


def test_a_password_set_by_an_administrator_is_told_to_its_person(
    clerk: User, others: None, admin_client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    form = {"password1": "a new and longer word", "password2": "a new and longer word", "usable_password": "true"}
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin_client.post(f"/admin/clinic_accounts/user/{clerk.pk}/password/", form)
    assert answer.status_code == 302
    told = letters()
    assert told.keys() == {"desk@clinic.example", "manager@clinic.example", "chief@clinic.example"}
    assert "owner a modifié votre compte desk" in told["desk@clinic.example"]
    assert "- le mot de passe" in told["desk@clinic.example"]
    assert "owner has changed the account desk" in told["chief@clinic.example"]
    assert "a new and longer word" not in "".join(told.values())


ANY_PERMISSION = "any"  # its key is known only in the test, because the tables may have been emptied and filled again


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"email": "new@clinic.example"}, "l’adresse e-mail"),
        ({"is_active": None}, "si la personne peut se connecter"),
        ({"is_staff": None}, "si la personne fait partie du personnel"),
        ({"is_superuser": "on"}, "si la personne est superutilisateur"),
        ({"groups": []}, "les rôles (accueil → -)"),
        ({"user_permissions": ANY_PERMISSION}, "les permissions individuelles"),
        ({"first_name": "Inès"}, ""),
    ],
)
def test_a_change_of_access_is_told_to_its_person_and_to_those_who_manage_accounts(
    clerk: User, others: None, admin_client: Client, django_capture_on_commit_callbacks: Any,
    changes: dict[str, Any], words: str,
) -> None:  # fmt: skip
    if "user_permissions" in changes:
        changes = {"user_permissions": Permission.objects.values_list("pk", flat=True)[0]}
    with django_capture_on_commit_callbacks(execute=True):
        assert change_in_admin(admin_client, clerk, **changes).status_code == 302
    told = letters()
    readers = {"desk@clinic.example", "manager@clinic.example", "chief@clinic.example"} if words else set()
    assert told.keys() == readers | ({"new@clinic.example"} if "email" in changes else set())
    assert all(f"- {words}\n" in text for reader, text in told.items() if reader != "chief@clinic.example")


def test_a_patient_s_new_address_is_told_to_the_patient_alone(
    others: None, admin_client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    camille = User.objects.create_user("camille", "camille@example.com", PASSWORD)
    with django_capture_on_commit_callbacks(execute=True):
        change_in_admin(admin_client, camille, is_staff=None, email="elsewhere@example.com")
    assert letters().keys() == {"camille@example.com", "elsewhere@example.com"}


def test_a_new_account_is_told_to_its_person(admin_client: Client, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post("/admin/clinic_accounts/user/add/", new_account(email="some@clinic.example"))
    assert "le compte a été créé" in letters()["some@clinic.example"]


def test_a_new_colleague_is_invited_and_chooses_the_password(
    others: None, admin_client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    page = admin_client.get("/admin/clinic_accounts/user/add/").content.decode()
    assert "La personne le choisit" in page
    form = {"username": "lea", "usable_password": "false", "email": "lea@clinic.example", "is_staff": "on"}
    role = Group.objects.get(name="front desk")
    assert "accueil" in page
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin_client.post("/admin/clinic_accounts/user/add/", form | {"groups": [role.pk]})
    assert answer.status_code == 302
    told = letters()
    assert "Votre identifiant est lea." in told["lea@clinic.example"]
    assert "le compte a été créé" in told["manager@clinic.example"]
    lea = User.objects.get(username="lea")
    assert (lea.is_staff, lea.has_usable_password(), [group.name for group in lea.groups.all()]) == (
        True, False, ["front desk"],
    )  # fmt: skip
    link = re.findall(r"http\S+", told["lea@clinic.example"])[0]
    welcome = Client().get(urlsplit(link).path)
    assert "une deuxième étape" in welcome.content.decode()
    choose = Client()
    form_page = choose.post(urlsplit(link).path, follow=True)
    assert form_page.status_code == 200
    choose.post(form_page.request["PATH_INFO"], {"password1": PASSWORD, "password2": PASSWORD})
    lea.refresh_from_db()
    assert lea.check_password(PASSWORD)
    assert Client().get(urlsplit(link).path).status_code == 410, "the link has ended"


def test_a_second_factor_removed_by_an_administrator_is_told(
    clerk: User, others: None, admin_client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    TOTP.activate(clerk, generate_totp_secret())
    factor = Authenticator.objects.get(user=clerk)
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin_client.post(f"/admin/mfa/authenticator/{factor.pk}/delete/", {"post": "yes"})
    assert answer.status_code == 302
    assert not Authenticator.objects.exists()
    assert "une deuxième étape" in letters()["desk@clinic.example"]
    assert "chief@clinic.example" in letters()


def test_the_admin_s_log_names_the_roles_before_and_after(clerk: User, admin_client: Client) -> None:
    change_in_admin(admin_client, clerk, groups=[Group.objects.get(name="accountant").pk])
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.object_id) == ("owner", str(clerk.pk))
    assert "accueil → comptable" in entry.get_change_message()


def test_a_manager_gives_no_role_and_so_is_not_both_persons_of_a_refund(clerk: User) -> None:
    """A manager can't give anybody a role, nor take over the account of a person who has one."""
    boss = User.objects.create_user("boss", is_staff=True)
    boss.groups.add(Group.objects.get(name="manager"))
    manager = Client()
    manager.force_login(boss)
    manager.post("/admin/clinic_accounts/user/add/", new_account())
    puppet = User.objects.get(username="someone")
    assert change_in_admin(manager, puppet, groups=[Group.objects.get(name="accountant").pk]).status_code == 302
    assert puppet.groups.count() == 0
    password = {"password1": "a new and longer word", "password2": "a new and longer word", "usable_password": "true"}
    assert manager.post(f"/admin/clinic_accounts/user/{puppet.pk}/password/", password).status_code == 302
    for person in (clerk, boss):
        assert change_in_admin(manager, person, email="mine@clinic.example").status_code == 403
        assert manager.post(f"/admin/clinic_accounts/user/{person.pk}/password/", password).status_code == 403


# E-mails in the background


def test_an_email_too_many_is_dropped_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(account_mail, "_places", threading.BoundedSemaphore(1))
    server_is_back, calls = threading.Event(), []
    account_mail.send_soon(lambda: calls.append(server_is_back.wait(30)))
    account_mail.send_soon(lambda: calls.append(False))
    assert caplog.messages == ["account_email_dropped"]
    server_is_back.set()
    wait_for_account_emails()
    assert calls == [True]


def test_an_email_that_fails_is_logged_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> None:
        raise SMTPRecipientsRefused({"camille@example.com": (550, b"no such user")})

    account_mail.send_soon(refuse)
    list(sent())
    assert caplog.messages == ["account_email_failed"]
    assert "camille" not in caplog.text
