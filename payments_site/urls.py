"""The site's URLs: those of accounts and payments, the admin, and the view that sets the language."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("accounts.urls")),
    path("language/", include("django.conf.urls.i18n")),
    path("admin/", admin.site.urls),
    path("", include("integrations.urls")),
    path("", include("payments.urls")),
]
handler400 = "payments.views.errors.bad_request"
handler500 = "payments.views.errors.server_error"
