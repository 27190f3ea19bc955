"""Tests that no patient receives another patient's data.

Twenty patients load pages, poll, download receipts and calendars, and read WebSocket frames in random order.
"""

import os
import random
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from appointments.models import Practitioner
from payments.live.rendering import load_frames
from payments.models import Feed, Payment
from tests.payments.clients import client_of
from tests.payments.stripe_story import Story, deliver

PATIENTS = 20
POLL = "/payments/live/"
STEPS = int(os.environ.get("CROSSINGS", "300"))  # requests and frames read in all; 10,000 take some minutes


class Visitor:
    """A patient whose name, references, amounts and ids are unique, so that a leak to another patient is seen."""

    def __init__(self, number: int, book: Any) -> None:
        name = f"Canary{number:02}x"
        self.user = User.objects.create_user(f"login{number:02}x", first_name=name, last_name=f"Family{number:02}x")
        amount = 110_000 + 137 * number
        self.payments = [book(amount + 50_000 * more, patient=self.user) for more in range(2)]
        self.client = client_of(self.user)
        self.audience = f"patient.{self.user.pk}"
        self.epoch = Feed.objects.of(self.audience).epoch
        self.paid: set[Payment] = set()
        self.turn = threading.Lock()

    def marks(self) -> list[str]:
        found = [self.user.first_name, self.user.last_name, self.user.username]
        for payment in self.payments:
            euros, cents = divmod(payment.amount_due, 100)
            found += [str(payment.public_id), payment.appointment.reference]
            found += [
                f"{euros // 1000}\u202f{euros % 1000:03},{cents:02}",
                f"{euros // 1000},{euros % 1000:03}.{cents:02}",
            ]
        return found

    def step(self, chance: random.Random, others: "list[Visitor]") -> str:
        """Make a random request as this patient, or read frames of the patient's feed; return everything received."""
        payment = chance.choice(self.payments)
        page, money = f"/appointments/{payment.appointment.reference}/", f"/payments/{payment.public_id}/"
        kind = chance.choices(["poll", "frame", "page", "list", "receipt", "calendar", "pay", "wrong"], WEIGHTS)[0]
        if kind == "frame":
            _, frames = load_frames(self.audience, chance.randint(0, 2), self.epoch, frozenset({"fr", "en"}))
            return "".join(text.decode() for each in frames.values() for _, text in each)
        if kind == "pay" and payment not in self.paid:
            self.paid.add(payment)
            return str(deliver(Story(payment).completed(), Client()).content)
        if kind == "wrong":
            theirs = chance.choice(chance.choice(others).payments)
            answer = self.client.get(f"/payments/{theirs.public_id}/receipt/")
            assert answer.status_code == 404
            return str(answer.content.decode()).replace(str(theirs.public_id), "asked for")
        paths = {
            "poll": f"{POLL}?epoch={self.epoch}&after={chance.randint(0, 2)}&lang={chance.choice(['fr', 'en'])}",
            "list": "/appointments/", "receipt": f"{money}receipt/", "calendar": f"{page}calendar.ics",
        }  # fmt: skip
        answer = self.client.get(paths.get(kind, page))
        assert answer.status_code in (200, 204, 404)
        return f"{answer.headers}{answer.content.decode()}"


WEIGHTS = [42, 42, 3, 2, 3, 3, 2, 3]


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_nothing_of_one_patient_reaches_another(book: Any, practitioner: Practitioner) -> None:
    visitors = [Visitor(number, book) for number in range(PATIENTS)]
    owner = {mark: visitor for visitor in visitors for mark in visitor.marks()}
    anybody = re.compile("|".join(map(re.escape, owner)))
    told = {visitor: set[str]() for visitor in visitors}

    def some_steps(seed: int) -> int:
        chance = random.Random(seed)
        try:
            for _ in range(STEPS // 40):
                visitor = chance.choice(visitors)
                with visitor.turn:  # a browser sends one request at a time
                    found = set(anybody.findall(visitor.step(chance, [each for each in visitors if each != visitor])))
                foreign = {mark for mark in found if owner[mark] is not visitor}
                assert not foreign, (visitor.user, foreign)
                told[visitor] |= found
            return STEPS // 40
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(some_steps, range(40))) == STEPS // 40 * 40
    assert all(len(found) >= 5 for found in told.values())  # the patients' own data does appear
