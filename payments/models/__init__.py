from ..db import lookups as lookups
from .balance_link import BalanceLink
from .change import StatusChange
from .closing import Closing, ClosingHead
from .cursor import Cursor
from .customer import Customer
from .email import Correspondent, Email, FeedReader
from .event import EventReceipt
from .fact import Fact
from .feed import Feed, FeedEntry, patient_audience
from .installation import Installation
from .job import BackgroundJob
from .journal_line import JournalLine
from .note import Note
from .online_entry import OnlineEntry
from .pay_link import PayLink
from .payment import Payment
from .quarantine import QuarantinedObject
from .record_view import RecordView

__all__ = [
    "BackgroundJob",
    "BalanceLink",
    "Closing",
    "ClosingHead",
    "Correspondent",
    "Cursor",
    "Customer",
    "Email",
    "EventReceipt",
    "Fact",
    "Feed",
    "FeedEntry",
    "FeedReader",
    "Installation",
    "JournalLine",
    "Note",
    "OnlineEntry",
    "PayLink",
    "Payment",
    "QuarantinedObject",
    "RecordView",
    "StatusChange",
    "patient_audience",
]
