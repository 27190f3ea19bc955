"""`python -m tests.integrations.other_software URL KEY COUNT` is a program that knows only the OpenAPI document.

It uses the package `client`, which openapi-python-client has generated from the document. It enters COUNT patients,
each with an appointment, and follows the changes until it has seen all appointments booked.
"""

import datetime
import importlib
import sys
from typing import Any


def operation(tag: str, name: str) -> Any:
    """Return the generated function that makes a request and returns what was answered."""
    return importlib.import_module(f"client.api.{tag}.{name}").sync


def main(url: str, key: str, count: int) -> None:
    client = importlib.import_module("client").AuthenticatedClient(base_url=url, token=key, timeout=60)
    models = importlib.import_module("client.models")
    doctor = operation("the_clinic", "list_practitioners")(client=client).data[0]
    service = operation("the_clinic", "list_services")(client=client).data[0]
    at = operation("changes", "get_changes")(client=client)
    first = datetime.datetime(2032, 3, 10, 8, tzinfo=datetime.UTC)
    for number in range(count):
        patient = models.PatientIn(last_name=f"Roux {number}", phone=f"+33 6 00 00 {number:04}")
        made = operation("patients", "put_patient")(f"p-{number}", client=client, body=patient)
        assert isinstance(made, models.PatientOut), made
        start = first + datetime.timedelta(minutes=service.minutes * number)
        visit = models.AppointmentIn(
            patient_external_id=f"p-{number}", practitioner_id=doctor.id, service_id=service.id, start=start
        )
        booked = operation("appointments", "put_appointment")(
            f"v-{number}", client=client, body=visit, idempotency_key=f"book-{number}"
        )
        assert isinstance(booked, models.AppointmentOut), booked
    seen: list[Any] = []
    while len(seen) < count:
        told = operation("changes", "get_changes")(client=client, after=at.last, epoch=at.epoch, wait=5)
        assert not told.reset
        at, seen = told, seen + told.changes
    assert [change.appointment_external_id for change in seen] == [f"v-{number}" for number in range(count)]
    again = models.PatientIn(last_name="Petit")  # leaves the phone out, which is kept
    changed = operation("patients", "put_patient")("p-0", client=client, body=again)
    assert (changed.last_name, changed.phone) == ("Petit", "+33 6 00 00 0000")
    print(f"{len(seen)} appointments")  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
