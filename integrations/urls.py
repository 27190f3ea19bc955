"""URLs for the clinic's other software."""

from django.urls import URLPattern, URLResolver, include, path

from people.public import decide_themselves

from .api import pages, site
from .views import calendars

app_name = "integrations"
urlpatterns: list[URLPattern | URLResolver] = [
    path("api/openapi.json", pages.document, name="openapi"),
    path("api/docs/", pages.docs, name="api_docs"),
    path("api/", include(site.urls())),
    path("calendar/", calendars.own_calendar, name="own_calendar"),
    path("calendar/<str:token>.ics", calendars.calendar_file, name="calendar_file"),
    path("desk/calendars/", calendars.calendars, name="calendars"),
]
decide_themselves(urlpatterns)
