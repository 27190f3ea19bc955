"""Write an appointment as an iCalendar file: https://www.rfc-editor.org/rfc/rfc5545"""

import datetime

from .models import Appointment

LINE_OCTETS = 75


def to_ics(appointment: Appointment, *, title: str, where: str, host: str) -> str:
    """Return the text of an iCalendar file whose only event is the appointment.

    `title` is all that the event says about the visit, because other people may see the patient's calendar. `where` is
    the clinic's name. `host` is the site's domain, which makes the event's UID unique.
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
    """Return `text` escaped for use as the value of an iCalendar property."""
    for plain, escaped in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\n", "\\n")):
        text = text.replace(plain, escaped)
    return text


def _folded(line: str) -> str:
    """Return `line` folded after at most 75 octets, as iCalendar requires, without cutting a character in two."""
    parts: list[str] = []
    part = ""
    for character in line:
        if len((part + character).encode()) > LINE_OCTETS - (1 if parts else 0):
            parts.append(part)
            part = ""
        part += character
    return "\r\n ".join([*parts, part])
