"""`python -m payments_site.demo.sample` fills a new site with two weeks of sample data and prints the logins."""

import datetime
import os
import sys
from typing import Any
from unittest import mock

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "payments_site.settings")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    django.setup()

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.utils import timezone

from accounts.models import User
from appointments.models import Appointment, Practitioner, Prepayment, Service
from payments.desk.closing_report import Drawer
from payments.desk.closings import open_sheet, seal
from payments.models import Payment
from payments_site.demo import stories

PASSWORD = "demo"  # noqa: S105 - the banner prints it
PASSWORD_HASH = make_password(PASSWORD)  # made once, because hashing is slow on purpose
PATIENTS = {
    "camille": "Camille Roux",
    "hugo": "Hugo Lefèvre",
    "ines": "Inès Moreau",
    "louis": "Louis Girard",
    "jade": "Jade Fontaine",
    "nathan": "Nathan Chevalier",
    "lea": "Léa Marchand",
    "yanis": "Yanis Benali",
    "manon": "Manon Dupuis",
    "arthur": "Arthur Colin",
    "chloe": "Chloé Perrin",
}
ABROAD = {"aiko": "Aiko Tanaka"}  # pays in yen
PRACTITIONERS = {
    "Dr Anne Mercier": ("Dermatologie", [("Consultation", 5500), ("Contrôle annuel", 7000)]),
    "Dr Karim Haddad": ("Cardiologie", [("Consultation", 6000), ("Électrocardiogramme", 4200)]),
    "Julie Lambert": ("Kinésithérapie", [("Séance", 2500), ("Bilan", 3800)]),
    "Dr Sophie Nguyen": ("Pédiatrie", [("Consultation", 3500), ("Vaccination", 3000)]),
}
EARLIER: list[stories.Story] = [
    stories.cash, stories.terminal, stories.cheque, stories.missed, stories.insured, stories.cash, stories.transfer,
]  # fmt: skip
YESTERDAY: list[stories.Story] = [
    stories.paid, stories.cash, stories.paid, stories.refunded, stories.terminal, stories.dispute_won,
    stories.part_refunded, stories.missed, stories.refund_failed, stories.paid, stories.given_back,
    stories.cash_and_card, stories.debit_returned, stories.fee_kept, stories.lost_in_part, stories.no_show_fee,
]  # fmt: skip
TODAY: list[stories.Story] = [
    stories.paid, stories.cash, stories.declined, stories.cheque, stories.debit, stories.mistyped, stories.expired,
    stories.double, stories.disputed, stories.paid_then_canceled, stories.opened, stories.unpaid, stories.unpaid,
    stories.insured, stories.overpaid, stories.inquiry, stories.refund_to_approve, stories.unpaid,
]  # fmt: skip
AHEAD: list[stories.Story] = [
    stories.paid_deposit, stories.deposit_asked, stories.paid, stories.unpaid, stories.debit_failed, stories.unpaid,
    stories.paid, stories.canceled, stories.fee_due, stories.unpaid, stories.unpaid, stories.paid,
    stories.card_asked, stories.card_kept,
]  # fmt: skip
STILL_OPEN = (stories.opened, stories.declined)  # stories that leave a payment page open, for an hour at most
CHECK_UP: dict[str, Any] = {"service": "Bilan de santé", "price_amount": 9000, "deposit_amount": 3000}
FEE: dict[str, Any] = {"prepayment": Prepayment.CARD, "no_show_fee_amount": 2000}
# What is booked for a story, where it differs from other appointments.
BOOKED_FOR: dict[stories.Story, dict[str, Any]] = {
    stories.paid_deposit: CHECK_UP,
    stories.deposit_asked: CHECK_UP,
    stories.card_asked: FEE,
    stories.card_kept: FEE,
    stories.no_show_fee: FEE,
    stories.refund_to_approve: {"service": "Bilan de santé", "price_amount": 15000},
}


def person(login: str, name: str, **details: Any) -> User:
    first, last = name.rsplit(" ", 1)
    about = {"email": f"{login}@example.com", "first_name": first, "last_name": last}
    return User.objects.create(username=login, password=PASSWORD_HASH, **about, **details)


def patient(number: int, login: str, name: str) -> User:
    born = datetime.date(1950 + number * 5, 1 + number, 3 + 2 * number)
    return person(login, name, phone=f"06 39 98 {number:02} {10 + number * 7}", birth_date=born)


