"""Operations of the API on patients."""

import datetime
from typing import Annotated, Any

from django.conf import settings
from django.contrib.admin.models import ADDITION, CHANGE
from django.contrib.auth import get_user_model
from django.db import transaction
from ninja import Body, Path, Router, Schema, Status
from pydantic import ConfigDict, Field, JsonValue
from pydantic.config import JsonDict

from appointments.booking_forms import PatientForm
from payments.models import Payment, RecordView
from people import sign_in
from people.models import PatientFields, new_username

from ..history import log
from ..models import ApiKey
from ..models.api_key import Scope
from .guard import guarded
from .keys import KeyRequest
from .problems import Problem, pointer_to
from .strict import PLAIN, Day, ExternalId, StrictSchema
from .upsert import upsert

router = Router(tags=["Patients"])
# A default in the document would make generated clients send it, and so empty the fields that they leave out.
EMPTY = Field(default_factory=str)
LANGUAGES: list[JsonValue] = ["", *dict(settings.LANGUAGES)]
PATIENT: JsonDict = {
    "last_name": "Roux",
    "first_name": "Camille",
    "birth_date": "1980-12-31",
    "phone": "+33 6 12 34 56 78",
    "email": "camille@example.com",
    "preferred_language": "fr",
}


class PatientIn(StrictSchema):
    """A patient's name and contact data. A field that is left out keeps its value; a new patient has none there."""

    model_config = StrictSchema.model_config | ConfigDict(json_schema_extra={"examples": [PATIENT]})

    last_name: Annotated[str, Field(min_length=1, max_length=150), PLAIN]
    first_name: Annotated[str, EMPTY, Field(max_length=150), PLAIN]
    birth_date: Day | None = None
    phone: Annotated[str, EMPTY, Field(max_length=32), PLAIN]
    email: Annotated[str, EMPTY, Field(max_length=254, description="Each address belongs to one account."), PLAIN]
    preferred_language: Annotated[str, EMPTY, Field(json_schema_extra={"enum": LANGUAGES}), PLAIN]


class PatientOut(Schema):
    """A patient's name and contact data."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"external_id": "patient-4711", **PATIENT}]})

    external_id: str
    last_name: str
    first_name: str
    birth_date: datetime.date | None
    phone: str
    email: str
    preferred_language: str


@router.get("/{external_id}", response=PatientOut, url_name="patient", summary="Get a patient")
@guarded(Scope.READ)
def get_patient(request: KeyRequest, external_id: Path[ExternalId]) -> PatientFields:
    """Return the patient with this external id.

    The site notes in its log of viewed records that the key's account has looked.
    """
    patient = get_user_model().objects.patients().filter(external_id=external_id).first()
    if patient is None:
        raise Problem(404, "No patient has this external id.")
    if newest := Payment.objects.filter(appointment__patient=patient.pk).order_by("-pk").first():
        RecordView.objects.note(newest, request.api_key.acts_as)
    return patient


@router.put(
    "/{external_id}",
    response={200: PatientOut, 201: PatientOut},
    url_name="patient",
    summary="Make or change a patient",
)
@guarded(Scope.APPOINTMENTS, body=True)
def put_patient(request: KeyRequest, external_id: Path[ExternalId], body: Body[PatientIn]) -> Status[PatientFields]:
    """Make the patient with this external id, or change their name and contact data.

    A patient whom the front desk has entered has no external id yet: give it in the administration, under “People”.
    An e-mail address that another account has is refused with 409.
    """
    values = body.model_dump(exclude_unset=True)
    patient, made = upsert(
        get_user_model().objects.all(), external_id, lambda: _save(external_id, values, request.api_key)
    )
    return Status(201 if made else 200, patient)


def _save(external_id: str, values: dict[str, Any], key: ApiKey) -> tuple[PatientFields, bool]:
    """Save a patient with these values, by the form of the front desk; return the patient, and whether it is new."""
    with transaction.atomic():
        patient = get_user_model().objects.select_for_update().filter(external_id=external_id).first()
        if patient and (patient.is_staff or not patient.is_active):
            raise Problem(409, "This external id belongs to an account that isn’t an active patient’s.")
        made = patient is None
        if patient is None:
            patient = get_user_model()(username=new_username(), external_id=external_id)
            patient.set_unusable_password()
        _require_own_address(patient, values.get("email", ""))
        present = {name: getattr(patient, name) for name in PatientForm.base_fields}
        form = PatientForm(present | values, instance=patient)
        if not form.is_valid():
            raise Problem(422, errors=errors_of(form.errors))
        changed = [name for name in form.fields if form.cleaned_data[name] != present[name]]
        if made or changed:
            form.save()
            sign_in.current().address_changed(patient)
            log(key.acts_as, patient, ADDITION if made else CHANGE, changed)
        return patient, made


def _require_own_address(patient: PatientFields, email: str) -> None:
    """Raise Problem if another account has the e-mail address."""
    if email.strip() and get_user_model().objects.filter(email__iexact=email.strip()).exclude(pk=patient.pk).exists():
        raise Problem(
            409,
            "Another account has this e-mail address. If it is this patient’s, give that account the external id in the"
            " administration under “People”, and repeat the request; if not, correct the address or leave it empty.",
            errors=[{"pointer": pointer_to("email"), "detail": "Another account has this e-mail address."}],
        )


def errors_of(errors: Any) -> list[dict[str, str]]:
    """Return the errors of a form, or of a ValidationError's `message_dict`, as entries of a problem."""
    return [
        {"pointer": pointer_to(*([] if name == "__all__" else [name])), "detail": str(detail)}
        for name, details in errors.items()
        for detail in details
    ]
