"""Prometheus gauges, computed whenever /metrics is scraped, from the database and from this process's open sockets."""

import time
from collections.abc import Iterator

from django.db import DatabaseError, connection
from django.db.models import Count, Max
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .gateway import sweep
from .gateway.background import writer
from .jobs import states
from .live import hub
from .models import EventReceipt, Payment


class Gauges(Collector):
    """Prometheus collector of all gauges. AppConfig.ready registers it."""

    def describe(self) -> Iterator[Metric]:
        """Return nothing. Without this method, registering the collector would call `collect` and so run queries."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield this process's own gauges, then the database's gauges unless the database can't be queried."""
        yield from sockets_here()
        yield from delays_here()
        try:
            known = [*waiting(), *payments(), *jobs()]
        except DatabaseError:
            known = []
        yield GaugeMetricFamily("payments_database_up", "1 while the database answers", value=bool(known))
        yield from known


def sockets_here() -> Iterator[Metric]:
    """Yield gauges of this process's WebSockets: how many are open, and how far their pages may be out of date."""
    hubs = hub.running()
    sockets = [socket for each in hubs for socket in each.sockets()]
    unsent = max((socket.unsent() for socket in sockets), default=0)
    tail = max((time.monotonic() - each.tailed_at for each in hubs), default=0)
    yield GaugeMetricFamily("payments_live_sockets", "Open sockets", value=len(sockets))
    yield GaugeMetricFamily("payments_live_unsent_bytes", "What the slowest reader is behind", value=unsent)
    yield GaugeMetricFamily("payments_live_tail_age_seconds", "Since the database last answered", value=tail)
    deaf = GaugeMetricFamily("payments_live_deaf", "1 while the channel layer brings no hints")
    deaf.add_metric([], any(each.deaf for each in hubs))
    yield deaf


def delays_here() -> Iterator[Metric]:
    """Yield gauges that show why pages may be late: the test of live delivery, the event loop, the connection pool."""
    hubs, now = hub.running(), time.monotonic()
    probe = max((now - each.probe.returned_at for each in hubs if each.probe), default=0)
    lag = max((each.lag for each in hubs), default=0)
    pool = getattr(connection, "pool", None)  # only PostgreSQL's connections have one
    queue = pool.get_stats()["requests_waiting"] if pool else 0
    yield GaugeMetricFamily("payments_probe_age_seconds", "Since the last probe came back", value=probe)
    behind = "How long events of this process wait for dj-stripe's tables"
    yield GaugeMetricFamily("payments_djstripe_events_behind_seconds", behind, value=writer.behind)
    yield GaugeMetricFamily("payments_live_loop_lag_seconds", "How late the event loop woke last", value=lag)
    yield GaugeMetricFamily("payments_database_pool_waiting", "Threads waiting for a connection", value=queue)


def waiting() -> Iterator[Metric]:
    """Yield gauges of Stripe's events: how many aren't handled, how many aren't copied, and when the last one came.

    An event is copied once dj-stripe's row of the event's Stripe object has been updated.
    """
    now, unapplied = timezone.now(), EventReceipt.objects.not_applied()
    receipts = GaugeMetricFamily("payments_receipts", "Events that are not applied", labels=["outcome"])
    oldest = GaugeMetricFamily("payments_receipts_oldest_seconds", "Age of the oldest of them", labels=["outcome"])
    for outcome in EventReceipt.UNAPPLIED:
        count, since = unapplied.get(outcome, (0, now))
        receipts.add_metric([outcome], count)
        oldest.add_metric([outcome], (now - since).total_seconds())
    yield receipts
    yield oldest
    unmirrored = EventReceipt.objects.unmirrored().count()
    unstored = EventReceipt.objects.unstored().count()
    yield GaugeMetricFamily("payments_receipts_unstored", "Events that dj-stripe hasn't stored", value=unstored)
    yield GaugeMetricFamily(
        "payments_receipts_unmirrored", "Events whose object dj-stripe hasn't copied", value=unmirrored
    )
    if last := EventReceipt.objects.aggregate(last=Max("received_at"))["last"]:
        said = "When the last event came"
        yield GaugeMetricFamily("payments_last_event_timestamp_seconds", said, value=last.timestamp())


def payments() -> Iterator[Metric]:
    """Yield gauges of payments: how many have each status, and how many refunds wait for Stripe's answer."""
    by_status = GaugeMetricFamily("payments_by_status", "Payments, by status", labels=["status"])
    for status, count in Payment.objects.order_by().values_list("status").annotate(Count("pk")):
        by_status.add_metric([status], count)
    yield by_status
    unanswered = len(sweep.unanswered_refunds())
    yield GaugeMetricFamily("payments_refunds_unanswered", "Refunds without Stripe's answer", value=unanswered)


def jobs() -> Iterator[Metric]:
    """Yield gauges of background jobs: when each last succeeded, and whether it has had no success for too long.

    Their label is `name`, because Prometheus gives the label `job` to every metric that it collects.
    """
    overdue = GaugeMetricFamily("payments_job_overdue", "1 if a job has not succeeded for too long", labels=["name"])
    said = "When the job's last successful round ended"
    last = GaugeMetricFamily("payments_job_last_success_timestamp_seconds", said, labels=["name"])
    for job, row, is_late in states():
        overdue.add_metric([job.name], is_late)
        if row.succeeded_at:
            last.add_metric([job.name], row.succeeded_at.timestamp())
    yield overdue
    yield last
