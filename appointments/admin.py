from django.contrib import admin
from django.http import HttpRequest

from .models import Appointment, Practitioner


@admin.register(Practitioner)
class PractitionerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "specialty", "active")
    list_filter = ("active",)
    search_fields = ("name", "specialty")


@admin.register(Appointment)
class AppointmentAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("reference", "start", "patient", "practitioner", "service", "status")
    list_filter = ("status", "practitioner")
    list_select_related = ("patient", "practitioner")
    date_hierarchy = "start"
    search_fields = ("reference", "patient__last_name", "patient__first_name", "patient__username")
    autocomplete_fields = ("patient", "practitioner")
    readonly_fields = ("reference",)
    fields = ("reference", "patient", "practitioner", "service", "start", "end", "status", "price_amount", "currency")

    def save_model(self, request: HttpRequest, obj: Appointment, form: object, change: bool) -> None:
        obj.save(actor=request.user)  # type: ignore[arg-type]
