"""Practitioners, services, and appointments with their price. Nothing here depends on payments."""

import datetime
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from people.external_ids import ExternalIdField

from .money import check_price, format_amount
from .signals import appointment_checked, appointments_saved, practitioner_renamed

# Days beyond these have been mistyped; a little further Python's and the databases' dates overflow.
FIRST_DAY, LAST_DAY = datetime.date(1900, 1, 1), datetime.date(2200, 12, 31)
SHORTEST, LONGEST = 5, 480  # minutes of an appointment
MINUTES = [MinValueValidator(SHORTEST), MaxValueValidator(LONGEST)]
BATCH = 500  # rows that are written by one statement
AMOUNTS = ("price_amount", "deposit_amount", "fee_amount", "no_show_fee_amount")
REFERENCE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # without 0, O, 1, I and L, which people confuse


def new_reference() -> str:
    """Return eight random characters that a patient can read out at the desk, such as "K7QM2XPA"."""
    return "".join(secrets.choice(REFERENCE_ALPHABET) for _ in range(8))


class Currency(models.TextChoices):
    EUR = "eur", "EUR"
    CHF = "chf", "CHF"
    GBP = "gbp", "GBP"
    USD = "usd", "USD"
    JPY = "jpy", "JPY"
    KWD = "kwd", "KWD"


class Prepayment(models.TextChoices):
    """What the patient is asked for before the appointment. Paying online stays possible with each of them."""

    NOTHING = "nothing", _("Nothing")
    DEPOSIT = "deposit", _("Deposit")
    PRICE = "price", _("Whole price")
    CARD = "card", _("Card kept for a no-show fee")


def check_amounts(amounts: Mapping[str, int | None], price: int, currency: str) -> None:
    """Raise ValidationError if Stripe can't charge one of the amounts, or if one is more than the price.

    All are in minor units of `currency`; `amounts` holds them by the name of their field.
    """
    refused: dict[str, ValidationError] = {}
    for name, amount in amounts.items():
        try:
            check_price(amount or 0, currency)
            if (amount or 0) > price:
                limit = {"price": format_amount(price, currency)}
                raise ValidationError(_("This is more than the price, %(price)s."), params=limit)
        except ValidationError as error:
            refused[name] = error
    if refused:
        raise ValidationError(refused)


def check_prepayment(prepayment: str, deposit: int, no_show_fee: int) -> None:
    """Raise ValidationError if the amount is missing that belongs to what is asked for in advance."""
    missing = {
        Prepayment.DEPOSIT.value: "" if deposit else "deposit_amount",
        Prepayment.CARD.value: "" if no_show_fee else "no_show_fee_amount",
    }
    if name := missing.get(prepayment):
        raise ValidationError({name: _("Enter an amount above zero.")})


