"""Tests of the command payments_doctor: each check reports the fault that a test creates, and how to repair it."""

import datetime
import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone, translation
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from accounts.models import User
from payments import doctor
from payments.desk import till
from payments.desk.closings import open_sheet, seal
from payments.desk.giving_back import give_back
from payments.desk.refund_orders import Order
from payments.doctor import database, delivery, emails, events, machine
from payments.doctor.finding import Level, Verdict, ok
from payments.domain.methods import Method
from payments.domain.status import PaymentStatus
from payments.gateway.client import StripeUnavailableError
from payments.gateway.event_types import EVENT_READERS
from payments.models import (
    BackgroundJob,
    Closing,
    ClosingHead,
    EventReceipt,
    Fact,
    Feed,
    FeedEntry,
    JournalLine,
    OnlineEntry,
    Payment,
    StatusChange,
    closing_triggers,
)
from payments.models.closing import make_head
from tests.live_site import LiveSite
from tests.payments.clients import text_of
from tests.payments.faults import broken_ledger
from tests.payments.page import Page
from tests.payments.sandbox import StripeAtHome, open_checkout
from tests.payments.stripe_story import Story, deliver
from tests.services import Service

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[3]
NEEDS_SERVER = {"webhook", "forms", "socket"}  # checks that fail when no server runs
Capture = pytest.CaptureFixture[str]
HOUR = datetime.timedelta(hours=1)


@pytest.fixture(autouse=True)
def english(settings: Settings) -> Iterator[None]:
    """Run each test in English, because a request in an earlier test may have left another language active."""
    settings.LANGUAGE_CODE = "en"
    with translation.override("en"):
        yield


def says(verdict: Verdict, level: Level, what: str, fix: str = "") -> bool:
    assert (verdict.level, what in verdict.what, fix in verdict.fix) == (level, True, True), verdict
    assert bool(verdict.fix) == (level != Level.OK), "whatever is wrong comes with its fix"
    return True


def checked(name: str) -> Verdict:
    return doctor.CHECKS[name]()


def receipts(outcome: str, *, age: datetime.timedelta = HOUR, **fields: object) -> None:
    row = EventReceipt(stripe_event_id=f"evt_{outcome}", type="x", livemode=False, stripe_created=0, outcome=outcome)
    row.save()
    EventReceipt.objects.filter(pk=row.pk).update(received_at=timezone.now() - age, **fields)


def test_a_configuration_problem_is_told_with_its_fix(settings: Settings) -> None:
    settings.SECRET_KEY, settings.STRIPE_WEBHOOK_SECRETS, settings.CLINIC_SITE_URL = (
        "aB3-x" * 12,
        [],
        "http://127.0.0.1",
    )
    assert says(machine.configuration(), Level.WARNING, "STRIPE_WEBHOOK_SECRET) is empty", "stripe_setup")
    settings.STRIPE_WEBHOOK_SECRETS = ["nonsense"]
    assert says(machine.configuration(), Level.ERROR, "whsec_")
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_1"]
    assert says(machine.configuration(), Level.OK, "no known problems")


def test_versions_below_the_floor_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert says(machine.versions(), Level.OK, "django 5.2")
    monkeypatch.setitem(machine.MINIMUM_VERSIONS, "django", "5.2.99")
    assert says(machine.versions(), Level.ERROR, "< 5.2.99", "requirements.lock")


