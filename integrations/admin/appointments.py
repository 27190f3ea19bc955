"""The admin's pages that import appointments: the form for a file, the preview, and files to fill in.

django-import-export isn't used: it saves row by row, where a whole file has to be checked and saved together, and loads
openpyxl into every process.
"""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext_lazy as _

from appointments.admin import AppointmentAdmin
from appointments.models import Appointment

from ..importing.columns import COLUMNS
from ..importing.rules import Plan
from ..importing.saving import MAY_IMPORT, import_file, preview
from ..importing.table import MOST_ROWS
from ..importing.templates import NAMES, template_file
from ..importing.words import summary
from ..models import ImportFile

LARGEST_UPLOAD = 900 * 1024  # bytes; payments_site/limits.py takes no larger requests
MOST_SHOWN = 200  # problems on a page


class FileForm(forms.Form):
    file = forms.FileField(label=_("CSV or Excel file"))
    overlaps = forms.BooleanField(label=_("book also at times that are taken"), required=False)

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST_UPLOAD:
            raise forms.ValidationError(_("Upload at most 900 KB, or let an operator run import_appointments."))
        return file


class ConfirmForm(forms.Form):
    token = forms.CharField(max_length=32, widget=forms.HiddenInput)
    name = forms.CharField(max_length=200, required=False, widget=forms.HiddenInput)
    overlaps = forms.BooleanField(required=False, widget=forms.HiddenInput)


admin.site.unregister(Appointment)


@admin.register(Appointment)
class ImportingAppointmentAdmin(AppointmentAdmin):
    change_list_template = "admin/clinic_appointments/appointment/importing_change_list.html"

    def get_urls(self) -> list[Any]:
        pages = (
            ("import/", "import", self.import_action),
            ("process_import/", "process_import", self.process_import),
            ("import/<str:kind>/", "template", self.import_template),
        )
        ours = [
            path(place, self.admin_site.admin_view(view), name=f"clinic_appointments_appointment_{name}")
            for place, name, view in pages
        ]
        return [*ours, *super().get_urls()]

    def import_action(self, request: HttpRequest) -> HttpResponseBase:
        """Show the form for a file; on POST show what importing the file would do, or what is wrong with it."""
        self._require_right(request)
        form = FileForm(request.POST or None, request.FILES or None)
        plan, confirm = None, None
        if request.method == "POST" and form.is_valid():
            file, overlaps = form.cleaned_data["file"], form.cleaned_data["overlaps"]
            content = file.read()
            plan = preview(content, overlaps=overlaps)
            if not plan.problems and not plan.is_empty:
                token = ImportFile.keep(content, request.user)
                confirm = ConfirmForm(initial={"token": token, "name": file.name[:200], "overlaps": overlaps})
        return self._page(request, form, plan, confirm)

    def process_import(self, request: HttpRequest) -> HttpResponseBase:
        """Import the file that was shown. If it can't be imported any more, show why."""
        self._require_right(request)
        if request.method != "POST":
            return HttpResponse(status=405)
        form = ConfirmForm(request.POST)
        if not form.is_valid():
            return redirect("admin:clinic_appointments_appointment_import")
        given = form.cleaned_data
        kept = ImportFile.objects.filter(token=given["token"], owner=request.user.pk).first()
        if kept is None:
            messages.error(request, _("This preview is over. Upload the file again."))
            return redirect("admin:clinic_appointments_appointment_import")
        plan = import_file(bytes(kept.content), given["name"], request.user, overlaps=given["overlaps"])  # type: ignore[arg-type]
        kept.delete()
        if plan.problems:
            return self._page(request, FileForm(), plan, None)
        messages.success(request, summary(plan, done=True))
        return redirect("admin:clinic_appointments_appointment_changelist")

    def import_template(self, request: HttpRequest, kind: str) -> HttpResponse:
        """Return a file with the columns' names and an example row, for people to fill in."""
        self._require_right(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponse(status=405)
        if kind not in NAMES:
            raise Http404
        response = HttpResponse(template_file(kind), content_type=NAMES[kind])
        response["Content-Disposition"] = f'attachment; filename="appointments.{kind}"'
        return response

    def has_import_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MAY_IMPORT)

    def _require_right(self, request: HttpRequest) -> None:
        if not self.has_import_permission(request):
            raise PermissionDenied

    def _page(
        self, request: HttpRequest, form: FileForm, plan: Plan | None, confirm: ConfirmForm | None
    ) -> TemplateResponse:
        problems = plan.problems if plan else []
        context = {
            **self.admin_site.each_context(request),
            "title": _("Import appointments"),
            "opts": self.opts,
            "form": form,
            "plan": plan,
            "confirm": confirm,
            "summary": summary(plan, done=False) if plan and not problems else "",
            "problems": problems[:MOST_SHOWN],
            "more": max(0, len(problems) - MOST_SHOWN),
            "columns": COLUMNS,
            "most": MOST_ROWS,
        }
        return TemplateResponse(request, "admin/clinic_appointments/appointment/import.html", context)
