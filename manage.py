#!/usr/bin/env python
import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "payments_site.settings")
    if "migrate" in sys.argv:  # a migration may take longer than any request
        os.environ.setdefault("DATABASE_TIMEOUTS", "0")
    try:
        settings.INSTALLED_APPS  # noqa: B018 else Django goes on without settings, and fails far from the cause
    except ImproperlyConfigured as error:
        sys.exit(f"manage.py: {error}")
    execute_from_command_line(sys.argv)
