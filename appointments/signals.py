"""The signal that Appointment.save sends inside its transaction, so that the payment is saved with it or not at all."""

from django.dispatch import Signal

appointment_saved = Signal()  # receivers get `appointment` and `actor` (a user or None)
