"""Operations of the API that list what can be booked."""

from typing import Annotated

from django.db.models import QuerySet
from ninja import Router, Schema
from pydantic import Field

from appointments.models import Practitioner, Service

from ..models.api_key import Scope
from .guard import guarded
from .keys import KeyRequest

router = Router(tags=["The clinic"])


class PractitionerOut(Schema):
    id: Annotated[int, Field(examples=[1])]
    external_id: Annotated[str | None, Field(examples=["mercier"])]
    name: Annotated[str, Field(examples=["Dr Anne Mercier"])]
    specialty: Annotated[str, Field(examples=["Dermatology"])]
    active: Annotated[bool, Field(description="Only active practitioners can be booked.", examples=[True])]


class ServiceOut(Schema):
    id: Annotated[int, Field(examples=[1])]
    name: Annotated[str, Field(examples=["Consultation"])]
    minutes: Annotated[int, Field(examples=[30])]
    price_amount: Annotated[int, Field(description="In minor units of the currency.", examples=[5500])]
    deposit_amount: Annotated[int, Field(description="In minor units of the currency.", examples=[0])]
    currency: Annotated[str, Field(examples=["eur"])]
    active: Annotated[bool, Field(description="Only active services can be booked.", examples=[True])]


class Practitioners(Schema):
    data: list[PractitionerOut]


class Services(Schema):
    data: list[ServiceOut]


@router.get("/practitioners", response=Practitioners, url_name="practitioners", summary="List practitioners")
@guarded(Scope.READ)
def list_practitioners(request: KeyRequest) -> dict[str, QuerySet[Practitioner]]:
    """Return all practitioners, by name."""
    return {"data": Practitioner.objects.all()}


@router.get("/services", response=Services, url_name="services", summary="List services")
@guarded(Scope.READ)
def list_services(request: KeyRequest) -> dict[str, QuerySet[Service]]:
    """Return all services, by name, with the length and prices that a booking takes over."""
    return {"data": Service.objects.all()}
