"""Fills a site's PostgreSQL with people, payments and feed entries (changes of payments, which pages follow).

Most rows are made by INSERT ... SELECT. Run `python -m benchmarks.fill --payments 1000000 --changes 5` with the site's
settings in the environment. Payment N has the id benchmarks.events.payment_id(N). Person N has a login session with the
key session_key(N).
"""

import argparse
import datetime
import json
import time
from typing import Any

import django
from django.db import connection, models
from tqdm import tqdm

from benchmarks.events import AMOUNT, CURRENCY, SITE, session_key

CHUNK = 20_000
PER_DAY = 400  # appointments
DAYS_BACK = 20  # how many days ago the first appointments were
AMOUNTS = {"due": AMOUNT, "received": AMOUNT} | dict.fromkeys(
    ("refunded", "refund_pending", "lost", "waived", "on_its_way"), 0
)
STANDING = {
    "status": "paid", "amounts": AMOUNTS, "payable": False, "attempt": "", "failure_code": "", "method": "card",
    "dispute_due_by": None, "reviews": [],
}  # fmt: skip


def constant(field: Any) -> tuple[str, list[Any]]:
    """Return an SQL expression, and its parameters, for the default value of the model field."""
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return "now()", []
    if field.null and not field.has_default():
        return "NULL", []
    value = field.get_default()
    return "%s", [json.dumps(value) if isinstance(field, models.JSONField) else value]


def insert(model: type[models.Model], source: str, first: int, last: int, /, **columns: str) -> None:
    """Insert a row of `model` for each row of `source`, an SQL FROM clause such as "generate_series(FIRST, LAST) AS i".

    FIRST and LAST in it are replaced by `first` and `last`. `columns` maps column names to SQL expressions; each other
    column gets its field's default.
    """
    names, values, constants = [], [], []
    for field in model._meta.concrete_fields:
        if field.column not in columns and field.primary_key:
            continue
        sql, parameters = (columns[field.column], []) if field.column in columns else constant(field)
        names.append(connection.ops.quote_name(str(field.column)))
        values.append(sql)
        constants += parameters
    numbers = source.replace("FIRST", str(int(first))).replace("LAST", str(int(last)))
    statement = f"INSERT INTO {model._meta.db_table} ({', '.join(names)}) SELECT {', '.join(values)} FROM {numbers}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, constants)


def make_people(staff: int, patients: int) -> None:
    """Create `staff` members of staff and `patients` patients.

    All staff and the first 4,000 patients get a session.
    """
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.utils import timezone

    user_model = get_user_model()  # the usual peer has Django's own
    people = [
        user_model(
            pk=number, username=f"person{number}", password="!", is_staff=number <= staff,  # noqa: S106 none fits
            first_name=f"Person {number}", last_name="Bench",
        )
        for number in range(1, staff + patients + 1)
    ]  # fmt: skip
    user_model.objects.bulk_create(people, batch_size=5000)
    store, tomorrow, sessions = SessionStore(), timezone.now() + datetime.timedelta(days=1), []
    now = int(time.time())
    for user in people[: staff + 4000]:
        content: dict[str, Any] = {
            SESSION_KEY: str(user.pk),
            BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
        }
        content[HASH_SESSION_KEY] = user.get_session_auth_hash()
        content |= {"second_factor": user.pk, "signed_in_at": now, "active_at": now}  # required by accounts/
        key = session_key(user.pk)
        sessions.append(Session(session_key=key, session_data=store.encode(content), expire_date=tomorrow))
    Session.objects.bulk_create(sessions, batch_size=5000)


def make_payments(first: int, last: int, staff: int, patients: int) -> None:
    from appointments.models import Appointment
    from payments.models import Payment

    numbers = "generate_series(FIRST, LAST) AS i"
    start = f"date_trunc('day', now()) + (i / {PER_DAY} - {DAYS_BACK}) * interval '1 day' + interval '7 hours' "
    start += f"+ (i %% {PER_DAY}) * interval '1 minute'"
    insert(
        Appointment, numbers, first, last, id="i", reference="lpad(upper(to_hex(i)), 8, '0')",
        patient_id=f"{staff} + 1 + i %% {patients}", practitioner_id="1 + i %% 10", service="'Consultation'",
        start=start, end=f"{start} + interval '20 minutes'", price_amount=str(AMOUNT), currency=f"'{CURRENCY}'",
        key="md5('key-' || i)::uuid",
    )  # fmt: skip
    booking = (
        f"jsonb_build_object('start', {start}, 'end', {start} + interval '20 minutes', 'practitioner', 1 + i %% 10,"
        f" 'attendance', 'booked', 'arrived', NULL, 'price', jsonb_build_array({AMOUNT}, '{CURRENCY}'), 'deposit', 0,"
        " 'fee', 0, 'prepayment', 'nothing', 'no_show_fee', 0)"
    )
    insert(
        Payment, numbers, first, last, id="i", public_id="md5('payment-' || i)::uuid", appointment_id="i",
        amount_due=str(AMOUNT), amount_owed=str(AMOUNT), currency=f"'{CURRENCY}'", booking=booking,
    )  # fmt: skip


