"""Write appointments as an iCalendar file: https://www.rfc-editor.org/rfc/rfc5545"""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from icalendar import Alarm, Calendar, Event

from .models import Appointment

REMIND_BEFORE = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Entry:
    """An appointment as a calendar shows it.

    `title` is all that it says about the visit, because other people may see the calendar. `version` rises with each
    change of the appointment, and `since` is the time of the last one: a calendar replaces the event that it has.
    """

    appointment: Appointment
    title: str
    version: int
    since: datetime.datetime


def to_ics(entries: Iterable[Entry], *, where: str, host: str, remind: bool = False) -> bytes:
    """Return an iCalendar file with an event for each entry, with a reminder a day before if `remind`.

    `where` is the clinic's name and address. `host` is the site's domain, which makes the events' UIDs unique. The
    same entries always make the same bytes.
    """
    calendar = Calendar()
    calendar.add("prodid", "-//payments-live//EN")
    calendar.add("version", "2.0")
    for entry in entries:
        calendar.add_component(_event(entry, where, host, remind=remind))
    return bytes(calendar.to_ical())


def _event(entry: Entry, where: str, host: str, *, remind: bool) -> Event:
    appointment, since = entry.appointment, entry.since.astimezone(datetime.UTC)
    event = Event()
    event.add("uid", f"{appointment.reference}@{host}")
    event.add("sequence", entry.version)
    event.add("dtstamp", since)
    event.add("last-modified", since)
    event.add("dtstart", appointment.start.astimezone(datetime.UTC))
    event.add("dtend", appointment.end.astimezone(datetime.UTC))
    event.add("summary", entry.title)
    event.add("location", where)
    event.add("status", "CANCELLED" if appointment.canceled else "CONFIRMED")
    if remind and not appointment.canceled:
        event.add_component(_alarm(entry.title))
    return event


def _alarm(title: str) -> Alarm:
    alarm = Alarm()
    alarm.add("action", "DISPLAY")
    alarm.add("description", title)
    alarm.add("trigger", -REMIND_BEFORE)
    return alarm
