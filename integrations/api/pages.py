"""The API's OpenAPI document, and a page that shows it. Both are open: they say how to ask, and nothing of patients."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import translation
from django.views.decorators.http import require_safe

from .document import described
from .document import document as openapi
from .problems import MEANINGS


@require_safe
def document(request: HttpRequest) -> JsonResponse:
    """Return the API's OpenAPI document."""
    return JsonResponse(openapi())


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Show the operations of the API, and what its errors mean, in English as the API itself."""
    with translation.override("en"):
        response = render(request, "integrations/api_docs.html", {"operations": described(), "problems": MEANINGS})
    response.headers["Content-Language"] = "en"
    return response
