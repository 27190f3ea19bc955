"""Tests that dj-stripe uses the site's HTTP client and retries, and that importing asgi doesn't call gc.freeze()."""

import subprocess
import sys

import stripe

from payments.gateway.client import HTTP, RETRIES


def test_djstripes_calls_give_up_as_early_as_our_own() -> None:
    assert stripe.default_http_client is HTTP
    assert stripe.max_network_retries == RETRIES


def test_importing_the_asgi_module_leaves_the_garbage_collector_alone() -> None:
    script = "import gc; import payments_site.asgi; print(gc.get_freeze_count())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
