"""The signal that User.save sends inside its transaction, so that what follows commits with it or not at all."""

from django.dispatch import Signal

person_renamed = Signal()  # receivers get `user`, whose name or login has changed
