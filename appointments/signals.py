"""The signal that Appointment.save sends, so that the payments app can create or update the appointment's payment.

It is sent inside the transaction that saves the appointment, so that either both are saved or neither is.
"""

from django.dispatch import Signal

appointment_saved = Signal()  # receivers get `appointment` and `actor` (a user or None)
