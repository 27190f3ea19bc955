"""Operations of the API on appointments. What an upsert saves goes through the functions of the front desk's pages."""

import datetime
from typing import Annotated, Any, TypeVar

from django.contrib.admin.models import ADDITION, CHANGE
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from ninja import Body, Path, Router, Schema, Status
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from appointments import booking
from appointments.models import LONGEST, SHORTEST, Appointment, Practitioner, Service, check_amounts
from payments.models import Payment, RecordView

from ..history import log
from ..models import ApiKey
from ..models.api_key import Scope
from .guard import guarded
from .keys import KeyRequest
from .people import errors_of
from .problems import Problem, wrong_field
from .strict import PLAIN, Amount, ExternalId, Id, Moment, StrictSchema
from .upsert import upsert

router = Router(tags=["Appointments"])
Row = TypeVar("Row", Practitioner, Service)
# The fields of the body by the columns that they are stored in.
FIELDS = {"end": "minutes", "currency": "service_id"}
COMPARED = ("patient_id", "practitioner_id", "service", "start", "end", "price_amount", "deposit_amount", "currency",
            "prepayment", "no_show_fee_amount")  # fmt: skip
Reference = Annotated[str, Field(max_length=8), PLAIN]
VISIT: JsonDict = {
    "patient_external_id": "patient-4711",
    "practitioner_id": 1,
    "service_id": 1,
    "start": "2026-03-09T14:30:00+01:00",
    "minutes": 30,
}

SHOWN: JsonDict = {
    "external_id": "visit-815",
    "reference": "K7QM2XPA",
    "patient_external_id": "patient-4711",
    "practitioner_id": 1,
    "service": "Consultation",
    "start": "2026-03-09T14:30:00+01:00",
    "end": "2026-03-09T15:00:00+01:00",
    "status": "booked",
    "arrived_at": None,
    "price_amount": 5500,
    "deposit_amount": 0,
    "fee_amount": 0,
    "currency": "eur",
    "payment_id": "6f1a3b1e-7f0c-4b3e-9a57-0d5c1b6f2a11",
}


class AppointmentIn(StrictSchema):
    """Who comes to whom, for what and when.

    Length, price and deposit are the service's if they are left out; a later request that leaves them out too, and
    names the service that was booked, keeps them as they are. The currency is the service's.
    """

    model_config = StrictSchema.model_config | ConfigDict(json_schema_extra={"examples": [VISIT]})

    patient_external_id: ExternalId
    practitioner_id: Id
    service_id: Id
    start: Moment
    minutes: Annotated[int, Field(ge=SHORTEST, le=LONGEST)] | None = None
    price_amount: Amount | None = None
    deposit_amount: Amount | None = None
    confirmed_overlaps: Annotated[
        list[Reference],
        Field(max_length=50, description="References of appointments that this one may overlap."),
    ] = []


class Cancellation(StrictSchema):
    """What the clinic keeps of the price when an appointment is canceled."""

    model_config = StrictSchema.model_config | ConfigDict(json_schema_extra={"examples": [{"fee_amount": 0}]})

    fee_amount: Amount = 0


class AppointmentOut(Schema):
    """An appointment. Amounts are in minor units of the currency."""

    model_config = ConfigDict(json_schema_extra={"examples": [SHOWN]})

    external_id: str
    reference: str
    patient_external_id: str | None
    practitioner_id: int
    service: str
    start: datetime.datetime
    end: datetime.datetime
    status: Annotated[str, Field(json_schema_extra={"enum": Appointment.Status.values})]
    arrived_at: datetime.datetime | None
    price_amount: int
    deposit_amount: int
    fee_amount: int
    currency: str
    payment_id: str


@router.get("/{external_id}", response=AppointmentOut, url_name="visit", summary="Get an appointment")
@guarded(Scope.READ)
def get_appointment(request: KeyRequest, external_id: Path[ExternalId]) -> dict[str, Any]:
    """Return the appointment with this external id.

    The site notes in its log of viewed records that the key's account has looked.
    """
    appointment = _appointment_or_404(external_id)
    RecordView.objects.note(appointment.payment, request.api_key.acts_as)
    return _shown(appointment)


@router.put(
    "/{external_id}",
    response={200: AppointmentOut, 201: AppointmentOut},
    url_name="visit",
    summary="Book, move or change an appointment",
)
@guarded(Scope.APPOINTMENTS, body=True)
def put_appointment(
    request: KeyRequest, external_id: Path[ExternalId], body: Body[AppointmentIn]
) -> Status[dict[str, Any]]:
    """Book the appointment with this external id, or change it; another `start` moves it.

    A time at which the practitioner or the patient has another appointment is refused with 409, until the references
    of all that overlap are sent in `confirmed_overlaps`. A canceled appointment can't be changed: book another one.
    """
    try:
        made = upsert(Appointment.objects.all(), external_id, lambda: _save(external_id, body, request.api_key))
    except booking.OverlapError as error:
        raise Problem(
            409,
            "The practitioner or the patient has other appointments at this time. Send their references in"
            " `confirmed_overlaps` to book nevertheless.",
            overlaps=[each.reference for each in error.overlaps],
        ) from error
    return Status(201 if made else 200, _shown(_appointment_or_404(external_id)))


