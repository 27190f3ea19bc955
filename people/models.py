"""What every user model needs whose people are patients, and the number of the last change of somebody's access."""

import uuid
from typing import Any, ClassVar, Self, TypeVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models, transaction
from django.db.models import Q
from django.utils.crypto import get_random_string
from django.utils.translation import gettext_lazy as _

from . import names, phones
from .external_ids import ExternalIdField
from .signals import person_renamed

NAMES = ("first_name", "last_name", "username")
Person = TypeVar("Person", bound="PatientFields")


def languages() -> list[tuple[str, Any]]:
    """Return settings.LANGUAGES, as the choices of a model field.

    The field gets this function instead of a list, so that adding a language to the settings needs no migration.
    """
    return list(settings.LANGUAGES)


class PersonQuerySet(models.QuerySet[Person]):
    def patients(self) -> Self:
        """Return the people who may have appointments: all active accounts but those of staff."""
        return self.filter(is_active=True, is_staff=False)

    def matching(self, text: str) -> Self:
        """Return the people who match every word of the text, by name order.

        A word is a part of the name or of the e-mail address. A phone number is one word, also if it has spaces.
        """
        found = self
        for word in phones.as_one_word(text).split():
            found = found.filter(Q(folded_name__contains=word) | Q(email__icontains=word) | Q(phone__number=word))
        return found.order_by("folded_name", "pk")

    def alike(self, person: "PatientFields") -> Self:
        """Return the people who may be `person` under another account, by name order.

        They have the same name (also if first and last name are swapped), e-mail address or phone number, or the same
        last name and birth date.
        """
        swapped = f"{person.last_name} {person.first_name}"
        same = Q(folded_name__in=[names.folded_name(person), swapped]) & ~Q(folded_name="")
        if person.email:
            same |= Q(email__iexact=person.email)
        if phones.is_phone_number(person.phone):
            same |= Q(phone__number=person.phone)
        if person.birth_date and person.last_name:
            same |= Q(birth_date=person.birth_date, folded_name__contains=person.last_name)
        return self.filter(same).exclude(pk=person.pk).order_by("folded_name", "pk")

    def update(self, **changes: Any) -> int:
        """Update as Django does; if first or last names changed, then compute `folded_name` of the updated rows.

        Django's `bulk_update` calls this method.
        """
        if names.PARTS.isdisjoint(changes):
            return super().update(**changes)
        with transaction.atomic(self.db):
            keys = list(self.values_list("pk", flat=True))
            count = super().update(**changes)
            for first in range(0, len(keys), names.BATCH_SIZE):
                batch = keys[first : first + names.BATCH_SIZE]
                names.fold_again(self.model._base_manager.using(self.db).filter(pk__in=batch))
        return count

    update.alters_data = True  # type: ignore[attr-defined]


def new_username() -> str:
    """Return a user name for a patient who was entered at the desk and has not chosen one."""
    return f"patient-{get_random_string(8, 'abcdefghjkmnpqrstuvwxyz23456789')}"


class PersonManager(UserManager[Person]):
    use_in_migrations = False

    def get_queryset(self) -> PersonQuerySet[Person]:
        return PersonQuerySet(self.model, using=self._db)

    def patients(self) -> PersonQuerySet[Person]:
        return self.get_queryset().patients()


class PatientFields(AbstractUser):
    """Django's user, with a phone number, birth date and language for e-mails: what a project's user model inherits.

    `folded_name` is what people are searched by; it follows the first and
    last name by itself.
    """

    public_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)  # for URLs
    folded_name = names.FoldedNameField(max_length=names.LONGEST, default="", editable=False)
    phone = models.CharField(_("phone"), max_length=32, blank=True)
    phone.register_lookup(phones.ContainsNumber)
    birth_date = models.DateField(_("birth date"), null=True, blank=True)
    preferred_language = models.CharField(
        _("preferred language"),
        max_length=7,
        choices=languages,
        blank=True,
        help_text=_("E-mails are written in this language or, if it is empty, in that of the last payment."),
    )

    external_id = ExternalIdField()

    objects: ClassVar[PersonManager[Self]] = PersonManager()

    class Meta(AbstractUser.Meta):
        abstract = True
        indexes = (models.Index(fields=["folded_name"], name="person_by_folded_name"),)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save and, if the name or login has changed, send `person_renamed`, in one transaction."""
        written = kwargs.get("update_fields")
        if written is not None and not set(NAMES) & set(written):  # as when somebody signs in
            super().save(*args, **kwargs)
            return
        with transaction.atomic():
            before = type(self)._base_manager.filter(pk=self.pk).values_list(*NAMES).first()
            super().save(*args, **kwargs)
            if before and before != tuple(getattr(self, name) for name in NAMES):
                person_renamed.send(type(self), user=self)

    def save_base(self, *args: Any, **options: Any) -> None:
        """Save `folded_name` whenever the first or last name is saved, even if `update_fields` or `defer()` omit it."""
        named = options.get("update_fields")
        if named is not None and not names.PARTS.isdisjoint(named):
            options["update_fields"] = {*named, "folded_name"}
        super().save_base(*args, **options)


class AccessVersion(models.Model):
    """A number that changes with each commit that may end somebody's access to the site. The table has exactly one row.

    Triggers in the database write the number (see access.py).
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    number = models.PositiveBigIntegerField(default=0, editable=False)

    class Meta:
        default_permissions = ()
        constraints = (models.CheckConstraint(condition=models.Q(id=1), name="one_access_version"),)

    def __str__(self) -> str:
        return str(self.number)