@pytest.mark.parametrize(
    ("limit", "level", "said"),
    [("NO_SPACE", Level.ERROR, "The disk is full"), ("LOW_SPACE", Level.WARNING, "Free disk space")],
)
def test_a_disk_that_fills_up_is_noticed(limit: str, level: Level, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.disk().level == Level.OK
    monkeypatch.setattr(machine, limit, 10**18)
    assert says(machine.disk(), level, said, "Free disk space")


def test_events_that_failed_are_counted_with_their_age(story: Story) -> None:
    assert says(events.failed(), Level.OK, "No event has arrived yet")
    deliver(story.failed())
    assert says(events.failed(), Level.OK, "Every event was applied")
    with broken_ledger(), pytest.raises(ZeroDivisionError):
        deliver(story.completed())
    assert says(events.failed(), Level.ERROR, "Events not applied: 1", "replay_events --failed")


def test_an_event_that_was_never_applied_is_told() -> None:
    receipts("received")
    assert says(events.failed(), Level.ERROR, "received 1 hr ago", "--failed")


def test_no_event_is_given_up_in_silence() -> None:
    receipts("dead")
    assert says(events.failed(), Level.ERROR, "given up because their payment is unknown: 1", "--force")
    assert "--failed" not in events.failed().fix
    receipts("failed")
    assert says(events.failed(), Level.ERROR, "not applied: 1", "--failed")
    assert says(events.failed(), Level.ERROR, "given up because their payment is unknown: 1", "--force")


def test_an_event_that_is_not_understood_is_set_aside(story: Story) -> None:
    event = story.completed()
    event["data"]["object"]["amount_total"] = "a lot"
    deliver(event)
    assert says(events.quarantined(), Level.WARNING, "set aside: 1", "reconcile")


def test_a_refund_that_waits_for_its_payment_is_told_after_a_while(story: Story) -> None:
    deliver(story.refund(1000))
    assert events.waiting().level == Level.OK
    EventReceipt.objects.update(received_at=timezone.now() - HOUR)
    assert says(events.waiting(), Level.WARNING, "not known yet: 1", "sweep")


def test_events_of_the_other_mode_are_told(story: Story) -> None:
    deliver(Story(story.payment, livemode=True).completed())
    assert says(events.other_mode(), Level.WARNING, "refused in the last 24 hours: 1", "STRIPE_LIVE_MODE")


def test_a_refund_that_stripe_never_answered(payment: Payment, stripe: StripeAtHome, clerk: User) -> None:
    stripe.do("pay", session=open_checkout(payment))
    stripe.tell()
    payment.refresh_from_db()
    stripe.do("api", mode="error500")
    with pytest.raises(StripeUnavailableError):
        give_back(payment, Order(1000, ""), clerk, key=uuid4().hex)
    assert events.unanswered_refunds().level == Level.OK  # Stripe's answer may still come
    Fact.objects.filter(stripe_id__startswith="request_").update(recorded_at=timezone.now() - 2 * HOUR / 60)
    assert says(events.unanswered_refunds(), Level.WARNING, "not answered: 1", "sweep")
    Fact.objects.filter(stripe_id__startswith="request_").update(recorded_at=timezone.now() - HOUR)
    assert says(events.unanswered_refunds(), Level.ERROR, "not answered: 1", "sweep")


def test_background_work_that_is_not_done_is_told() -> None:
    assert checked("work").level == Level.OK
    BackgroundJob.objects.update(created_at=timezone.now() - HOUR)
    assert says(checked("work"), Level.WARNING, "Checks with Stripe, 1 hr", "Keep `manage.py work` running")
    failed = {"failed_at": timezone.now(), "error": "1 failed: pi_1."}
    BackgroundJob.objects.filter(name="mirror").update(succeeded_at=timezone.now() - 2 * HOUR, **failed)
    assert says(checked("work"), Level.WARNING, "Copies of Stripe’s records, 2 hr", "mirror: 1 failed: pi_1.")
    BackgroundJob.objects.update(succeeded_at=timezone.now())
    assert checked("work").level == Level.OK


def test_a_mirror_that_does_not_run(story: Story) -> None:
    deliver(story.completed())
    assert events.mirror_lag().level == Level.OK
    EventReceipt.objects.update(received_at=timezone.now() - HOUR)
    assert says(events.mirror_lag(), Level.WARNING, "not copied: 1", "mirror")


@pytest.mark.postgres
def test_a_healthy_database_is_healthy(database: str, story: Story) -> None:
    assert connection.vendor.startswith(database)
    deliver(story.completed())
    for name in ("database-settings", "migrations", "database-integrity", "standings", "history", "feeds"):
        assert doctor.CHECKS[name]().level == Level.OK, doctor.CHECKS[name]()


@pytest.mark.postgres(only=True)
def test_postgresql_without_time_outs_is_told(database: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 0")
    assert says(doctor.CHECKS["database-settings"](), Level.WARNING, "without lock_timeout", "options")


def test_a_row_that_refers_to_nothing_is_damage(story: Story) -> None:
    deliver(story.completed())
    with connection.cursor() as cursor:
        cursor.execute("UPDATE clinic_payments_feedentry SET change_id = 99999 WHERE seq = 2")
        assert says(database.integrity(), Level.ERROR, "clinic_payments_feedentry row", "catch_up")
        cursor.execute(
            "UPDATE clinic_payments_feedentry SET change_id = (SELECT MAX(id) FROM clinic_payments_statuschange)"
            " WHERE seq = 2"
        )


def test_a_payment_that_somebody_changed_past_the_ledger(story: Story, book: Callable[..., Payment]) -> None:
    deliver(story.completed())
    book()
    assert database.standings().level == Level.OK
    Payment.objects.filter(pk=story.payment.pk).update(status=PaymentStatus.UNPAID)
    assert says(
        database.standings(),
        Level.ERROR,
        f"does not match their facts: 1 ({story.payment.public_id})",
        "reconcile --fix",
    )


def test_a_timeline_with_a_line_torn_out(story: Story) -> None:
    deliver(story.completed())
    FeedEntry.objects.all().delete()
    StatusChange.objects.all()[:1].get().delete()
    assert says(database.history(), Level.ERROR, "gaps: 1", "what else writes")


@pytest.mark.parametrize("torn", [1, 2, 4])
def test_a_feed_with_a_hole_anywhere(torn: int, story: Story) -> None:
    for event in (story.failed(), story.completed(), story.refund(1000)):
        deliver(event)
    assert database.feeds().level == Level.OK
    assert Feed.objects.of("staff").head == 4
    FeedEntry.objects.filter(feed__audience="staff", seq=torn).delete()
    assert says(database.feeds(), Level.ERROR, "have gaps in their numbering: staff", "prune")


def test_a_pruned_feed_has_no_holes(story: Story) -> None:
    for event in (story.failed(), story.completed()):
        deliver(event)
    FeedEntry.objects.filter(seq=1).update(created_at=timezone.now() - 20 * 24 * HOUR)
    call_command("prune")
    assert database.feeds().level == Level.OK
    FeedEntry.objects.update(created_at=timezone.now() - 20 * 24 * HOUR)
    call_command("prune")
    assert database.feeds().level == Level.OK


def test_stripe_knows_the_account(stripe: StripeAtHome, settings: Settings) -> None:
    assert says(checked("stripe-account"), Level.ERROR, "but STRIPE_ACCOUNT_ID is acct_1Tests", "that account")
    settings.STRIPE_ACCOUNT_ID = "acct_1SandboxTestAccount"
    assert says(checked("stripe-account"), Level.OK, "acct_1SandboxTestAccount")


def test_stripe_out_of_reach_is_told_as_such(stripe: StripeAtHome) -> None:
    stripe.do("api", mode="error500")
    for name in ("stripe-account", "stripe-endpoint", "clock", "events-missed"):
        assert says(checked(name), Level.ERROR, "does not answer", "status.stripe.com")
    both = list(doctor.examine({name: doctor.CHECKS[name] for name in ("stripe-account", "clock")}))
    assert [finding.level for finding in both] == [Level.ERROR, Level.ERROR]
    assert (both[1].what, both[1].fix) == ("As stripe-account.", ""), "one fault is explained once"


def test_stripe_is_not_asked_without_a_key(stripe: StripeAtHome, settings: Settings) -> None:
    stripe.do("api", mode="error500")
    settings.STRIPE_SECRET_KEY = ""
    for name in ("stripe-account", "stripe-endpoint", "clock", "events-missed"):
        assert says(checked(name), Level.OK, "no STRIPE_SECRET_KEY yet")


def test_each_way_in_which_an_endpoint_fails_is_told_apart(stripe: StripeAtHome, settings: Settings) -> None:
    import stripe as sdk

    client = sdk.StripeClient(settings.STRIPE_SECRET_KEY, base_addresses={"api": stripe.url})
    assert says(checked("stripe-endpoint"), Level.ERROR, "sends no events to http://testserver", "catch_up")
    made = client.v1.webhook_endpoints.create(
        {"url": "http://testserver/stripe/webhook/", "enabled_events": ["charge.succeeded"]}
    )
    assert says(
        checked("stripe-endpoint"), Level.ERROR, "does not send these event types: charge.dispute.closed", "adds these"
    )
    without_cards: Any = [name for name in EVENT_READERS if not name.startswith("setup_intent.")]
    client.v1.webhook_endpoints.update(made.id, {"enabled_events": without_cards})
    assert says(checked("stripe-endpoint"), Level.ERROR, "setup_intent.setup_failed, setup_intent.succeeded", "adds")
    client.v1.webhook_endpoints.update(made.id, {"enabled_events": ["*"]})
    assert checked("stripe-endpoint").level == Level.OK
    client.v1.webhook_endpoints.update(made.id, {"disabled": True})
    assert says(checked("stripe-endpoint"), Level.ERROR, "disabled in Stripe", "enables it")


@pytest.mark.parametrize("whose", ["endpoint", "account"])
def test_an_endpoint_with_an_old_api_version_is_told(stripe: StripeAtHome, payment: Payment, whose: str) -> None:
    """payments_doctor reports an old API version of the webhook endpoint, or of the account if the endpoint has none.

    The version of the account is read from the account's events.
    """
    old, new = "2024-09-30.acacia", "2025-02-24.acacia"
    url = "http://testserver/stripe/webhook/"

    def set_version(version: str) -> None:
        if whose == "account":
            stripe.do("account", api_version=version)
        stripe.do("webhook_endpoints", url=url, api_version=version if whose == "endpoint" else "")
        stripe.do("expire", session=open_checkout(payment))

    set_version(old)
    assert says(checked("stripe-endpoint"), Level.ERROR, f"API version {old}", "second endpoint")
    set_version(new)
    assert checked("stripe-endpoint").level == Level.OK
    stripe.do("account", api_version="2026-08-26.dahlia")
    stripe.do("reset", endpoints=True)


@pytest.mark.parametrize(("ahead", "level"), [(0, Level.OK), (60, Level.WARNING), (-290, Level.ERROR)])
def test_a_wrong_clock_is_measured(ahead: int, level: Level, stripe: StripeAtHome) -> None:
    with time_machine.travel(timezone.now() + datetime.timedelta(seconds=ahead)):
        verdict = checked("clock")
    assert verdict.level == level
    measured = int(re.findall(r"-?\d+", verdict.what)[0])
    assert abs(measured - ahead) <= 15  # a slow answer makes the measurement less exact


def test_events_that_never_came_are_found_without_applying_them(payment: Payment, stripe: StripeAtHome) -> None:
    stripe.do("clock", offset=-3600)
    stripe.do("pay", session=open_checkout(payment))
    stripe.do("clock", offset=0)
    before = StatusChange.objects.count()
    sent = len(stripe.events())
    verdict = checked("events-missed")
    assert says(verdict, Level.ERROR, "never arrived", "catch_up")
    assert int(re.findall(r"\d+", verdict.what)[1]) <= sent
    assert (StatusChange.objects.count(), EventReceipt.objects.count()) == (before, 0)
    stripe.tell()
    assert says(checked("events-missed"), Level.OK, "events in the last two days arrived")


@pytest.mark.redis
def test_the_channel_layer_is_spoken_through(redis_server: Service, settings: Settings) -> None:
    assert says(delivery.channel_layer(), Level.OK, "right for a single process")
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": {"hosts": [redis_server.url]}}}
    assert says(delivery.channel_layer(), Level.OK, "ms")
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": {"hosts": ["redis://127.0.0.1:1"]}}}
    assert says(delivery.channel_layer(), Level.WARNING, "does not answer", "REDIS_URL")


def test_a_site_that_is_not_there(settings: Settings) -> None:
    settings.CLINIC_SITE_URL = "http://127.0.0.1:1"
    assert says(delivery.webhook(), Level.ERROR, "does not answer", "SITE_URL")
    assert says(delivery.socket(), Level.ERROR, "does not answer", "SITE_URL")
    assert says(delivery.forms(), Level.ERROR, "does not answer", "SITE_URL")
    settings.CLINIC_SITE_URL = "https://nobody.invalid"
    assert says(delivery.webhook(), Level.ERROR, "nobody.invalid does not answer", "DNS record")


def test_a_site_without_a_certificate(stripe: StripeAtHome, settings: Settings) -> None:
    settings.CLINIC_SITE_URL = stripe.url.replace("http:", "https:")  # a server that doesn't speak TLS
    for check in (delivery.webhook, delivery.socket):
        assert says(check(), Level.ERROR, "has no valid certificate (WRONG_VERSION_NUMBER)", "ports 80 and 443")


def test_a_mail_server_that_is_not_there_is_told(settings: Settings) -> None:
    assert says(emails.mail_server(), Level.OK, "lets the site in")
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert says(emails.mail_server(), Level.ERROR, "ConnectionRefusedError", "EMAIL_URL")


def test_a_site_that_can_not_write_to_its_operator_is_told(settings: Settings) -> None:
    settings.EMAIL_BACKEND, settings.CLINIC_OPERATOR_EMAIL = "django.core.mail.backends.dummy.EmailBackend", ""
    assert says(emails.unsent(), Level.OK, "E-mail is off")
    settings.CLINIC_OPERATOR_EMAIL = "operator@clinic.example"
    assert says(emails.unsent(), Level.WARNING, "no report of the doctor", "EMAIL_URL")


@pytest.mark.usefixtures("transactional_db")
def test_a_form_arrives_unless_a_proxy_changes_the_host(live_server: LiveServer, settings: Settings) -> None:
    settings.CLINIC_SITE_URL = live_server.url
    settings.CSRF_TRUSTED_ORIGINS = []
    assert says(delivery.forms(), Level.OK, "arrive")
    host, port = live_server.url.removeprefix("http://").split(":")
    settings.CLINIC_SITE_URL = f"http://{'127.0.0.1' if host == 'localhost' else 'localhost'}:{port}"
    settings.ALLOWED_HOSTS = [host]
    assert says(delivery.forms(), Level.ERROR, "400", "Host")


def test_a_site_on_postgresql_and_redis_is_well(make_site: Callable[..., LiveSite]) -> None:
    site = make_site(postgres=True, redis=True)
    rows = json.loads(site.manage("payments_doctor", "--json"))  # raises unless the exit status is 0
    assert [row["name"] for row in rows if row["level"] == "ok"] == list(doctor.CHECKS)
    assert site.manage("payments_doctor", "channel-layer").startswith(
        "ok       channel-layer: The channel layer answers in"
    )


def test_a_whole_site_is_well_and_each_harm_is_named(make_site: Callable[..., LiveSite]) -> None:
    """payments_doctor finds no fault on an intact site, and reports a wrong webhook secret and a killed server."""
    site = make_site()

    def run(**settings: str) -> tuple[int, dict[str, dict[str, str]]]:
        site.settings |= settings
        try:
            text, status = site.manage("payments_doctor", "--json"), 0
        except subprocess.CalledProcessError as failure:
            text, status = failure.stdout, failure.returncode
        return status, {row["name"]: row for row in json.loads(text)}

    status, rows = run()
    assert {name: row for name, row in rows.items() if row["level"] != "ok"} == {}
    assert (status, list(rows)) == (0, list(doctor.CHECKS))
    with sqlite3.connect(site.database_file) as file:
        assert file.execute("SELECT COUNT(*) FROM clinic_payments_eventreceipt").fetchone() == (0,)

    _status, rows = run(STRIPE_WEBHOOK_SECRET="")
    assert (rows["webhook"]["level"], rows["configuration"]["level"]) == ("ok", "warning"), "one gap is told once"

    status, rows = run(STRIPE_WEBHOOK_SECRET="whsec_" + "1" * 32, WEB_PROCESSES="2")
    assert status == 2
    assert rows["webhook"]["level"] == "error"
    assert "same STRIPE_WEBHOOK_SECRET" in rows["webhook"]["fix"]
    assert rows["configuration"]["level"] == "warning"
    site.server.kill()
    _status, rows = run()
    assert {name for name in NEEDS_SERVER if rows[name]["level"] == "error"} == NEEDS_SERVER


def test_the_command_prints_the_fix_beneath_each_problem(capsys: Capture) -> None:
    receipts("quarantined")
    with pytest.raises(SystemExit) as ended:
        call_command("payments_doctor", "events-quarantined", "feeds")
    assert ended.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"warning +events-quarantined: Events not understood", lines[0])
    assert "-> Run `manage.py reconcile` to compare with Stripe" in lines[1]
    assert re.match(r"ok +feeds: ", lines[2])


def test_the_command_ends_with_2_for_errors_and_for_a_wrong_name() -> None:
    receipts("dead")
    with pytest.raises(SystemExit) as ended:
        call_command("payments_doctor", "events-failed")
    assert ended.value.code == 2
    with pytest.raises(CommandError, match="No check x; there are configuration") as refused:
        call_command("payments_doctor", "x")
    assert refused.value.returncode == 2


def test_the_command_ends_with_0_when_all_is_well(capsys: Capture) -> None:
    call_command("payments_doctor", "feeds", "history", "--json")
    assert [(row["name"], row["level"], row["fix"]) for row in json.loads(capsys.readouterr().out)] == [
        ("feeds", "ok", ""),
        ("history", "ok", ""),
    ]


def test_a_check_that_fails_itself_is_a_finding_and_the_others_go_on() -> None:
    found = list(doctor.examine({"broken": lambda: Verdict(1 / 0, ""), "fine": lambda: ok("yes")}))  # type: ignore[arg-type]
    assert [(finding.name, finding.level) for finding in found] == [("broken", Level.ERROR), ("fine", Level.OK)]
    assert "ZeroDivisionError" in found[0].what


def test_the_doctor_changes_nothing(story: Story, stripe: StripeAtHome) -> None:
    deliver(story.completed())
    before = [list(model.objects.values()) for model in (Payment, Fact, StatusChange, FeedEntry, EventReceipt, Feed)]
    list(doctor.examine(doctor.CHECKS))
    assert before == [
        list(model.objects.values()) for model in (Payment, Fact, StatusChange, FeedEntry, EventReceipt, Feed)
    ]


def test_managers_see_what_is_wrong_first_and_what_to_do(clerk: User, client: Client, settings: Settings) -> None:
    settings.SECRET_KEY = "aB3-x" * 12
    receipts("dead")
    clerk.user_permissions.add(Permission.objects.get(codename="view_operations"))
    client.force_login(clerk)
    page = client.get("/desk/why/", headers={"Accept-Language": "fr"})
    assert page.status_code == 200
    assert page.context["findings"][0].name == "events-failed"
    assert "manage.py replay_events --id evt_... --force" in text_of(page)
    assert page.content.decode().index('id="events-failed"') < page.content.decode().index('id="feeds"')


def test_the_front_desk_reads_what_concerns_it_and_no_commands(clerk: User, client: Client) -> None:
    receipts("dead")
    client.force_login(clerk)
    page = client.get("/desk/why/", headers={"Accept-Language": "fr"})
    assert page.context["findings"][0].name == "events-failed"
    assert "Prévenez le responsable." in text_of(page)
    for technical in ("manage.py", "dj-stripe", "WAL", "SQLite"):
        assert technical not in text_of(page)


@pytest.mark.usefixtures("steady_session")
def test_the_page_asks_little_of_the_database(
    clerk: User, client: Client, django_assert_max_num_queries: Callable[..., object]
) -> None:
    client.force_login(clerk)
    with django_assert_max_num_queries(30):  # type: ignore[attr-defined]
        client.get("/desk/why/")


@pytest.mark.parametrize("path", ["/desk/why/", "/desk/{reference}/why/"])
def test_patients_and_visitors_are_not_told(path: str, client: Client, patient: User, payment: Payment) -> None:
    path = path.format(reference=payment.appointment.reference)
    assert client.get(path).status_code == 302
    client.force_login(patient)
    assert client.get(path).status_code == 403


@pytest.fixture
def as_clerk(clerk: User) -> Client:
    client = Client(headers={"Accept-Language": "en"})
    client.force_login(clerk)
    return client


def why(client: Client, payment: Payment) -> str:
    page = client.get(f"/desk/{payment.appointment.reference}/why/")
    assert page.status_code == 200
    return text_of(page)


def test_one_payments_way_from_stripe_is_told_with_times(as_clerk: Client, story: Story) -> None:
    event = story.completed()
    deliver(event)
    page = why(as_clerk, story.payment)
    for word in (event["id"], "Created at Stripe", "Received", "Applied", "Sent to pages", "Seen"):
        assert word in page
    assert "The patient had no page open" in page
    assert "is not in order" not in page


def test_a_payment_that_was_only_booked_has_nothing_to_explain(as_clerk: Client, payment: Payment) -> None:
    page = why(as_clerk, payment)
    assert "Appointment booked · €50.00" in page
    assert "is not in order" not in page


def test_the_desks_own_changes_say_that_stripe_has_no_part_in_them(
    as_clerk: Client, payment: Payment, clerk: User
) -> None:
    from payments.desk import till

    till.take_payment(payment, payment.amount_due, Method.CASH, clerk, key=uuid4().hex)
    assert "Recorded at the front desk, without Stripe" in why(as_clerk, payment)


def test_an_event_that_did_not_arrive_is_named(as_clerk: Client, story: Story) -> None:
    refund = story.refund(1000)
    deliver(refund)
    deliver(story.completed())
    EventReceipt.objects.filter(stripe_event_id=refund["id"]).update(outcome="failed", payment=None)
    Fact.objects.filter(kind="refund").update(payment=story.payment)
    page = why(as_clerk, story.payment)
    assert f"The event {refund['id']} ({refund['type']}) was not applied: Failed" in page
    assert f"replay_events --id {refund['id']}" in page
    assert "--force" not in page
    EventReceipt.objects.filter(stripe_event_id=refund["id"]).update(outcome="quarantined")
    assert f"replay_events --id {refund['id']} --force" in why(as_clerk, story.payment)


def test_a_payment_that_stands_still_says_since_when(as_clerk: Client, payment: Payment, stripe: StripeAtHome) -> None:
    open_checkout(payment)
    StatusChange.objects.update(created_at=timezone.now() - HOUR)
    assert "Stripe has reported nothing new for 1 hr" in why(as_clerk, payment)
    assert "Stripe answered a request from this site" in why(as_clerk, payment)


def test_a_row_changed_past_the_ledger_is_seen_on_its_page(as_clerk: Client, story: Story) -> None:
    deliver(story.completed())
    Payment.objects.update(amount_received=1)
    assert "The status on this page does not match what is known about the payment" in why(as_clerk, story.payment)


@pytest.mark.django_db(transaction=True)
async def test_pages_that_are_open_are_counted(clerk: User, story: Story) -> None:
    from asgiref.sync import sync_to_async

    client = Client(headers={"Accept-Language": "en"})
    await sync_to_async(client.force_login)(clerk)
    async with Page(story.payment.appointment.patient) as page:
        await page.told_until_hello()
        assert "Pages of the patient connected now: 1" in await sync_to_async(why)(client, story.payment)


def two_closings(clerk: User, payment: Payment) -> None:
    for ago in (1, 0):
        with time_machine.travel(timezone.now() - datetime.timedelta(days=ago)):
            if ago == 0:
                deliver(Story(payment).charged(amount=1000))
            till.take_payment(payment, 1000, Method.CASH, clerk, key=uuid4().hex)
            payment.refresh_from_db()
            sheet = open_sheet()
            assert sheet.day
            seal(sheet.day, {}, [], "", clerk, seen=sheet.fingerprint)


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE {closing} SET content = '{{}}' WHERE number = 2", "no. 2 was changed"),
        ("UPDATE {closing} SET day = '2001-01-01' WHERE number = 1", "no. 1 was changed"),
        ("UPDATE {closing} SET formula = 9 WHERE number = 1", "no. 1 has an unknown formula"),
        ("UPDATE {closing} SET previous_hash = '' WHERE number = 2", "no. 2 doesn’t follow"),
        ("UPDATE {fact} SET closing_id = 2; DELETE FROM {closing} WHERE number = 1", "no. 1 is missing"),
        (
            "UPDATE {fact} SET closing_id = 1; DELETE FROM {online}; DELETE FROM {closing} WHERE number = 2",
            "should be no. 2",
        ),
        ("DELETE FROM {head}", "the number and hash of the last closing are missing"),
        ("UPDATE {fact} SET amount = 1 WHERE closing_id = 2", "the entries of no. 2 were changed"),
        ("UPDATE {fact} SET closing_id = NULL WHERE closing_id = 1", "the entries of no. 1 were changed"),
        ("UPDATE {online} SET amount = 1", "the entries of no. 2 were changed"),
        ("DELETE FROM {online}", "the entries of no. 2 were changed"),
    ],
)
def test_a_broken_chain_of_closings_is_told(payment: Payment, clerk: User, damage: str, said: str) -> None:
    two_closings(clerk, payment)
    assert says(checked("closings"), Level.OK, "as they were sealed")
    drop_triggers()
    assert says(checked("closings"), Level.WARNING, "clinic_sealed_closing_changed", "migrate")
    with connection.cursor() as cursor:
        for statement in damage.format(**TABLES).split(";"):
            cursor.execute(statement)
    assert says(checked("closings"), Level.ERROR, said, "printouts")


