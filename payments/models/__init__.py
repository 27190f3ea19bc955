from .event import EventReceipt
from .fact import Fact
from .feed import Feed, FeedEntry, patient_audience
from .payment import Payment, StatusChange

__all__ = ["EventReceipt", "Fact", "Feed", "FeedEntry", "Payment", "StatusChange", "patient_audience"]
