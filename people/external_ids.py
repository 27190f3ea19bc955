"""Ids that another program gives to what it has in common with this site."""

import re
from typing import Any

from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

LONGEST = 64
# Characters that a URL's path holds as they are.
VALID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._~:-]{{0,{LONGEST - 1}}}")
RULE = _("An external id has up to 64 letters without accents, digits, and any of “. _ ~ : -”.")


class ExternalIdField(models.CharField):  # type: ignore[type-arg]
    """The id of a row in the clinic's other software; None if that software doesn't know the row."""

    default_validators = [RegexValidator(rf"\A{VALID.pattern}\Z", RULE)]

    def __init__(self, *args: Any, **options: Any) -> None:
        given: dict[str, Any] = {
            "max_length": LONGEST,
            "null": True,
            "blank": True,
            "unique": True,
            "verbose_name": _("external id"),
        }
        super().__init__(*args, **given | options)
