"""The signal that User.save sends inside its transaction, so that the receivers' changes commit or fail with it."""

from django.dispatch import Signal

person_renamed = Signal()  # receivers get `user`, whose name or login has changed
