"""A URLconf that mounts the apps below prefixes, for tests/test_mounting.py."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("clinic/", include("payments.urls")),
    path("other/", include("integrations.urls")),
    path("", include("accounts.urls")),
    path("language/", include("django.conf.urls.i18n")),
    path("admin/", admin.site.urls),
]