def make_services() -> None:
    for _specialty, services in PRACTITIONERS.values():
        for name, price in services:
            Service.objects.get_or_create(name=name, defaults={"price_amount": price})
    details = {field: CHECK_UP[field] for field in ("price_amount", "deposit_amount")}
    Service.objects.create(name=CHECK_UP["service"], minutes=45, prepayment=Prepayment.DEPOSIT, **details)


def book_appointments(patients: list[User], visitor: User) -> list[tuple[Payment, stories.Story]]:
    practitioners = [
        (Practitioner.objects.create(name=name, specialty=specialty), services)
        for name, (specialty, services) in PRACTITIONERS.items()
    ]
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    earlier = [(-ago, EARLIER[: 4 + ago % 4]) for ago in range(13, 1, -1)]
    plan = [*earlier, (-1, YESTERDAY), (0, TODAY), (1, AHEAD[:7]), (2, AHEAD[7:])]
    booked = []
    for day, stories_of_day in plan:
        for slot, story in enumerate(stories_of_day):
            number = slot + 3 * day
            practitioner, services = practitioners[number % len(practitioners)]
            service, price = services[slot % len(services)]
            start = midnight + datetime.timedelta(days=day, hours=8, minutes=30 + 30 * slot)
            details: dict[str, Any] = {"service": service, "price_amount": price} | BOOKED_FOR.get(story, {})
            appointment = Appointment.objects.create(
                patient=patients[(slot + (day < -1) * 4) % len(patients)],  # few past visits for the demo's logins
                practitioner=practitioner,
                start=start,
                end=start + datetime.timedelta(minutes=30),
                status=Appointment.Status.COMPLETED if start < timezone.now() else Appointment.Status.BOOKED,
                **details,
            )
            booked.append((appointment, story))
    start = midnight + datetime.timedelta(hours=17, minutes=45)
    abroad = Appointment.objects.create(
        patient=visitor,
        practitioner=practitioners[1][0],
        service="Téléconsultation",
        start=start,
        end=start + datetime.timedelta(minutes=20),
        price_amount=8000,
        currency="jpy",
    )
    return [(Payment.objects.with_appointment().get(appointment=a), s) for a, s in [*booked, (abroad, stories.paid)]]


def payment_offset(appointment: Appointment, story: stories.Story) -> float:
    """Return by how many seconds (0 or negative) to move the clocks while the appointment's payment is made.

    A past appointment is paid at its start, but a payment page that is still open was opened now.
    """
    since_start = (timezone.now() - appointment.start).total_seconds()
    return 0 if story in STILL_OPEN else -max(0, since_start)


def close_days(clerk: User) -> None:
    """Close the till on each day before today, at 18:42. One evening 2.10 too much is counted."""
    float_left = 10000
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    for ago in range(13, 0, -1):
        evening = midnight - datetime.timedelta(days=ago) + datetime.timedelta(hours=18, minutes=42)
        with mock.patch("time.time", evening.timestamp):
            sheet = open_sheet(evening.date())
            if sheet.day != evening.date():
                continue
            surplus = 210 if ago == 4 else 0
            net = sheet.drawers.get("eur", 0)
            drawer = Drawer("eur", sheet.before.get("eur", 0), float_left, float_left + net + surplus, float_left)
            found = {(line.tally.currency, line.tally.method): line.tally.net for line in sheet.lines}
            reason = "Fond de caisse apporté" if ago == 13 else "Monnaie rendue en moins" if surplus else ""
            seal(sheet.day, found, [drawer], reason, clerk, seen=sheet.fingerprint)


def main() -> None:
    clerk = person("accueil", "Nadia Petit", is_staff=True)
    clerk.groups.add(Group.objects.get(name="front desk"))
    person("compta", "Claire Simon", is_staff=True).groups.add(Group.objects.get(name="accountant"))
    person("admin", "Paul Arnaud", is_staff=True, is_superuser=True)
    patients = [patient(number, *names) for number, names in enumerate(PATIENTS.items())]
    visitor = next(person(login, name) for login, name in ABROAD.items())
    make_services()
    for payment, story in book_appointments(patients, visitor):
        with stories.clock(payment_offset(payment.appointment, story)):
            story(payment, clerk)
    stories.stripe("clock", offset=0)  # exactly, whatever the sum of the moves
    stories.transfers()
    stories.stripe("clock", offset=0)
    stories.wait_for_webhooks()
    close_days(clerk)
    for login, role in (
        ("camille", "patient"),
        ("hugo", "patient"),
        ("accueil", "staff"),
        ("compta", "accountant"),
        ("admin", "admin"),
    ):
        sys.stdout.write(f"login {login} {PASSWORD} {role}\n")


if __name__ == "__main__":
    main()
