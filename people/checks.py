"""System checks of what the apps `appointments` and `payments` need of a project's user model and way of signing in."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, register
from django.db import models
from django.utils.module_loading import import_string

from .conf import PeopleSettings, app_settings, problems
from .models import PatientFields, PersonQuerySet
from .sign_in import SignIn

TAG = "people"


@register(TAG)
def declared_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return problems(PeopleSettings, "clinic_people")


@register(TAG)
def user_model(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check that the user model has the fields of a patient, and the manager that finds patients."""
    model: Any = get_user_model()
    if not issubclass(model, PatientFields):
        return [
            Error(
                f"The user model {settings.AUTH_USER_MODEL} lacks the fields of a patient, such as the phone number.",
                hint="Write `class User(PatientFields)` with `from people.models import PatientFields`, which inherits"
                " Django's AbstractUser. Then run makemigrations and migrate.",
                id="clinic_people.E001",
            )
        ]
    if not isinstance(model._meta.pk, models.IntegerField):
        return [
            Error(
                f"The key of the user model {settings.AUTH_USER_MODEL} is no whole number, but sockets and feeds name"
                " people by it.",
                hint="Leave out the field with primary_key=True: Django then adds a number. PatientFields has"
                " public_id, a UUID for URLs.",
                id="clinic_people.E004",
            )
        ]
    if not isinstance(model._default_manager.all(), PersonQuerySet):
        return [
            Error(
                f"The manager of the user model {settings.AUTH_USER_MODEL} can't find patients.",
                hint="Let your manager inherit people.models.PersonManager, which inherits Django's UserManager.",
                id="clinic_people.E002",
            )
        ]
    return []


@register(TAG)
def sign_in_policy(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check that the setting CLINIC_SIGN_IN, if there is one, is the dotted path of a subclass of SignIn."""
    path = app_settings.CLINIC_SIGN_IN
    try:
        found = import_string(path)
    except ImportError:
        found = None
    if isinstance(found, type) and issubclass(found, SignIn):
        return []
    return [
        Error(
            f"The setting CLINIC_SIGN_IN is {path!r}, which is no subclass of people.sign_in.SignIn.",
            hint="Set CLINIC_SIGN_IN to the dotted path of your subclass, or remove it: then nobody has to prove again"
            " who they are before money moves, and patients are not invited by e-mail.",
            id="clinic_people.E003",
        )
    ]
