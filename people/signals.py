"""The signal that PatientFields.save sends in its transaction, so that its receivers' changes are in it too."""

from django.dispatch import Signal

person_renamed = Signal()  # receivers get `user`, whose name or login has changed