class Practitioner(models.Model):
    name = models.CharField(_("name"), max_length=120)
    specialty = models.CharField(_("specialty"), max_length=120)
    professional_number = models.CharField(
        _("professional number"),
        max_length=60,
        blank=True,
        help_text=_("As receipts show it, such as “RPPS 10000000000” or “GMC 0000000”."),
    )
    active = models.BooleanField(pgettext_lazy("in use", "active"), default=True)
    external_id = ExternalIdField()

    class Meta:
        ordering = ("name",)
        verbose_name = _("practitioner")
        verbose_name_plural = _("practitioners")

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save and, if the name or specialty has changed, send `practitioner_renamed`, in one transaction."""
        with transaction.atomic():
            before = Practitioner.objects.filter(pk=self.pk).first()
            super().save(*args, **kwargs)
            if before and (before.name, before.specialty) != (self.name, self.specialty):
                practitioner_renamed.send(Practitioner, practitioner=self)


class Service(models.Model):
    """What practitioners offer. A booking copies its name, length and prices, which may then differ.

    Amounts are in minor units of the currency.
    """

    name = models.CharField(_("name"), max_length=120, unique=True)
    minutes = models.PositiveSmallIntegerField(_("length in minutes"), default=30, validators=MINUTES)
    price_amount = models.PositiveIntegerField(_("price"))
    deposit_amount = models.PositiveIntegerField(
        _("deposit"), default=0, help_text=_("What the patient pays first; 0 for no deposit.")
    )
    prepayment = models.CharField(
        _("asked for in advance"), max_length=8, choices=Prepayment, default=Prepayment.NOTHING
    )
    no_show_fee_amount = models.PositiveIntegerField(
        _("no-show fee"), default=0, help_text=_("The most that may be charged to a kept card; 0 to keep no card.")
    )
    currency = models.CharField(_("currency"), max_length=3, choices=Currency, default=Currency.EUR)
    active = models.BooleanField(
        pgettext_lazy("in use", "active"), default=True, help_text=_("Only active services can be booked.")
    )

    class Meta:
        ordering = ("name",)
        verbose_name = _("service")
        verbose_name_plural = _("services")

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.price_amount is not None:
            names = ("price_amount", "deposit_amount", "no_show_fee_amount")
            check_amounts({name: getattr(self, name) for name in names}, self.price_amount, self.currency)
        check_prepayment(self.prepayment, self.deposit_amount or 0, self.no_show_fee_amount or 0)


class AppointmentQuerySet(models.QuerySet["Appointment"]):
    def overlapping(self, start: datetime.datetime, end: datetime.datetime) -> Self:
        """Return the appointments that overlap the time from `start` to `end` and are not canceled."""
        return self.filter(start__lt=end, end__gt=start).exclude(status=Appointment.Status.CANCELED)

    def upcoming(self) -> Self:
        """Return the appointments that have not ended yet, the earliest first."""
        return self.filter(end__gte=timezone.now()).order_by("start")

    def past(self) -> Self:
        """Return the appointments that have ended, the latest first."""
        return self.filter(end__lt=timezone.now()).order_by("-start")

    def save_together(self, appointments: "Sequence[Appointment]", actor: AbstractBaseUser | None = None) -> None:
        """Save all fields of these appointments, new and changed ones, as many calls of `Appointment.save` would.

        The signal `appointments_saved` is sent once for all of them, in the transaction that saves them.
        """
        with transaction.atomic():
            stored = self.select_for_update().order_by("pk").in_bulk([each.pk for each in appointments if each.pk])
            saved = [Saved(each, stored.get(each.pk)) for each in appointments]
            for each in saved:
                each.forget_arrival_of_another_day()
            self.bulk_create([each.appointment for each in saved if not each.before], batch_size=BATCH)
            if names := set().union(*(each.changed_fields for each in saved)):
                self.bulk_update([each.appointment for each in saved if each.before], sorted(names), batch_size=BATCH)
            appointments_saved.send(Appointment, saved=saved, actor=actor)


class Appointment(models.Model):
    class Status(models.TextChoices):
        BOOKED = "booked", _("Booked")
        COMPLETED = "completed", _("Attended")
        CANCELED = "canceled", _("Cancelled")
        NO_SHOW = "no_show", _("No-show")

    reference = models.CharField(_("reference"), max_length=8, unique=True, default=new_reference, editable=False)
    patient = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="appointments", verbose_name=_("patient")
    )
    practitioner = models.ForeignKey(
        Practitioner, models.PROTECT, related_name="appointments", verbose_name=_("practitioner")
    )
    service = models.CharField(_("service"), max_length=120)
    start = models.DateTimeField(_("start"), db_index=True)
    end = models.DateTimeField(_("end"))
    status = models.CharField(_("attendance"), max_length=12, choices=Status, default=Status.BOOKED)
    # Amounts are in minor units of the currency; people type major units (fields.py).
    price_amount = models.PositiveIntegerField(_("price"))
    deposit_amount = models.PositiveIntegerField(
        _("deposit"), default=0, help_text=_("What the patient pays first; 0 for no deposit.")
    )
    fee_amount = models.PositiveIntegerField(
        _("cancellation fee"), default=0, help_text=_("What the clinic keeps after a cancellation.")
    )
    prepayment = models.CharField(
        _("asked for in advance"), max_length=8, choices=Prepayment, default=Prepayment.NOTHING
    )
    no_show_fee_amount = models.PositiveIntegerField(
        _("no-show fee"),
        default=0,
        help_text=_("The most that may be charged to a kept card; 0 to keep no card."),
    )
    currency = models.CharField(_("currency"), max_length=3, choices=Currency, default=Currency.EUR)
    # Made when the desk's form is shown, so that a form sent twice books once.
    key = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    arrived_at = models.DateTimeField(_("arrived"), null=True, blank=True, editable=False)
    external_id = ExternalIdField()

    objects = AppointmentQuerySet.as_manager()

    class Meta:
        ordering = ("start", "pk")
        verbose_name = _("appointment")
        verbose_name_plural = _("appointments")
        permissions = (("import_appointment", "Can import appointments from a file"),)
        constraints = (
            models.CheckConstraint(condition=models.Q(end__gt=models.F("start")), name="appointment_ends_after_start"),
        )

    def __str__(self) -> str:
        return self.reference

    def save(self, *args: Any, actor: AbstractBaseUser | None = None, **kwargs: Any) -> None:
        """Save and send the signal `appointments_saved` in one transaction. `actor` is the user who makes the change.

        With `update_fields`, the other fields are loaded from the database, so that receivers see what others saved.
        """
        with transaction.atomic():
            before = Appointment.objects.select_for_update().filter(pk=self.pk).first()
            saved = Saved(self, before)
            if before and (names := kwargs.get("update_fields")):
                for field in self._meta.concrete_fields:
                    if field.name not in names:
                        setattr(self, field.attname, getattr(before, field.attname))
            else:
                saved.forget_arrival_of_another_day()
            super().save(*args, **kwargs)
            appointments_saved.send(Appointment, saved=[saved], actor=actor)

    def clean(self) -> None:
        if self.start and not FIRST_DAY <= self.start.date() <= LAST_DAY:
            raise ValidationError({"start": _("Check the year.")})
        if self.start and self.end and self.end <= self.start:
            raise ValidationError({"end": _("An appointment must end after it starts.")})
        self._check_amounts()
        check_prepayment(self.prepayment, self.deposit_amount or 0, self.no_show_fee_amount or 0)
        appointment_checked.send(Appointment, appointment=self)

    def _check_amounts(self) -> None:
        """Raise ValidationError if Stripe can't charge the price, the deposit or a fee, or if one exceeds the price.

        Amounts that were saved before are not checked, so that the appointment's other fields can be changed.
        """
        amounts = {name: getattr(self, name) for name in AMOUNTS}
        now = {**amounts, "currency": self.currency}
        stored = Appointment.objects.filter(pk=self.pk).values(*now).first() if self.pk else None
        if self.price_amount is None or now == stored:
            return
        check_amounts(amounts, self.price_amount, self.currency)

    @property
    def canceled(self) -> bool:
        return self.status == self.Status.CANCELED

    @property
    def may_arrive(self) -> bool:
        """Return whether staff may note that the patient has arrived: its day has come, and it isn't canceled."""
        return not self.canceled and timezone.localdate(self.start) <= timezone.localdate()

    def note_arrival(self, *, arrived: bool, actor: AbstractBaseUser) -> None:
        """Note that the patient has arrived now, or take that back. An arrival that was noted before keeps its time."""
        with transaction.atomic():
            row = Appointment.objects.select_for_update().get(pk=self.pk)
            if arrived == bool(row.arrived_at) or not row.may_arrive:
                return
            row.arrived_at = timezone.now() if arrived else None
            row.save(actor=actor, update_fields=["arrived_at"])

    def slot_resold(self) -> bool:
        """Return whether this appointment is canceled and its practitioner has another one that overlaps it in time."""
        if not self.canceled:
            return False
        others = Appointment.objects.overlapping(self.start, self.end).exclude(pk=self.pk)
        return others.filter(practitioner=self.practitioner_id).exists()


@dataclass(frozen=True, slots=True)
class Saved:
    """An appointment that is being saved. `before` is the appointment as it is stored, or None if it is new."""

    appointment: Appointment
    before: Appointment | None

    @property
    def changed_fields(self) -> set[str]:
        """Return the names of the fields whose stored values differ; none if the appointment is new."""
        fields = Appointment._meta.concrete_fields if self.before else ()
        changed = (
            each for each in fields if getattr(self.before, each.attname) != getattr(self.appointment, each.attname)
        )
        return {each.name for each in changed}

    def forget_arrival_of_another_day(self) -> None:
        """Remove the arrival if the appointment was moved to another day: the patient has not come for that day."""
        if self.before and timezone.localdate(self.before.start) != timezone.localdate(self.appointment.start):
            self.appointment.arrived_at = None
