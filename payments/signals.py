"""Signals about payments that other apps can connect to.

They are sent after the change is committed. If a receiver raises, the other receivers still run. Receivers get
`payment` (Payment), `change` (StatusChange) and `entries` (list of FeedEntry).
"""

from django.dispatch import Signal

changes_sent = Signal()  # `changes` that the database is just storing: receivers can prepare, but must tell nobody yet
entries_committed = Signal()  # `entries` of one transaction; sent before the others, so that open pages come first
payment_status_changed = Signal()  # sent for each change of a payment
payment_confirmed = Signal()  # sent when the status becomes PAID

# Sent when staff send a pay link by text message, with `phone` and `text`. Receivers send the text, and raise if they
# can't. The function named by the setting CLINIC_SMS_FUNCTION is a receiver. Without receivers pages show no button
# for it.
sms_requested = Signal()

# Sent by `manage.py prune`, with `logs_before`, the time before which logs of what was read are deleted. Receivers
# delete the old records of their own app, and return what they deleted as text, such as "12 kept answers".
pruning = Signal()
