"""The signals that an appointment sends, so that the payments app can follow it.

Appointment.save sends `appointment_saved`, so that the payments app creates or updates the appointment's payment. It is
sent inside the transaction that saves the appointment, so that either both are saved or neither is.
Appointment.clean sends `appointment_checked`; receivers refuse the appointment by raising ValidationError.
"""

from django.dispatch import Signal

appointment_saved = Signal()  # receivers get `appointment` and `actor` (a user or None)
appointment_checked = Signal()  # receivers get `appointment`
