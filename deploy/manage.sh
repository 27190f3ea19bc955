#!/bin/sh
# Django's manage.py with the environment of the systemd units: sudo -u payments deploy/manage.sh COMMAND [...]
# ENV_FILE names another one than /etc/payments/env.
set -eu
cd "$(dirname "$0")/.."
set -a
# shellcheck source=/dev/null
. "${ENV_FILE:-/etc/payments/env}"
set +a
exec .venv/bin/python manage.py "$@"
