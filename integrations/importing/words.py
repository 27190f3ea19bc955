"""Says in a sentence what an import did or would do."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .rules import Plan


def summary(plan: Plan, *, done: bool) -> str:
    """Return what the plan does, or did if it is `done`, with the numbers of appointments and patients."""
    if plan.is_empty:
        return _("Everything in this file is stored already: nothing changes.")
    parts = [
        ngettext("%(count)s new appointment", "%(count)s new appointments", len(plan.new)) % {"count": len(plan.new)},
        _("%(count)s changed") % {"count": len(plan.changed)},
        _("%(count)s unchanged") % {"count": plan.unchanged},
        ngettext("%(count)s new patient", "%(count)s new patients", len(plan.new_patients))
        % {"count": len(plan.new_patients)},
    ]
    said = _("Imported: %(what)s.") if done else _("To be imported: %(what)s.")
    return said % {"what": ", ".join(parts)}
