"""Sent inside the transaction that saves an appointment, so that whoever bills for it succeeds or fails with it."""

from django.dispatch import Signal

appointment_saved = Signal()  # receivers get `appointment` and `actor` (a user or None)
