"""Signals for other Python code. They are sent after the commit, and a receiver that raises stops no other one.

Receivers get `payment` (Payment), `change` (StatusChange) and `entries` (list of FeedEntry).
"""

from django.dispatch import Signal

payment_status_changed = Signal()  # each change of a payment
payment_confirmed = Signal()  # the status became PAID
