from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from people.unsent import typed

from . import week
from .forms import AppointmentForm, ServiceForm, WeekForm
from .models import AMOUNTS, Appointment, Practitioner, Service
from .week import Line


@admin.register(Practitioner)
class PractitionerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "specialty", "active")
    list_filter = ("active",)
    search_fields = ("name", "specialty")


@admin.register(Service)
class ServiceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = ServiceForm
    list_display = ("name", "minutes", "active")
    list_filter = ("active",)
    search_fields = ("name",)


@admin.register(Appointment)
class AppointmentAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = AppointmentForm
    list_display = ("reference", "start", "patient", "practitioner", "service", "status")
    list_filter = ("status", "practitioner")
    list_select_related = ("patient", "practitioner")
    date_hierarchy = "start"
    search_fields = ("reference", "patient__folded_name__contains", "patient__username", "external_id")
    autocomplete_fields = ("patient", "practitioner")
    readonly_fields = ("reference",)
    fields = ("reference", "patient", "practitioner", "service", "start", "end", "allow_overlap", "status",
              "prepayment", *AMOUNTS, "currency", "external_id")  # fmt: skip

    def save_model(self, request: HttpRequest, obj: Appointment, form: object, change: bool) -> None:
        obj.save(actor=request.user)  # type: ignore[arg-type]

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.book_week)
        return [path("week/", view, name="clinic_appointments_appointment_week"), *super().get_urls()]

    def book_week(self, request: HttpRequest) -> HttpResponseBase:
        """Show the form that books a week; its buttons propose free times, preview the appointments, or book them."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = WeekForm(request.POST or typed(request))
        lines: list[Line] = []
        if request.method == "POST" and form.is_valid():
            if "propose" in request.POST:
                form = _with_free_times(form)
            else:
                lines = week.read(form.cleaned_data["lines"], form.terms)
            if "book" in request.POST and lines and not any(line.problem for line in lines):
                self._book(request, form, lines)
                return redirect("admin:clinic_appointments_appointment_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": _("Book a week of appointments"),
            "opts": self.opts,
            "form": form,
            "lines": lines,
            "problems": sum(bool(line.problem) for line in lines),
            "bookable": sum(line.bookable for line in lines),
        }
        return TemplateResponse(request, "admin/clinic_appointments/appointment/week.html", context)

    def _book(self, request: HttpRequest, form: WeekForm, lines: Sequence[Line]) -> None:
        """Book the bookable lines, and show messages with the numbers of new and already existing appointments."""
        booked = 0
        for line in filter(lambda line: line.bookable, lines):
            if appointment := week.book(line, form.terms, request.user):  # type: ignore[arg-type]
                self.log_addition(request, appointment, [{"added": {}}])
                booked += 1
        said = ngettext("%(count)s appointment booked.", "%(count)s appointments booked.", booked)
        messages.success(request, said % {"count": booked})
        if existing := len(lines) - booked:
            said = ngettext("%(count)s was already booked.", "%(count)s were already booked.", existing)
            messages.info(request, said % {"count": existing})


def _with_free_times(form: WeekForm) -> WeekForm:
    """Return a copy of the form whose `lines` have a new line for each free time that isn't in them yet."""
    chosen = form.cleaned_data
    times = week.free_times(form.terms, form.days, chosen["first"], chosen["last"])
    listed = week.times_in(chosen["lines"])
    fresh = [time for time in times if time not in listed]
    lines = [*chosen["lines"].splitlines(), *(f"{timezone.localtime(time):%Y-%m-%d %H:%M} " for time in fresh)]
    data: Any = form.data
    data = data.copy()
    data["lines"] = "\n".join(line for line in lines if line.strip())
    extended = WeekForm(data)
    extended.is_valid()
    return extended
