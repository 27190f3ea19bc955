"""Tests that PostgreSQL uses indexes for every statement that it keeps, on the tables of a new and of a busy site."""

import itertools
import os
import re
import sys
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection

from payments.gateway.webhooks import Incoming, handle, open_delivery
from payments.models import EventReceipt, Payment
from payments.models.installation import own_site_id
from payments_site.demo.site import ROOT
from tests import forked
from tests.databases import default_database
from tests.payments.stripe_story import Event, Story, delivery
from tests.services import Postgres

FRESH = 50  # payments without facts and receipts
RECEIPTS = f"""
INSERT INTO {EventReceipt._meta.db_table} (stripe_event_id, type, livemode, stripe_created, object_id, outcome, detail,
    deliveries, received_at, event_stored_at, payment_id)
SELECT 'evt_' || i, 'charge.succeeded', false, 1700000000, CASE i % 2 WHEN 0 THEN '' ELSE 'cs_test_old' || i END,
    CASE i % 100 WHEN 1 THEN 'deferred' ELSE 'applied' END, '', 1, now(), now(), i
FROM generate_series(1, %s) AS i
"""  # noqa: S608


@pytest.fixture(params=[FRESH, 60, 1000, pytest.param(1_000_000, marks=pytest.mark.nightly)])
def payments(
    db: None, request: pytest.FixtureRequest, postgres_server: Postgres, postgres_template: str
) -> Iterator[int]:
    """Make a database with many payments, use it as the default one, and yield the number of payments.

    No fact has a charge id, every second receipt has no object, and the last FRESH payments have no facts or receipts.
    So with FRESH payments these tables are empty, and PostgreSQL knows that they are.
    """
    name = postgres_server.create_database(postgres_template)
    url = postgres_server.database_url(name)
    numbers = ["--payments", str(request.param), "--fresh", str(FRESH), "--changes", "2"]
    environment = os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "payments_site.settings"}
    forked.output([sys.executable, "-m", "benchmarks.fill", *numbers], cwd=ROOT, env=environment)
    with default_database(url):
        own_site_id.cache_clear()
        with psycopg.connect(url, autocommit=True) as unbounded:  # the site's connection waits for seconds only
            unbounded.execute(RECEIPTS.replace("%s", str(request.param - FRESH)))
            unbounded.execute("ANALYZE")
        yield request.param
    own_site_id.cache_clear()
    postgres_server.drop_database(name)


def handled(*events: Event) -> None:
    batch = [open_delivery(delivery(event)) for event in events]
    handle([each for each in batch if isinstance(each, Incoming)])
    assert {each.outcome for each in batch if isinstance(each, Incoming)} <= {"applied", "no_change"}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_no_kept_statement_reads_a_whole_table(payments: int) -> None:
    story = Story(Payment.objects.order_by("pk").last(), site=own_site_id())
    completed = story.completed()
    handled(completed)
    handled(completed)  # now its receipt is known
    handled(story.charged(), story.refund(1000))
    plans = dict(kept_plans())
    assert len(plans) >= 12
    whole = [f"{sql}\n{plan}" for sql, plan in plans.items() if reads_a_whole_table(plan)]
    assert not whole, "\n\n".join(whole)


def reads_a_whole_table(plan: str) -> bool:
    """Return whether a step of the plan reads all rows of a table, in their order or through an index."""
    lines = [line.strip() for line in plan.splitlines()]
    steps = [
        (line, after) for line, after in itertools.pairwise([*lines, ""]) if re.search(r"(Seq|Index\w*) Scan ", line)
    ]
    steps = [(line, after) for line, after in steps if not line.startswith("->  Bitmap Heap")]
    return any("Index Cond:" not in after for _, after in steps)


def kept_plans() -> Iterator[tuple[str, str]]:
    """Yield each statement that the server keeps prepared for this connection, with the plan that it will use."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, statement, cardinality(parameter_types) FROM pg_prepared_statements")
        for name, sql, count in cursor.fetchall():
            arguments = f"({', '.join(['NULL'] * count)})" if count else ""
            cursor.execute(f'EXPLAIN EXECUTE "{name}"{arguments}')
            yield sql, "\n".join(line for (line,) in cursor.fetchall())
