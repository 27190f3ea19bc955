"""Health checks: each examines one part of the way from Stripe to an open page, and says how to repair faults.

`manage.py payments_doctor` runs the checks in QUICK and THOROUGH. The page /desk/why/ runs the checks in IN_PROCESS and
QUICK, which are fast and safe during an HTTP request; the front desk sees only those in PLAIN. docs/troubleshooting.md
has a section for each check.
"""

import logging
from collections.abc import Callable, Iterator

from django.utils.translation import gettext as _

from . import closings, database, delivery, emails, events, jobs, journal, machine, stripe
from .finding import Check, Finding, Level, Verdict

logger = logging.getLogger(__name__)

# These are not for the command, whose process serves no pages.
IN_PROCESS: dict[str, Check] = {"live": delivery.live, "events-writer": events.writer_at_work}
QUICK: dict[str, Check] = {
    "configuration": machine.configuration,
    "database-settings": database.settings_of_connection,
    "events-failed": events.failed,
    "events-quarantined": events.quarantined,
    "objects-quarantined": events.quarantined_objects,
    "events-waiting": events.waiting,
    "events-other-mode": events.other_mode,
    "refunds-unanswered": events.unanswered_refunds,
    "work": jobs.late,
    "events-stored": events.unstored,
    "mirror": events.mirror_lag,
    "emails": emails.unsent,
    "feeds": database.feeds,
    "disk": machine.disk,
}
THOROUGH: dict[str, Check] = {
    "stripe-account": stripe.account,
    "stripe-endpoint": stripe.endpoint,
    "clock": stripe.clock,
    "events-missed": stripe.missed_events,
    "migrations": database.migrations,
    "database-integrity": database.integrity,
    "name-search": database.name_search,
    "access-triggers": database.access_triggers,
    "standings": database.standings,
    "history": database.history,
    "journal": journal.lines,
    "closings": closings.chain,
    "channel-layer": delivery.channel_layer,
    "mail-server": emails.mail_server,
    "webhook": delivery.webhook,
    "forms": delivery.forms,
    "socket": delivery.socket,
    "versions": machine.versions,
    "backup": machine.backup,
}
CHECKS = QUICK | THOROUGH
# What concerns the front desk, and can be said without the names of programs.
PLAIN = ("live", "events-failed", "events-waiting", "refunds-unanswered", "work")


def add_quick(name: str, check: Check) -> None:
    """Add another app's check, which is run for the command and the page. Call this in AppConfig.ready."""
    QUICK[name] = check
    CHECKS.clear()
    CHECKS.update(QUICK | THOROUGH)


def examine(checks: dict[str, Check]) -> Iterator[Finding]:
    """Run each check and yield its finding; if a check raises an exception, its finding has the level ERROR.

    If an earlier check has reported the same fault, such as Stripe not answering, the finding only names that check.
    """
    faults: dict[Verdict, str] = {}
    for name, check in checks.items():
        verdict = _run(name, check)
        if verdict.level != Level.OK and (first := faults.setdefault(verdict, name)) != name:
            verdict = Verdict(verdict.level, _("As %(check)s.") % {"check": first})
        yield Finding(name, *verdict)


def _run(name: str, check: Callable[[], Verdict]) -> Verdict:
    try:
        return check()
    except Exception as error:
        logger.exception("doctor_check_failed", extra={"check": name})
        what = _("This check could not run (%(error)s).") % {"error": type(error).__name__}
        return Verdict(Level.ERROR, what, _("Look for the cause in the log. It is most likely the database."))


def worst(findings: list[Finding]) -> Level:
    return max((finding.level for finding in findings), default=Level.OK)
