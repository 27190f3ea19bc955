"""The user model; the clinic's staff and its patients have accounts of this one kind."""

from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from people.models import PatientFields


class User(PatientFields):
    """A person's login. Each e-mail address belongs to one account."""

    class Meta(PatientFields.Meta):
        constraints = (
            models.UniqueConstraint(
                Lower("email"),
                name="one_account_per_email",
                condition=~models.Q(email=""),
                violation_error_message=_("Another account has this e-mail address."),
            ),
        )
