"""Operations of the API on payments: what is owed and was paid, money taken by another till, and pay links."""

import datetime
import uuid
from typing import Annotated, Any

from django.utils import timezone
from ninja import Body, Path, Router, Schema, Status
from pydantic import ConfigDict, Field

from payments.desk import till
from payments.domain.methods import Method
from payments.domain.movements import MovementKind
from payments.domain.status import PaymentStatus
from payments.gateway.checkout import NotPayableError
from payments.models import PayLink, Payment, RecordView
from payments.models.pay_link import LinkState

from ..change_data import SUMS
from ..models.api_key import Scope
from .guard import guarded
from .keys import KeyRequest
from .problems import Problem, wrong_field
from .strict import PLAIN, WHOLE, Day, StrictSchema

router = Router(tags=["Payments"])
Uuid = Annotated[uuid.UUID, Field(examples=["6f1a3b1e-7f0c-4b3e-9a57-0d5c1b6f2a11"])]
LinkId = Annotated[int, Field(ge=1, le=2**53 - 1), WHOLE]
Sum = Annotated[int, Field(description="In minor units of the currency.", examples=[5500])]
Currency = Annotated[str, Field(examples=["eur"])]
At = Annotated[datetime.datetime, Field(examples=["2026-03-09T14:30:00+01:00"])]


class MovementOut(Schema):
    """Money that moved: negative if it left the clinic."""

    id: Annotated[str, Field(description="The Stripe object or the entry at the desk.", examples=["offline_4f0c"])]
    kind: Annotated[str, Field(json_schema_extra={"enum": MovementKind.values}, examples=["payment"])]
    amount: Sum
    currency: Currency
    method: Annotated[str, Field(examples=["cash"])]
    at: At


class PaymentOut(Schema):
    """An appointment's payment. Amounts are in minor units of `currency`; movements may be in another currency."""

    id: Annotated[str, Field(examples=["6f1a3b1e-7f0c-4b3e-9a57-0d5c1b6f2a11"])]
    appointment_reference: Annotated[str, Field(examples=["K7QM2XPA"])]
    appointment_external_id: Annotated[str | None, Field(examples=["visit-815"])]
    status: Annotated[str, Field(json_schema_extra={"enum": PaymentStatus.values}, examples=["paid"])]
    currency: Currency
    price_amount: Sum
    amount_due: Sum
    amount_received: Sum
    amount_refunded: Sum
    amount_refund_pending: Sum
    amount_lost: Sum
    amount_waived: Sum
    amount_on_its_way: Sum
    amount_owed: Annotated[int, Field(description="What is still to be paid, in minor units.", examples=[0])]
    amount_overpaid: Sum
    payable_online: Annotated[bool, Field(examples=[False])]
    version: Annotated[int, Field(description="How often the payment has changed.", examples=[4])]
    movements: list[MovementOut]


class EntryIn(StrictSchema):
    """Money that another till has taken for this appointment."""

    model_config = StrictSchema.model_config | ConfigDict(
        json_schema_extra={"examples": [{"amount": 5500, "currency": "eur", "method": "terminal", "note": "Till 2"}]}
    )

    amount: Annotated[int, Field(ge=1, le=99_999_999, description="At most what is owed, in minor units.")]
    currency: Annotated[str, Field(pattern="^[a-z]{3}$", description="The payment’s currency.")]
    method: Annotated[str, Field(max_length=20, json_schema_extra={"enum": Method.values}), PLAIN]
    note: Annotated[str, Field(max_length=200, description="For the clinic’s staff."), PLAIN] = ""
    deposited: Annotated[Day | None, Field(description="When a cheque goes to the bank.")] = None


class LinkOut(Schema):
    """A pay link. Anybody who has its URL can pay, and read the receipt."""

    id: Annotated[int, Field(examples=[12])]
    url: Annotated[str, Field(examples=["https://clinic.example/p/pl-0123456789abcdefghijkl/"])]
    state: Annotated[str, Field(json_schema_extra={"enum": [state.value for state in LinkState]}, examples=["open"])]
    expires_at: At


class EndedLink(Schema):
    """A pay link that nobody can use any more."""

    id: Annotated[int, Field(examples=[12])]
    state: Annotated[str, Field(json_schema_extra={"enum": [state.value for state in LinkState]}, examples=["ended"])]


@router.get("/{uuid:payment_id}", response=PaymentOut, url_name="payment", summary="Get a payment")
@guarded(Scope.READ)
def get_payment(request: KeyRequest, payment_id: Path[Uuid]) -> dict[str, Any]:
    """Return what is owed and what was paid for an appointment, with every movement of money, the oldest first.

    The site notes in its log of viewed records that the key's account has looked.
    """
    payment = _payment_or_404(payment_id)
    RecordView.objects.note(payment, request.api_key.acts_as)
    return _shown(payment)


