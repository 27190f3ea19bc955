"""Pages for staff that show what the self-checks in payments/doctor find wrong with the site or with one payment."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .. import doctor
from ..doctor import journey
from .access import Request, open_payment_or_404, staff_required


@require_safe
@never_cache
@staff_required
def why(request: Request) -> HttpResponse:
    """Run the quick self-checks of the whole site and show what they find, the most serious first.

    Who may not see the operations board reads what concerns the front desk, without commands to run.
    """
    technical = request.user.has_perm("clinic_payments.view_operations")
    checks = doctor.IN_PROCESS | doctor.QUICK
    if not technical:
        checks = {name: checks[name] for name in doctor.PLAIN}
    findings = sorted(doctor.examine(checks), key=lambda finding: -finding.level)
    if not technical:
        findings = [finding._replace(fix="") for finding in findings]
    context = {"findings": findings, "worst": doctor.worst(findings), "technical": technical, "section": "desk"}
    return render(request, "payments/why.html", context)


@require_safe
@never_cache
@staff_required
def why_payment(request: Request, reference: str) -> HttpResponse:
    """Show the reasons for a payment's status, and how each of its changes reached the pages that people had open."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    context = {
        "payment": payment,
        "appointment": payment.appointment,
        "findings": journey.reasons(payment),
        "journeys": journey.journeys(payment),
        "section": "desk",
    }
    return render(request, "payments/why_payment.html", context)