@router.post("/{external_id}/cancel", response=AppointmentOut, url_name="cancel_visit", summary="Cancel an appointment")
@guarded(Scope.APPOINTMENTS, body=True)
def cancel_appointment(request: KeyRequest, external_id: Path[ExternalId], body: Body[Cancellation]) -> dict[str, Any]:
    """Cancel the appointment. Of its price, the patient owes only `fee_amount` from then on.

    Money that was paid beyond is not given back by itself: the front desk finds it under “To review”. An appointment
    that was canceled before stays as it is.
    """
    appointment = _appointment_or_404(external_id)
    try:
        check_amounts({"fee_amount": body.fee_amount}, appointment.price_amount, appointment.currency)
    except ValidationError as error:
        raise Problem(422, errors=errors_of(error.message_dict)) from error
    if booking.cancel(appointment, request.api_key.acts_as, body.fee_amount):
        log(request.api_key.acts_as, appointment, CHANGE, ["status", "fee_amount"])
    return _shown(_appointment_or_404(external_id))


def _appointment_or_404(external_id: str) -> Appointment:
    found = Appointment.objects.select_related("patient", "payment").filter(external_id=external_id).first()
    if found is None:
        raise Problem(404, "No appointment has this external id.")
    return found


def _shown(appointment: Appointment) -> dict[str, Any]:
    payment: Payment = appointment.payment
    names = ("external_id", "reference", "practitioner_id", "service", "status", "price_amount", "deposit_amount",
             "fee_amount", "currency")  # fmt: skip
    arrived_at = appointment.arrived_at
    return {name: getattr(appointment, name) for name in names} | {
        "patient_external_id": appointment.patient.external_id,
        "start": timezone.localtime(appointment.start),
        "end": timezone.localtime(appointment.end),
        "arrived_at": timezone.localtime(arrived_at) if arrived_at else None,
        "payment_id": str(payment.public_id),
    }


def _save(external_id: str, body: AppointmentIn, key: ApiKey) -> bool:
    """Book or change the appointment, and return whether it is new. Raises Problem and OverlapError."""
    with transaction.atomic():
        appointment = Appointment.objects.select_for_update().filter(external_id=external_id).first()
        made = appointment is None
        appointment = appointment or Appointment(external_id=external_id)
        before = {name: getattr(appointment, name) for name in COMPARED}
        _fill(appointment, body)
        changed = [name for name in COMPARED if getattr(appointment, name) != before[name]]
        if not changed:
            return False
        if appointment.canceled:
            raise Problem(409, "This appointment is canceled. Book another one, with an external id of its own.")
        try:
            appointment.clean()
        except ValidationError as error:
            errors = {FIELDS.get(name, name): details for name, details in error.message_dict.items()}
            raise Problem(422, errors=errors_of(errors)) from error
        actor = key.acts_as
        if made:
            booking.book(appointment, actor, body.confirmed_overlaps)
        else:
            columns = {name.removesuffix("_id") for name in changed}
            booking.change(appointment, actor, columns, body.confirmed_overlaps)
        log(actor, appointment, ADDITION if made else CHANGE, changed)
        return made


def _fill(appointment: Appointment, body: AppointmentIn) -> None:
    """Put the values of the body into the appointment. Raises Problem if they name something that doesn't exist."""
    service = _active(Service, "service_id", body.service_id, appointment.service)
    practitioner = _active(Practitioner, "practitioner_id", body.practitioner_id, appointment.practitioner_id)
    patient = get_user_model().objects.patients().filter(external_id=body.patient_external_id).first()
    if patient is None:
        raise wrong_field("patient_external_id", "No patient has this external id.")
    booked = bool(appointment.pk) and appointment.service == service.name
    length = appointment.end - appointment.start if booked else datetime.timedelta(minutes=service.minutes)
    if body.minutes is not None:
        length = datetime.timedelta(minutes=body.minutes)
    appointment.patient, appointment.practitioner = patient, practitioner
    appointment.start, appointment.end = body.start, body.start + length
    if body.deposit_amount is not None or not booked:
        appointment.deposit_amount = service.deposit_amount if body.deposit_amount is None else body.deposit_amount
    if body.price_amount is not None or not booked:
        appointment.price_amount = service.price_amount if body.price_amount is None else body.price_amount
        appointment.currency = service.currency
        booking.set_service(appointment, service)


def _active(model: type[Row], field: str, pk: int, booked: object) -> Row:
    """Return the practitioner or service with this key. Raises Problem if there is none that can be booked.

    What is no longer active can be booked no more, unless it is `booked` already: the practitioner's key, or the
    service's name.
    """
    found = model._default_manager.filter(pk=pk).first()
    if found is None or not (found.active or booked in (found.pk, getattr(found, "name", None))):
        raise wrong_field(field, f"No active {model._meta.model_name} has this id.")
    return found
