"""The signals of appointments, so that the payments app can follow them.

`appointments_saved` and `practitioner_renamed` are sent inside the transaction that saves, so that the receivers'
changes commit or fail with it. Receivers of `appointment_checked` refuse the appointment by raising ValidationError.
"""

from django.dispatch import Signal

appointments_saved = Signal()  # receivers get `saved`, a list of appointments.models.Saved, and `actor`
appointment_checked = Signal()  # receivers get `appointment`; Appointment.clean sends it
practitioner_renamed = Signal()  # receivers get `practitioner`, whose name or specialty has changed