TABLES = {
    "closing": Closing._meta.db_table,
    "head": ClosingHead._meta.db_table,
    "fact": Fact._meta.db_table,
    "online": OnlineEntry._meta.db_table,
}


def drop_triggers() -> None:
    of = {"closing": "_closing_", "head": "_head_", "fact": "_entry_", "online": "_online_"}
    with connection.cursor() as cursor:
        for name in closing_triggers.TRIGGERS:
            table = next(TABLES[table] for table, part in of.items() if part in name)
            on = f" ON {table}" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER {name}{on}")


def test_triggers_that_are_missing_are_made_by_migrate() -> None:
    drop_triggers()
    assert closing_triggers.missing_triggers(connection) == set(closing_triggers.TRIGGERS)
    closing_triggers.prepare_triggers("default")
    assert closing_triggers.missing_triggers(connection) == set()


def test_a_lost_head_is_not_made_again(payment: Payment, clerk: User) -> None:
    two_closings(clerk, payment)
    ClosingHead.objects.all().delete()
    make_head()
    assert says(checked("closings"), Level.ERROR, "the last closing are missing", "backup")


def test_a_journal_that_lacks_movements_is_told(payment: Payment, clerk: User, stripe: StripeAtHome) -> None:
    till.take_payment(payment, 1000, Method.CASH, clerk, key=uuid4().hex)
    assert says(checked("journal"), Level.OK, "Every movement")
    JournalLine.objects.all().delete()
    assert says(checked("journal"), Level.ERROR, f"should be: 1 ({payment.public_id})", "reconcile --fix")
    call_command("reconcile", str(payment.public_id), "--fix")
    assert says(checked("journal"), Level.OK, "Every movement")


