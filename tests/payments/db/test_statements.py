"""Tests that the cached SQL of payments.db.statements writes and reads rows exactly as the ORM does."""

import datetime
import uuid
from dataclasses import asdict

import pytest
from django.db import IntegrityError, connection, models, transaction
from django.test.utils import CaptureQueriesContext

from appointments.models import Appointment
from payments.db import statements
from payments.domain.facts import Kind, StripeFact
from payments.models import EventReceipt, Fact, Payment, StatusChange

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


def columns(row: models.Model) -> dict[str, object]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def fact_about(payment: Payment, stripe_id: str = "cs_test_1") -> Fact:
    row = Fact(payment=payment)
    row.value = StripeFact(
        Kind.SESSION, stripe_id, "open", 1_800_000_000, amount=5000, currency="eur", payment_intent_id="pi_1",
        payment_id=str(payment.public_id), details={"url": 'a "quoted" path, 100 % é'},
    )  # fmt: skip
    return row


def test_an_inserted_row_is_what_the_orm_reads(payment: Payment) -> None:
    row = fact_about(payment)
    row.claimed_payment = payment.public_id
    statements.insert(row)
    assert not row._state.adding
    assert columns(Fact.objects.get(pk=row.pk)) == columns(row)


def test_several_rows_go_in_one_statement_and_get_their_own_keys(
    payment: Payment, django_assert_num_queries: type[CaptureQueriesContext]
) -> None:
    both = [fact_about(payment, "cs_test_1"), fact_about(payment, "cs_test_2")]
    with django_assert_num_queries(1):  # type: ignore[arg-type]
        statements.insert(*both)
    assert [Fact.objects.get(pk=row.pk).stripe_id for row in both] == ["cs_test_1", "cs_test_2"]


def test_an_update_writes_the_named_fields_alone_and_the_time(payment: Payment) -> None:
    before = Payment.objects.get(pk=payment.pk)
    payment.reviews, payment.dispute_due_by, payment.method = ["overpaid"], 1_800_000_000, "card"
    statements.update(payment, ["reviews", "dispute_due_by", "updated_at"])
    after = Payment.objects.get(pk=payment.pk)
    assert (after.reviews, after.dispute_due_by, after.method) == (["overpaid"], 1_800_000_000, "")
    assert after.updated_at == payment.updated_at > before.updated_at


def test_what_is_read_is_what_the_orm_reads(payment: Payment) -> None:
    found = Payment.objects.lock_named(payment.public_id)()
    assert found is not None
    assert columns(found) == columns(Payment.objects.get(pk=payment.pk))
    assert isinstance(found.public_id, uuid.UUID)
    assert columns(found.appointment) == columns(Appointment.objects.get(pk=payment.appointment_id))
    assert isinstance(found.appointment.start, datetime.datetime)
    assert Payment.objects.lock_named(uuid.uuid4())() is None


def test_a_change_keeps_its_json(payment: Payment) -> None:
    standing = asdict(payment.standing)
    change = StatusChange(payment=payment, version=7, from_status="unpaid", to_status="paid", standing=standing)
    statements.insert(change)
    assert columns(StatusChange.objects.get(pk=change.pk)) == columns(change) | {"standing": standing | {"reviews": []}}


def test_the_database_still_says_no(payment: Payment) -> None:
    statements.insert(fact_about(payment))
    with pytest.raises(IntegrityError), transaction.atomic():
        statements.insert(fact_about(payment))


def messages(queries: CaptureQueriesContext) -> int:
    return sum(not query["sql"].startswith(("SAVEPOINT", "RELEASE")) for query in queries.captured_queries)


def test_together_they_are_sent_with_what_is_read_next(payment: Payment) -> None:
    first, second = fact_about(payment, "cs_test_1"), fact_about(payment, "cs_test_2")
    with CaptureQueriesContext(connection) as queries, statements.together():
        statements.insert(first)
        statements.insert(second)
        payment.method = "card"
        statements.update(payment, ["method"])
        found = Fact.objects.belonging_to(payment.public_id, [])()
        assert [row.pk for row in found] == [first.pk, second.pk]
    assert messages(queries) == (1 if connection.vendor == "postgresql" else 4)
    assert Payment.objects.get(pk=payment.pk).method == "card"


def test_the_orm_sees_what_was_written_together_before(payment: Payment) -> None:
    with statements.together():
        statements.insert(fact_about(payment))
        assert Fact.objects.count() == 1
        statements.insert(fact_about(payment, "cs_test_2"))
    assert Fact.objects.count() == 2


def test_a_row_inserted_together_can_be_changed(payment: Payment) -> None:
    row = fact_about(payment)
    with statements.together():
        statements.insert(row)
        row.status = "complete"
        statements.update(row, ["status"])
    assert Fact.objects.get().status == "complete"


def test_nothing_is_sent_after_an_error(payment: Payment) -> None:
    def write(second: str, error: Exception | None = None) -> None:
        with transaction.atomic(), statements.together():
            statements.insert(fact_about(payment, "cs_test_2"))
            statements.insert(fact_about(payment, second))
            if error:
                raise error

    statements.insert(fact_about(payment))
    with pytest.raises(IntegrityError):
        write("cs_test_1")
    with pytest.raises(LookupError):
        write("cs_test_3", LookupError())
    assert Fact.objects.count() == 1


def test_facts_wait_for_their_objects_and_for_nobody_elses(payment: Payment) -> None:
    waiting = fact_about(payment, "re_1")
    waiting.payment, waiting.claimed_payment, waiting.payment_intent_id = None, None, ""
    statements.insert(waiting)
    assert Fact.objects.belonging_to(payment.public_id, [])() == []
    about_it = StripeFact(Kind.REFUND, "re_1", "pending", 1)
    assert Fact.objects.belonging_to(payment.public_id, [about_it])() == [waiting]
    assert EventReceipt.objects.count() == 0
