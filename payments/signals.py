"""Hooks for Python code: sent after commit, and a receiver that raises disturbs nobody (`send_robust`).

Receivers get `payment` (Payment), `change` (StatusChange) and `entries` (list of FeedEntry).
"""

from django.dispatch import Signal

payment_status_changed = Signal()  # every move of a payment's standing
payment_confirmed = Signal()  # the status became PAID