@router.post("/{uuid:payment_id}/entries", response={201: PaymentOut}, url_name="entries", summary="Record money taken")
@guarded(Scope.MONEY, body=True)
def record_entry(request: KeyRequest, payment_id: Path[Uuid], body: Body[EntryIn]) -> dict[str, Any]:
    """Record money that another till has taken, as the front desk's own till does, and return the payment.

    Send an Idempotency-Key, so that a repeated request records the money once. More than is owed, or another currency
    than the payment's, is refused with 409, also if the payment has changed a moment ago.
    """
    payment = _payment_or_404(payment_id)
    if body.currency != payment.currency:
        raise _not_payable(payment)
    if body.method not in Method.values:
        raise wrong_field("method", f"This must be one of {', '.join(Method.values)}.")
    if body.deposited and body.method != Method.CHEQUE:
        raise wrong_field("deposited", "Only a cheque is deposited.")
    deposited = body.deposited.isoformat() if body.deposited else ""
    details = {"note": body.note.strip(), "deposited": deposited}
    try:
        till.take_payment(
            payment, body.amount, Method(body.method), request.api_key.acts_as, key=request.effect.hex, **details
        )
    except NotPayableError as error:
        raise _not_payable(_payment_or_404(payment_id)) from error
    return _shown(_payment_or_404(payment_id))


@router.post(
    "/{uuid:payment_id}/pay-links",
    response={200: LinkOut, 201: LinkOut},
    url_name="make_link",
    summary="Make a pay link",
)
@guarded(Scope.MONEY)
def make_link(request: KeyRequest, payment_id: Path[Uuid]) -> Status[dict[str, Any]]:
    """Return a link at which the patient pays online without an account: the open one (200), or a new one (201).

    Its URL is given in this answer only. A payment that can't be made online now is refused with 409.
    """
    payment = _payment_or_404(payment_id)
    if not (payment.payable_online or payment.wants_card):
        raise Problem(409, "Nothing can be paid online for this appointment now.")
    known = set(payment.pay_links.values_list("pk", flat=True))
    link = PayLink.objects.offer(payment, PayLink.Channel.API, request.api_key.acts_as)
    shown = {"id": link.pk, "url": link.url, "state": link.state, "expires_at": timezone.localtime(link.expires_at)}
    return Status(200 if link.pk in known else 201, shown)


@router.post(
    "/{uuid:payment_id}/pay-links/{link_id}/end", response=EndedLink, url_name="end_link", summary="End a pay link"
)
@guarded(Scope.MONEY)
def end_link(request: KeyRequest, payment_id: Path[Uuid], link_id: Path[LinkId]) -> dict[str, Any]:
    """End one of the payment's links, so that nobody can pay or read anything through it any more.

    A link that was ended before stays as it is.
    """
    link = _payment_or_404(payment_id).pay_links.filter(pk=link_id).first()
    if link is None:
        raise Problem(404, "The payment has no link with this id.")
    link.end(PayLink.Ending.STAFF, request.api_key.acts_as)
    link.refresh_from_db()
    return {"id": link.pk, "state": link.state}


def _payment_or_404(payment_id: uuid.UUID) -> Payment:
    found = Payment.objects.select_related("appointment").filter(public_id=payment_id).first()
    if found is None:
        raise Problem(404, "No payment has this id.")
    return found


def _not_payable(payment: Payment) -> Problem:
    words = "Nothing was recorded: this is more than is owed, or in another currency. Get the payment and check."
    return Problem(409, words, amount_owed=payment.amount_owed, currency=payment.currency)


def _shown(payment: Payment) -> dict[str, Any]:
    lines = payment.journal_lines.order_by("number")
    return {f"amount_{name}": getattr(payment, f"amount_{name}") for name in SUMS} | {
        "id": str(payment.public_id),
        "appointment_reference": payment.appointment.reference,
        "appointment_external_id": payment.appointment.external_id,
        "status": payment.status,
        "currency": payment.currency,
        "price_amount": payment.price,
        "payable_online": payment.payable_online,
        "version": payment.version,
        "movements": [
            {
                "id": line.fact_id,
                "kind": line.kind,
                "amount": line.amount,
                "currency": line.currency,
                "method": line.method,
                "at": timezone.localtime(datetime.datetime.fromtimestamp(line.at, datetime.UTC)),
            }
            for line in lines
        ],
    }
