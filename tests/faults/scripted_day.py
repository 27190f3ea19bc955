"""`python -m tests.faults.scripted_day N` makes N payments with various outcomes, four at a time.

`book N` and `live FIRST COUNT` do it in two steps: first the appointments, then the payments of some of them. The
environment variables must be those of a running site with the Stripe sandbox.
"""

import datetime
import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import django

if __name__ == "__main__":
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    django.setup()

from django.db import connection
from django.utils import timezone

from accounts.models import User
from appointments.models import Appointment, Practitioner
from payments.models import Payment
from payments_site.demo import stories

OUTCOMES: list[tuple[stories.Story, int]] = [  # (story, how often in a hundred payments)
    (stories.paid, 50),
    (stories.declined, 10),
    (stories.expired, 8),
    (stories.debit, 5),
    (stories.debit_failed, 5),
    (stories.cash, 5),
    (stories.disputed, 3),
    (stories.dispute_won, 3),
    (stories.opened, 5),
]
DELIVERY = ("normal", "duplicate", "reverse", "delay")


def book(count: int) -> list[int]:
    doctor = Practitioner.objects.create(name="Dr Anne Mercier", specialty="Dermatology")
    patient = User.objects.create_user("patient", email="patient@example.com")
    start = timezone.now()
    ids = []
    for _ in range(count):
        end = start + datetime.timedelta(minutes=20)
        visit = Appointment.objects.create(
            patient=patient, practitioner=doctor, service="Consultation", start=start, end=end, price_amount=5000
        )
        ids.append(visit.pk)
    return ids


def live_through(appointment_id: int, story: stories.Story, clerk: User) -> None:
    try:
        story(Payment.objects.with_appointment().get(appointment_id=appointment_id), clerk)
    finally:
        connection.close()


def live(ids: list[int]) -> None:
    count, chance = len(ids), random.Random(len(ids))
    clerk, _ = User.objects.get_or_create(username="clerk", is_staff=True)
    told = chance.choices([story for story, _ in OUTCOMES], [weight for _, weight in OUTCOMES], k=count)
    with ThreadPoolExecutor(4) as people:
        for first in range(0, count, 50):
            stories.stripe("delivery", mode=chance.choice(DELIVERY), seconds=0.5)
            share = slice(first, first + 50)
            list(people.map(live_through, ids[share], told[share], [clerk] * 50))
    stories.stripe("delivery", mode="normal")
    stories.wait_for_webhooks()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["book", count]:
            book(int(count))
        case ["live", first, count]:
            ids = list(Appointment.objects.order_by("pk").values_list("pk", flat=True))
            live(ids[int(first) : int(first) + int(count)])
        case [count]:
            live(book(int(count)))
