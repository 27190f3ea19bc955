"""A check of the sealed closings, each of which holds the hash of the one before."""

from collections.abc import Iterator

from django.db import connection
from django.utils.translation import gettext as _

from ..desk.closing_report import Report
from ..models import Closing, ClosingHead, Fact
from ..models.closing import FORMULAS
from ..models.closing_triggers import missing_triggers
from .database import BATCH_SIZE
from .finding import MAX_NAMED, Verdict, error, ok, warning


def chain() -> Verdict:
    """Check that no sealed closing was changed, inserted or deleted, and that its entries are as they were sealed."""
    if broken := list(_faults()):
        return error(
            _("The chain of sealed closings is broken: %(faults)s.") % {"faults": ", ".join(broken[:MAX_NAMED])},
            _(
                "Compare these closings with their printouts and with `closing_sealed` in the log. Restore the rows"
                " from a backup, and find out what wrote to the tables. A wrong count is corrected by another closing."
            ),
        )
    if missing := sorted(missing_triggers(connection)):
        return warning(
            _("The database lacks triggers that protect sealed closings: %(names)s.") % {"names": ", ".join(missing)},
            _("Run `manage.py migrate`."),
        )
    return ok(_("All closings are as they were sealed."))


def _faults() -> Iterator[str]:
    """Yield what is wrong with the closings' numbers, hashes and entries."""
    expected, previous = 1, ""
    for closing in Closing.objects.order_by("number").iterator(BATCH_SIZE):
        yield from (_("no. %(number)s is missing") % {"number": lost} for lost in range(expected, closing.number))
        if closing.number == expected and closing.previous_hash != previous:
            yield _("no. %(number)s doesn’t follow the closing before it") % {"number": closing.number}
        if closing.formula not in FORMULAS:
            yield _("no. %(number)s has an unknown formula") % {"number": closing.number}
        elif closing.computed_hash != closing.hash:
            yield _("no. %(number)s was changed") % {"number": closing.number}
        elif not has_its_entries(closing):
            yield _("the entries of no. %(number)s were changed") % {"number": closing.number}
        expected, previous = closing.number + 1, closing.hash
    head = ClosingHead.objects.first()
    if head is None:
        yield _("the number and hash of the last closing are missing")
    elif (head.number, head.hash) != (expected - 1, previous):
        yield _("the last closing should be no. %(number)s") % {"number": head.number}


def has_its_entries(closing: Closing) -> bool:
    """Return whether the closing's entries at the desk and movements at Stripe are still those that were sealed."""
    report = Report(closing.content)
    facts = Fact.objects.filter(closing=closing.pk)
    found = facts.values_list("stripe_id", "amount", "currency", "created", "actor")
    sealed = [(entry.id, abs(entry.amount), entry.currency, entry.at, entry.by) for entry in report.entries]
    rows = closing.online_entries.values_list("stripe_id", "kind", "amount", "currency", "at", "method")
    online = [(each.id, each.kind, each.amount, each.currency, each.at, each.method) for each in report.online]
    return sorted(found) == sorted(sealed) and sorted(rows) == sorted(online)
