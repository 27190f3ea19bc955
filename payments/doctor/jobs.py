"""A check that `manage.py work` does its background jobs."""

from django.utils.translation import gettext as _

from ..jobs import states
from .finding import Verdict, age, ok, warning


def late() -> Verdict:
    """Report background jobs that have had no successful round for too long, with the last error of each."""
    found = [(job, row) for job, row, is_late in states() if is_late]
    if not found:
        return ok(_("All background work is done in time."))
    named = "; ".join(f"{job.title}, {age(row.succeeded_at or row.created_at)}" for job, row in found)
    errors = "; ".join(f"{job.name}: {row.error}" for job, row in found if row.is_failing)
    if errors:
        fix = _("Run the commands by hand to see what fails (%(errors)s).") % {"errors": errors}
    else:
        fix = _("Keep `manage.py work` running: as a service, on one machine or on several.")
    return warning(_("Background work that has not been done for too long: %(named)s.") % {"named": named}, fix)
