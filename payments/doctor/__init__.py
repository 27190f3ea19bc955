"""Why isn't it updating? Each check looks at one link of the chain from Stripe to a page and says what to do.

`manage.py payments_doctor` runs all of them, the page /desk/why/ those that are quick and safe in a request.
docs/troubleshooting.md has a section for each.
"""

import logging
from collections.abc import Callable, Iterator

from django.utils.translation import gettext as _

from . import database, delivery, events, machine, post, stripe
from .finding import Check, Finding, Level, Verdict

logger = logging.getLogger(__name__)

IN_PROCESS: dict[str, Check] = {"live": delivery.live}  # nothing to see from a command
QUICK: dict[str, Check] = {
    "configuration": machine.configuration,
    "database-settings": database.settings_of_connection,
    "events-failed": events.failed,
    "events-quarantined": events.quarantined,
    "events-waiting": events.waiting,
    "events-other-mode": events.other_mode,
    "refunds-unanswered": events.unanswered_refunds,
    "sweep": events.sweep_work,
    "mirror": events.mirror_lag,
    "emails": post.sent,
    "feeds": database.feeds,
    "prune": database.prunable,
    "disk": machine.disk,
}
THOROUGH: dict[str, Check] = {
    "stripe-account": stripe.account,
    "stripe-endpoint": stripe.endpoint,
    "clock": stripe.clock,
    "events-missed": stripe.missed_events,
    "migrations": database.migrations,
    "database-integrity": database.integrity,
    "standings": database.standings,
    "history": database.history,
    "channel-layer": delivery.channel_layer,
    "webhook": delivery.webhook,
    "socket": delivery.socket,
    "versions": machine.versions,
}
CHECKS = QUICK | THOROUGH


def examine(checks: dict[str, Check]) -> Iterator[Finding]:
    """One finding for each check; a check that fails itself is a finding too."""
    for name, check in checks.items():
        yield Finding(name, *(_tried(name, check)))


def _tried(name: str, check: Callable[[], Verdict]) -> Verdict:
    try:
        return check()
    except Exception as error:
        logger.exception("doctor_check_failed", extra={"check": name})
        what = _("This could not be looked at (%(error)s).") % {"error": type(error).__name__}
        return Verdict(Level.ERROR, what, _("See the log for the cause, most likely the database."))


def worst(findings: list[Finding]) -> Level:
    return max((finding.level for finding in findings), default=Level.OK)
