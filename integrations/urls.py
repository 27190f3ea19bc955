"""URLs for the clinic's other software."""

from django.urls import URLPattern, URLResolver, include, path

from .api import pages, site

app_name = "integrations"
urlpatterns: list[URLPattern | URLResolver] = [
    path("api/openapi.json", pages.document, name="openapi"),
    path("api/docs/", pages.docs, name="api_docs"),
    path("api/", include(site.urls())),
]
