from .calendar_link import CalendarLink as CalendarLink
from .import_file import ImportFile as ImportFile
