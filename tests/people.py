"""Creates users with sessions and appointments in the default database, in a test or in a live site's process."""

import datetime
import functools
from typing import TypedDict

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.hashers import Argon2PasswordHasher, make_password
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from accounts.models import User
from appointments.models import Appointment, Practitioner, Service
from payments.models import Installation


class Made(TypedDict):
    """A created user, ready for JSON; `payments` holds (public id, amount in minor units, appointment's reference).

    `epoch` is the epoch of new feeds (lists of changes), to which the numbers of the user's pages belong.
    """

    name: str
    id: int
    session: str
    epoch: str
    payments: list[tuple[str, int, str]]


def make(staff: int, patients: int, each: int, password: str | None = None, also: str = "") -> list[Made]:
    """Create `staff` members of staff and `patients` patients, and return them, staff first.

    Each patient has `each` appointments today from noon on. `also` is appended to user names, as in staff0also.
    Without `password` the users can't sign in with a password.
    """
    hashed = _hash(password) if password else make_password(None)
    Service.objects.get_or_create(name="Bilan", minutes=45, price_amount=9000, deposit_amount=3000)
    doctor, _ = Practitioner.objects.get_or_create(name="Dr Anne Mercier", specialty="Dermatology")
    desk = [_person(f"staff{number}{also}", hashed, is_staff=True) for number in range(staff)]
    treated = [_person(f"patient{number}{also}", hashed) for number in range(patients)]
    for patient in treated:
        patient["payments"] = [_book(doctor, patient["id"], number) for number in range(each)]
    return desk + treated


@functools.cache
def _hash(password: str) -> str:
    """Return the password's Argon2 hash, as live sites use it; cached, because hashing takes a tenth of a second."""
    return Argon2PasswordHasher().encode(password, "salted by tests")


def _person(name: str, hashed: str, **fields: bool) -> Made:
    about = {"email": f"{name}@clinic.example", "first_name": name.title(), "last_name": "Canary", "password": hashed}
    user = User.objects.create(username=name, **about, **fields)
    session = SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    epoch = Installation.objects.get().epoch
    return {"name": name, "id": user.pk, "session": str(session.session_key), "epoch": epoch, "payments": []}


def _book(doctor: Practitioner, patient: int, number: int) -> tuple[str, int, str]:
    noon = timezone.localtime().replace(hour=12, minute=0, second=0, microsecond=0)
    start = noon + datetime.timedelta(minutes=number)
    visit = Appointment.objects.create(
        patient_id=patient, practitioner=doctor, service="Consultation", start=start,
        end=start + datetime.timedelta(minutes=20), price_amount=5000 + number, currency="eur",
    )  # fmt: skip
    return str(visit.payment.public_id), visit.payment.amount_due, visit.reference
