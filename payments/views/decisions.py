"""Pages on which staff correct an entry made at the front desk, or decide about missing or excess money."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from appointments.money import format_amount
from people.sign_in import proof_required
from people.unsent import typed

from ..desk import decisions, till
from ..desk.decisions import NothingToDecideError
from ..desk.journal import lines_of
from ..desk.refund_limits import OverLimitError
from ..desk.till import NotReversibleError
from ..domain.status import Review
from ..forms import ReasonForm, key_of
from ..models import Payment
from .access import Request, open_payment_or_404, staff_required


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
@proof_required
def entered_by_mistake(request: Request, reference: str, entry_id: str) -> HttpResponseBase:
    """Ask why an entry made at the front desk was a mistake; on POST record that the entry doesn't count."""
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    entry = next((each for each in till.entries_of(payment) if each.stripe_id == entry_id), None)
    if entry is None:  # it was corrected already, as by a double click
        return redirect("clinic:desk_appointment", payment.appointment.reference)
    if not till.may_reverse(entry, request.user):
        raise PermissionDenied
    form = ReasonForm(request.POST if request.method == "POST" else typed(request))
    status = 422 if request.method == "POST" else 200
    if form.is_valid() and request.method == "POST":
        try:
            till.reverse(payment, entry_id, form.cleaned_data["reason"], request.user)
        except NotReversibleError:
            form.add_error(
                None, _("This money was given back since. First correct the entry that says it was given back.")
            )
            status = 409
        else:
            amount = format_amount(entry.amount, payment.currency)
            messages.success(request, _("Corrected: %(amount)s no longer counts.") % {"amount": amount})
            return redirect("clinic:desk_appointment", payment.appointment.reference)
    line = next(each for each in lines_of(payment) if each.fact.pk == entry.pk)
    context = {"payment": payment, "appointment": payment.appointment, "form": form, "line": line}
    return render(request, "payments/entered_by_mistake.html", context, status=status)


NOTHING_TO_DECIDE = gettext_lazy("This payment has changed in the meantime, so there is nothing left to decide.")


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision that staff can take about a payment, with the texts of the page that asks to confirm it."""

    decide: Callable[[Request, Payment, str, str], None]  # called with the form's reason and key
    is_open: Callable[[Payment], bool]
    title: Promise
    consequence: Promise
    button: Promise
    done: Promise
    asks_why: bool = False


def _ask_again(request: Request, payment: Payment, reason: str, key: str) -> None:
    decisions.ask_again(payment, request.user, key=key)


def _write_off(request: Request, payment: Payment, reason: str, key: str) -> None:
    decisions.write_off(payment, reason, request.user, key=key)


def _keep_as_fee(request: Request, payment: Payment, reason: str, key: str) -> None:
    decisions.keep_as_fee(payment, request.user)


DECISIONS = {
    "ask-again": Decision(
        _ask_again,
        lambda payment: payment.amount_waived > 0 or Review.TAKEN_BACK in payment.reviews,
        title=gettext_lazy("Ask the patient again?"),
        consequence=gettext_lazy("The patient will owe %(again)s, and can pay it online."),
        button=gettext_lazy("Ask again"),
        done=gettext_lazy("The patient is asked again."),
    ),
    "stop-asking": Decision(
        _write_off,
        lambda payment: payment.amount_owed > 0,
        title=gettext_lazy("Stop asking the patient?"),
        consequence=gettext_lazy("The patient will no longer owe %(owed)s. An open payment page is closed."),
        button=gettext_lazy("Stop asking"),
        done=gettext_lazy("The patient no longer owes this money."),
        asks_why=True,
    ),
    "keep-as-fee": Decision(
        _keep_as_fee,
        lambda payment: payment.terms.canceled and payment.amounts.net > 0,
        title=gettext_lazy("Keep this money as a cancellation fee?"),
        consequence=gettext_lazy("The clinic keeps %(net)s. Nothing is left to refund."),
        button=gettext_lazy("Keep as fee"),
        done=gettext_lazy("Kept as a cancellation fee."),
    ),
}


@require_http_methods(["GET", "HEAD", "POST"])
@staff_required
def decide(request: Request, reference: str, name: str) -> HttpResponseBase:
    """Ask to confirm the decision `name` (a key of DECISIONS) about the payment; on POST record it."""
    if name not in DECISIONS:
        raise Http404
    payment = open_payment_or_404(request, appointment__reference=reference.upper())
    decision = DECISIONS[name]
    posted = request.POST if request.method == "POST" else typed(request)
    form, key = ReasonForm(posted), key_of(posted)
    if not decision.asks_why:
        del form.fields["reason"]
    if request.method != "POST" and not decision.is_open(payment):
        messages.info(request, NOTHING_TO_DECIDE)
        return redirect("clinic:desk_appointment", payment.appointment.reference)
    if not form.is_valid() or request.method != "POST":
        return _page(request, payment, name, form, key)
    try:
        decision.decide(request, payment, form.cleaned_data.get("reason", ""), key)
    except NothingToDecideError:
        messages.info(request, NOTHING_TO_DECIDE)
    except OverLimitError as error:
        most = format_amount(error.allowed, payment.currency)
        words = _("Your account may give up at most %(most)s. An accountant or a manager may give up more.")
        form.add_error(None, words % {"most": most})
        return _page(request, payment, name, form, key)
    else:
        messages.success(request, str(decision.done))
    return redirect("clinic:desk_appointment", payment.appointment.reference)


def _page(request: Request, payment: Payment, name: str, form: ReasonForm, key: str) -> HttpResponse:
    again = replace(payment.amounts, waived=0).owed
    amounts = {"owed": payment.amount_owed, "net": payment.amounts.net, "again": again}
    words = {each: format_amount(amount, payment.currency) for each, amount in amounts.items()}
    context = {
        "payment": payment,
        "appointment": payment.appointment,
        "name": name,
        "decision": DECISIONS[name],
        "consequence": str(DECISIONS[name].consequence) % words,
        "form": form,
        "key": key,
    }
    return render(request, "payments/decide.html", context, status=422 if request.method == "POST" else 200)
