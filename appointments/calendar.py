"""Write an appointment as an iCalendar file: https://www.rfc-editor.org/rfc/rfc5545"""

import datetime

from .models import Appointment

LINE_OCTETS = 75


def to_ics(appointment: Appointment, *, title: str, where: str, host: str) -> str:
    """Return a calendar with the appointment as its one event.

    `title` is all that it says of the visit, because calendars are shared and synchronised. `where` is the clinic and
    `host` the site's domain, which makes the event's UID unique.
    """
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        f"PRODID:-//{_text(where)}//payments-live//EN",
        "BEGIN:VEVENT",
        f"UID:{appointment.reference}@{host}",
        f"DTSTAMP:{_utc(datetime.datetime.now(datetime.UTC))}",
        f"DTSTART:{_utc(appointment.start)}",
        f"DTEND:{_utc(appointment.end)}",
        f"SUMMARY:{_text(title)}",
        f"LOCATION:{_text(where)}",
        f"STATUS:{'CANCELLED' if appointment.canceled else 'CONFIRMED'}",
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    return "".join(f"{_folded(line)}\r\n" for line in lines)


def _utc(moment: datetime.datetime) -> str:
    return f"{moment.astimezone(datetime.UTC):%Y%m%dT%H%M%SZ}"


def _text(text: str) -> str:
    """Escape `text` for a property's value."""
    for plain, escaped in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\n", "\\n")):
        text = text.replace(plain, escaped)
    return text


def _folded(line: str) -> str:
    """Fold a line into parts of at most 75 octets without cutting a character."""
    parts: list[str] = []
    part = ""
    for character in line:
        if len((part + character).encode()) > LINE_OCTETS - (1 if parts else 0):
            parts.append(part)
            part = ""
        part += character
    return "\r\n ".join([*parts, part])
