"""The signal that Appointment.save sends in its transaction, so that billing commits or rolls back with it."""

from django.dispatch import Signal

appointment_saved = Signal()  # receivers get `appointment` and `actor` (a user or None)
