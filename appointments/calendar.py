"""Write an appointment as an iCalendar file: https://www.rfc-editor.org/rfc/rfc5545"""

import datetime

from icalendar import Alarm, Calendar, Event

from .models import Appointment

REMIND_BEFORE = datetime.timedelta(days=1)


def to_ics(
    appointment: Appointment, *, title: str, where: str, host: str, version: int, since: datetime.datetime
) -> bytes:
    """Return an iCalendar file whose only event is the appointment, with a reminder a day before.

    `title` is all that the event says about the visit, because other people may see the patient's calendar. `where` is
    the clinic's name and address. `host` is the site's domain, which makes the event's UID unique. `version` rises with
    each change of the appointment, and `since` is the time of the last one: a calendar replaces the event that it has.
    """
    event = Event()
    event.add("uid", f"{appointment.reference}@{host}")
    event.add("sequence", version)
    event.add("dtstamp", since.astimezone(datetime.UTC))
    event.add("last-modified", since.astimezone(datetime.UTC))
    event.add("dtstart", appointment.start.astimezone(datetime.UTC))
    event.add("dtend", appointment.end.astimezone(datetime.UTC))
    event.add("summary", title)
    event.add("location", where)
    event.add("status", "CANCELLED" if appointment.canceled else "CONFIRMED")
    if not appointment.canceled:
        event.add_component(_alarm(title))
    calendar = Calendar()
    calendar.add("prodid", "-//payments-live//EN")
    calendar.add("version", "2.0")
    calendar.add_component(event)
    return bytes(calendar.to_ical())


def _alarm(title: str) -> Alarm:
    alarm = Alarm()
    alarm.add("action", "DISPLAY")
    alarm.add("description", title)
    alarm.add("trigger", -REMIND_BEFORE)
    return alarm
