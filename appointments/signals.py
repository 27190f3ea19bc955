"""Signals that models send inside the transaction of their save, so that what follows commits with it or not at all."""

from django.dispatch import Signal

appointment_saved = Signal()  # receivers get `appointment`, `before` (the appointment as it was, or None) and `actor`
practitioner_renamed = Signal()  # receivers get `practitioner`, whose name or specialty has changed
