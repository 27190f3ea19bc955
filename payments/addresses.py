"""Where a project has mounted the apps: paths below the prefixes of its URLconf and of its server."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers import asgi
from django.urls import NoReverseMatch, get_script_prefix, reverse, set_script_prefix

from .conf import app_settings

URLCONFS = {"clinic": "payments.urls", "integrations": "integrations.urls"}  # by namespace


def absolute(name: str, *arguments: object) -> str:
    """Return the public address of the URL with this name, for e-mails and for Stripe."""
    return f"{app_settings.CLINIC_SITE_URL}{reverse(name, args=arguments)}"


@cache
def mounted_path(name: str) -> str:
    """Return the path of the URL with this name, such as "clinic:stripe_webhook", as `path_info` returns it.

    Raises ImproperlyConfigured if the project's URLconf doesn't include the URL.
    """
    try:
        path = reverse(name)
    except NoReverseMatch as error:
        urlconf = URLCONFS[name.partition(":")[0]]
        said = f'{settings.ROOT_URLCONF} lacks path("clinic/", include("{urlconf}")); the prefix can be any other.'
        raise ImproperlyConfigured(said) from error
    return "/" + path.removeprefix(get_script_prefix())


def path_info(scope: Mapping[str, Any]) -> str:
    """Return the path of an HTTP request or a WebSocket without the server's prefix, as Django's `path_info`."""
    path: str = scope["path"]
    return path.removeprefix(asgi.get_script_prefix(scope))


def keep_server_prefix() -> None:
    """Have `reverse` put FORCE_SCRIPT_NAME before paths in this thread; Django does so in its main thread alone."""
    set_script_prefix(settings.FORCE_SCRIPT_NAME or "/")
