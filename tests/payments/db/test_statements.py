"""Tests that payments.db.statements writes and reads rows exactly as the ORM does, in one message to PostgreSQL."""

import datetime
import uuid
from dataclasses import asdict

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.test.utils import CaptureQueriesContext

from payments.db.statements import Statement, insert, run, update
from payments.domain.facts import Kind, StripeFact
from payments.models import Fact, Payment, StatusChange

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]
PAYMENTS = f"SELECT {{columns}} FROM {Payment._meta.db_table} WHERE public_id = ANY(%(ids)s) FOR UPDATE"  # noqa: S608


def columns(row: models.Model) -> dict[str, object]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if not field.primary_key}


def fact_about(payment: Payment, stripe_id: str = "cs_test_1") -> Fact:
    row = Fact(payment=payment)
    row.value = StripeFact(
        Kind.SESSION, stripe_id, "open", 1_800_000_000, amount=5000, currency="eur", payment_intent_id="pi_1",
        payment_id=str(payment.public_id), details={"url": 'a "quoted" path, 100 % é', "deep": [None, {"x": 1.5}]},
    )  # fmt: skip
    return row


def test_inserted_rows_are_what_the_orm_reads(payment: Payment) -> None:
    rows = [fact_about(payment, "cs_test_1"), fact_about(payment, "cs_test_2")]
    rows[0].claimed_payment = payment.public_id
    run(insert(rows))
    for row in rows:
        stored = Fact.objects.get(stripe_id=row.stripe_id)
        assert columns(stored) == columns(row) | {"claimed_payment": payment.public_id}


def test_a_row_is_stored_as_the_orm_stores_it(payment: Payment) -> None:
    run(insert([fact_about(payment, "cs_test_1")]))
    fact_about(payment, "cs_test_2").save()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {Fact._meta.db_table} ORDER BY id")  # noqa: S608
        names = [each[0] for each in cursor.description]
        one, other = (dict(zip(names, row, strict=True)) for row in cursor.fetchall())
    assert {name for name in names if one[name] != other[name]} == {"id", "stripe_id", "recorded_at"}
    assert {name for name in names if type(one[name]) is not type(other[name])} == set()


def test_updates_write_the_named_fields_alone_and_the_time(payment: Payment) -> None:
    before = Payment.objects.get(pk=payment.pk)
    payment.reviews, payment.dispute_due_by, payment.method = ["overpaid"], 1_800_000_000, "card"
    run(update([payment], ("reviews", "dispute_due_by", "updated_at")))
    after = Payment.objects.get(pk=payment.pk)
    assert (after.reviews, after.dispute_due_by, after.method) == (["overpaid"], 1_800_000_000, "")
    assert after.updated_at == payment.updated_at > before.updated_at


def test_what_is_read_is_what_the_orm_reads(payment: Payment) -> None:
    ids = [payment.public_id, uuid.uuid4()]
    [[found], nothing] = run(Statement(PAYMENTS, {"ids": ids}, Payment), Statement(PAYMENTS, {"ids": []}, Payment))
    assert columns(found) == columns(Payment.objects.get(pk=payment.pk))
    assert isinstance(found.public_id, uuid.UUID)
    assert isinstance(found.created_at, datetime.datetime)
    assert nothing == []


def test_a_change_keeps_its_json(payment: Payment) -> None:
    standing = asdict(payment.standing)
    change = StatusChange(payment=payment, version=7, from_status="unpaid", to_status="paid", standing=standing)
    run(insert([change]))
    stored = StatusChange.objects.get(version=7)
    assert columns(stored) == columns(change) | {"standing": standing | {"reviews": []}}


def test_statements_go_in_one_message_and_those_without_rows_not_at_all(payment: Payment) -> None:
    with CaptureQueriesContext(connection) as queries:
        results = run(
            insert([fact_about(payment)]), insert([]), update([payment], ("method",)), update([], ("method",))
        )
    assert results == [[], [], [], []]
    assert len(queries) == (1 if connection.vendor == "postgresql" else 2)


def test_after_an_error_nothing_of_the_message_is_stored(payment: Payment) -> None:
    run(insert([fact_about(payment)]))
    with pytest.raises(IntegrityError), transaction.atomic():
        run(insert([fact_about(payment, "cs_test_2")]), insert([fact_about(payment)]), update([payment], ("method",)))
    assert Fact.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_commit_is_a_part_of_the_message_unless_the_transaction_is_larger(payment: Payment) -> None:
    with transaction.atomic():
        run(insert([fact_about(payment, "cs_test_1")]), commit=True)
    with transaction.atomic():
        with transaction.atomic():
            run(insert([fact_about(payment, "cs_test_2")]), commit=True)
        transaction.set_rollback(True)
    assert Fact.objects.get().stripe_id == "cs_test_1"


@pytest.mark.postgres(only=True)
@pytest.mark.django_db(transaction=True)
def test_postgres_plans_a_statement_once(payment: Payment) -> None:
    def prepared() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT statement FROM pg_prepared_statements")
            return [statement for (statement,) in cursor.fetchall()]

    found = []
    for number in range(1, 4):
        run(insert([fact_about(payment, f"cs_{number}")]), update([payment] * number, ("method",)))
        found.append(sorted(prepared()))
    assert found[0] == found[1] == found[2]
    assert len([sql for sql in found[0] if sql.startswith("INSERT INTO") and Fact._meta.db_table in sql]) == 1
