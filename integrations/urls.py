"""URLs for the clinic's other software."""

from django.urls import URLPattern, URLResolver, path

from .views import calendars

app_name = "integrations"
urlpatterns: list[URLPattern | URLResolver] = [
    path("calendar/", calendars.own_calendar, name="own_calendar"),
    path("calendar/<str:token>.ics", calendars.calendar_file, name="calendar_file"),
    path("desk/calendars/", calendars.calendars, name="calendars"),
]