def test_a_backup_that_is_missing_or_old_is_told(settings: Settings, tmp_path: Path) -> None:
    settings.CLINIC_BACKUP_FOLDER = ""
    assert says(checked("backup"), Level.OK, "made elsewhere")
    settings.CLINIC_BACKUP_FOLDER = str(tmp_path)
    assert says(checked("backup"), Level.ERROR, "no backup in", "payments_backup")
    for hours, level in ((27, Level.ERROR), (25, Level.OK)):
        copy = tmp_path / f"payments-2026-05-01-{99 - hours}0000.dump"
        copy.touch()
        made = (timezone.now() - hours * HOUR).timestamp()
        os.utime(copy, (made, made))
        assert checked("backup").level == level, hours


def test_what_is_not_well_is_mailed(settings: Settings, tmp_path: Path, mailoutbox: list[EmailMessage]) -> None:
    settings.CLINIC_OPERATOR_EMAIL = "operator@clinic.example"
    settings.CLINIC_BACKUP_FOLDER = str(tmp_path)
    with pytest.raises(SystemExit) as ended:
        call_command("payments_doctor", "backup", "disk", "--mail")
    assert ended.value.code == Level.ERROR
    (letter,) = mailoutbox
    assert letter.to == ["operator@clinic.example"]
    assert letter.subject.endswith("the doctor found backup")
    assert "ERROR backup: There is no backup" in letter.body
    assert "disk" not in letter.body

    settings.CLINIC_BACKUP_FOLDER = ""
    call_command("payments_doctor", "backup", "--mail")
    assert len(mailoutbox) == 1, "nothing is mailed when all is well"


def test_findings_that_cannot_be_mailed_have_an_exit_status_of_their_own(settings: Settings, tmp_path: Path) -> None:
    settings.CLINIC_BACKUP_FOLDER = str(tmp_path)
    settings.CLINIC_OPERATOR_EMAIL = ""
    with pytest.raises(CommandError, match="OPERATOR_EMAIL"):
        call_command("payments_doctor", "backup", "--mail")
    settings.CLINIC_OPERATOR_EMAIL = "operator@clinic.example"
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1  # nothing listens there
    with pytest.raises(CommandError) as failed:
        call_command("payments_doctor", "backup", "--mail")
    assert failed.value.returncode == 3


def test_every_command_that_a_fix_names_exists() -> None:
    texts = [path.read_text() for path in (ROOT / "payments" / "doctor").glob("*.py")]
    texts += [
        (ROOT / "docs" / "troubleshooting.md").read_text(),
        (ROOT / "deploy" / "prometheus-alerts.yml").read_text(),
    ]
    named = {name for text in texts for name in re.findall(r"manage\.py ([a-z_]+)", text)}
    ours = {path.stem for path in ROOT.glob("*/management/commands/[a-z]*.py")}
    assert named <= ours | {"migrate", "check"}