def make_history(first: int, last: int, changes: int, patients: int) -> None:
    """Mark the payments with the numbers `first` to `last` as paid, and give them a history.

    Each gets one fact (the state of a Checkout Session) and `changes` status changes. Each change gets an entry in two
    feeds: the staff's list of changes and a patient's. `patients` is the number of patients.
    """
    from payments.models import Fact, FeedEntry, Payment, StatusChange

    numbers = "generate_series(FIRST, LAST) AS i"
    Payment.objects.filter(pk__range=(first, last)).update(
        status="paid", amount_received=AMOUNT, amount_owed=0, payable=False, method="card", version=changes
    )
    insert(
        Fact, numbers, first, last, payment_id="i", claimed_payment="md5('payment-' || i)::uuid", kind="'session'",
        stripe_id="'cs_test_old' || i", status="'complete'", as_of="1700000000", created="1700000000",
        amount=str(AMOUNT), currency=f"'{CURRENCY}'", livemode="false", payment_intent_id="'pi_old' || i",
        attempt="'A'",
    )  # fmt: skip
    each = f"{numbers}, generate_series(1, {changes}) AS v"
    change_id = f"(i - 1) * {changes} + v"
    insert(
        StatusChange, each, first, last, id=change_id, payment_id="i", version="v", from_status="'unpaid'",
        to_status="'paid'", standing=f"'{json.dumps(STANDING)}'::jsonb", source="'webhook'",
    )  # fmt: skip
    insert(FeedEntry, each, first, last, feed_id="1", seq=change_id, payment_id="i", change_id=change_id)
    insert(
        FeedEntry, each, first, last, feed_id=f"2 + i %% {patients}", seq=f"((i - 1) / {patients}) * {changes} + v",
        payment_id="i", change_id=change_id, pushed_at="now()",
    )  # fmt: skip


def make_feeds(history: int, changes: int, staff: int, patients: int) -> None:
    from payments.models import Feed

    epoch = "(SELECT epoch FROM clinic_payments_installation)"
    staff_head = str(history * changes)
    insert(Feed, "generate_series(1, 1) AS i", 1, 1, id="1", audience="'staff'", head=staff_head, epoch=epoch)
    of_each = f"{history} / {patients} + (CASE WHEN i BETWEEN 1 AND {history} %% {patients} THEN 1 ELSE 0 END)"
    insert(
        Feed, "generate_series(FIRST, LAST) AS i", 0, patients - 1, id="2 + i",
        audience=f"'patient.' || ({staff} + 1 + i)", head=f"({of_each}) * {changes}", epoch=epoch,
    )  # fmt: skip


def speed_up_writes() -> None:
    """Switch off time limits, foreign key checks and waiting for the disk. The database is only for the benchmark."""
    with connection.cursor() as cursor:
        for setting in ("statement_timeout = 0", "session_replication_role = replica", "synchronous_commit = off"):
            cursor.execute(f"SET {setting}")


def reset_sequences() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence(table_name, 'id'), 2000000000) FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_name = 'id' AND is_identity = 'YES'"
        )
        cursor.execute("ANALYZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("payments", 100_000), ("fresh", 0), ("changes", 0), ("patients", 2000), ("staff", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    django.setup()
    speed_up_writes()
    from appointments.models import Practitioner
    from payments.models import Installation

    Installation.objects.update(site_id=SITE)
    Practitioner.objects.bulk_create([Practitioner(pk=n, name=f"Dr {n}", specialty="Care") for n in range(1, 11)])
    make_people(given.staff, given.patients)
    history = max(0, given.payments - given.fresh) if given.changes else 0
    make_feeds(history, given.changes, given.staff, given.patients)
    with tqdm(total=given.payments, unit=" payments", leave=False) as bar:
        for first in range(1, given.payments + 1, CHUNK):
            last = min(first + CHUNK - 1, given.payments)
            make_payments(first, last, given.staff, given.patients)
            if first <= history:
                make_history(first, min(last, history), given.changes, given.patients)
            bar.update(last - first + 1)
    reset_sequences()


if __name__ == "__main__":
    main()
