"""Checks of the database: settings, integrity, and whether payments, timelines and feeds (lists of changes) agree."""

from collections.abc import Iterator
from dataclasses import replace

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, F, Max, Min
from django.utils.translation import gettext as _
from tqdm import tqdm

from people import access, names

from ..domain.status import derive
from ..models import Feed, Payment
from .finding import MAX_NAMED, Verdict, error, ok, warning

BATCH_SIZE = 500  # payments fetched by one query
TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


def fetch_all(sql: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def settings_of_connection() -> Verdict:
    """Check the journal mode of SQLite or the time-outs of PostgreSQL.

    The values are read from the connection, because a connection pooler may drop what settings.py asks for.
    """
    if connection.vendor == "sqlite":
        (mode,) = fetch_all("PRAGMA journal_mode")[0]
        if mode == "wal":
            return ok(_("SQLite uses write-ahead logging (WAL), so readers and writers don’t wait for each other."))
        return warning(
            _("SQLite’s journal mode is %(mode)s, so each webhook waits until all running reads have ended.")
            % {"mode": mode},
            _("Put the database on a local disk, not a network one, and set init_command to PRAGMA journal_mode=WAL."),
        )
    missing = [name for name in TIMEOUTS if fetch_all(f"SHOW {name}")[0][0] == "0"]
    if missing:
        return warning(
            _("PostgreSQL runs without %(names)s, so one stuck transaction can block all others.")
            % {"names": ", ".join(missing)},
            _(
                "Set them in the connection’s options, as settings.py does. A connection pooler in between may"
                " drop these options."
            ),
        )
    return ok(_("PostgreSQL limits how long statements, locks and idle transactions last."))


def integrity() -> Verdict:
    if connection.vendor == "sqlite":
        broken = [str(found) for (found,) in fetch_all("PRAGMA integrity_check") if found != "ok"]
        broken += [f"{table} row {row}" for table, row, *_rest in fetch_all("PRAGMA foreign_key_check")]
    else:
        indexes = fetch_all("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid")
        constraints = fetch_all("SELECT conname FROM pg_constraint WHERE NOT convalidated")
        broken = [str(name) for (name,) in indexes + constraints]
    if broken:
        return error(
            _("The database is damaged: %(broken)s.") % {"broken": ", ".join(broken[:MAX_NAMED])},
            _("Stop the site, restore the last good backup, run `manage.py catch_up`, then start the site."),
        )
    return ok(_("The database is intact."))


def migrations() -> Verdict:
    executor = MigrationExecutor(connection)
    waiting = [str(migration) for migration, _back in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    if waiting:
        return error(
            _("Migrations are not applied: %(names)s.") % {"names": ", ".join(waiting[:MAX_NAMED])},
            _("Run `manage.py migrate`, then restart the web processes and `work`."),
        )
    return ok(_("Every migration is applied."))


def name_search() -> Verdict:
    """Check that a search by name can find everybody and, on PostgreSQL, that the database has the index for it."""
    if wrong := sum(1 for _person in names.wrongly_folded(get_user_model()._base_manager.all())):
        return error(
            _("People who can’t be found by their name: %(count)s.") % {"count": wrong},
            _("Run `manage.py migrate`, then find out what writes names to the table without the site’s code."),
        )
    if not names.has_index(connection):
        return warning(
            _("PostgreSQL has no index for parts of names, so searches read every person’s name."),
            _("Run `CREATE EXTENSION pg_trgm` as the database’s administrator, then `manage.py migrate`."),
        )
    return ok(_("Everybody can be found by their name."))


def access_triggers() -> Verdict:
    """Check that the database has the triggers by which open pages notice that somebody's access has ended."""
    if missing := sorted(access.missing_triggers(connection)):
        return warning(
            _("The database lacks triggers that note when access ends: %(names)s.") % {"names": ", ".join(missing)},
            _("Run `manage.py migrate`. Until then, pages of people who sign out may stay connected for a minute."),
        )
    return ok(_("The database notes when somebody’s access ends."))


def standings() -> Verdict:
    """Check that every payment's stored status and sums (its Standing) are those that follow from its facts.

    A fact is the state of one Stripe object, or a payment at the desk.
    """
    payments = Payment.objects.select_related("appointment").prefetch_related("facts").order_by("pk")
    shown = tqdm(payments.iterator(BATCH_SIZE), "standings", payments.count(), leave=False, disable=None)
    wrong = [
        payment.public_id
        for payment in shown
        if not matches_facts(payment) and not matches_facts(reload_locked(payment))
    ]
    if wrong:
        named = ", ".join(str(public_id) for public_id in wrong[:MAX_NAMED])
        return error(
            _("Payments whose status does not match their facts: %(count)s (%(named)s).")
            % {"count": len(wrong), "named": named},
            _("Run `manage.py reconcile --fix`, then find out what wrote to the table without the ledger."),
        )
    return ok(_("Every payment’s status matches its facts."))


def matches_facts(payment: Payment) -> bool:
    """Return whether the payment's stored status and sums are those that `derive` computes from its facts.

    Facts are states of Stripe objects and payments at the desk.
    """
    derived = derive([fact.value for fact in payment.facts.all()], payment.terms)
    return replace(derived, method=payment.method) == payment.standing


def reload_locked(payment: Payment) -> Payment:
    """Reload the payment and its facts (states of Stripe objects) while the payment's row is locked.

    Nobody can change payment or facts meanwhile, so if the status doesn't match the facts then, this is a real fault.
    """
    with transaction.atomic():
        return Payment.objects.locked().prefetch_related("facts").get(pk=payment.pk)


def history() -> Verdict:
    """Check that each payment's timeline is complete: it has as many status changes as the payment's `version` says."""
    torn = (
        Payment.objects.annotate(moves=Count("changes")).exclude(moves=F("version")).values_list("public_id", flat=True)
    )
    if found := [str(public_id) for public_id in torn[:MAX_NAMED]]:
        return error(
            _("Payments whose timeline has gaps: %(count)s (%(named)s).")
            % {"count": torn.count(), "named": ", ".join(found)},
            _("This site never deletes timeline entries. Find out what else writes to its tables."),
        )
    return ok(_("Every change of every payment is in its timeline."))


def feeds() -> Verdict:
    """Check that the entries of each feed (list of changes) are numbered without gaps.

    If a number were missing, open pages would wait for its entry.
    """
    gapped = list(_audiences_with_gaps())
    if gapped:
        return error(
            _("These feeds have gaps in their numbering: %(names)s.") % {"names": ", ".join(gapped[:MAX_NAMED])},
            _("Run `manage.py prune --feeds 0`: open pages then reload instead of waiting for missing entries."),
        )
    return ok(_("Every feed is numbered without gaps."))


def _audiences_with_gaps() -> Iterator[str]:
    counted = Feed.objects.annotate(kept=Count("entries"), first=Min("entries__seq"), last=Max("entries__seq"))
    shape = counted.order_by("audience").values_list("audience", "pruned", "head", "kept", "first", "last")
    for audience, pruned, head, kept, first, last in shape:
        dense = (first, last, kept) == (pruned + 1, head, head - pruned)
        if not dense and not (kept == 0 and pruned == head):
            yield audience
