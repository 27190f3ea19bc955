"""Tests that docs/api.md works: its requests are sent as they stand there, and answered as the page says."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from payments.models import Payment
from tests.docs.page import take
from tests.integrations.client import ApiClient
from tests.integrations.live import prepare
from tests.machine import needs

[EXAMPLE] = take("docs/api.md", "One example")
[PROBLEM] = take("docs/api.md", "Errors")
[FOLLOWING] = take("docs/api.md", "Follow changes")
PAYMENT = "6f1a3b1e-…"  # on the page; `prepare` stores a payment whose id begins so
RANDOM = {"id", "reference", "url", "epoch", "last"}
# Makes the page's commands print one answer a line, and fail if one is refused. Not every machine has uuidgen.
SHELL = """
curl() { command curl -sS --fail-with-body -w '\\n' "$@"; }
uuidgen() { cat /proc/sys/kernel/random/uuid; }
"""


def told(text: str) -> tuple[set[str], dict[str, str]]:
    """Return the names in an object as the page writes it, with "…" for what it leaves out, and the values of some."""
    values = dict(re.findall(r'"(\w+)": ("[^"…]*"|\d+|true|false)(?=[,}\]])', text))
    return set(re.findall(r'"(\w+)":', text)), {name: value for name, value in values.items() if name not in RANDOM}


def expect_like(answer: Any, text: str) -> None:
    """Assert that the answer, or the first of its list, has what the page tells."""
    names, values = told(text)
    flat = answer | (answer["data"][0] if isinstance(answer.get("data"), list) else {})
    assert names <= flat.keys(), text
    assert {name: json.dumps(flat[name]) for name in values} == values


@needs("curl", "curl")
@pytest.mark.django_db(transaction=True)
def test_the_example_is_answered_as_the_page_says(live_server: Any) -> None:
    key, payment = prepare(), str(Payment.objects.get().public_id)
    script = EXAMPLE.text.replace("https://clinic.example", live_server.url).replace(PAYMENT, payment)
    environment = {"PATH": os.environ["PATH"], "KEY": key}
    done = subprocess.run(
        ["sh", "-ec", SHELL + script], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line]
    comments = re.findall(r"# (\{.*\})", EXAMPLE.text)
    practitioners, services, _patient, visit, link, _entry = answers
    for answer, comment in zip((practitioners, services, visit, link), comments, strict=True):
        expect_like(answer, comment)
    assert Payment.objects.get().status == "paid"


def test_a_wrong_value_is_explained_as_the_page_says(api: ApiClient, visit: Callable[..., dict[str, Any]]) -> None:
    answer = api.put("/api/appointments/visit-815", visit(start="tomorrow")).json()
    example = json.loads(PROBLEM.text)
    assert list(answer) == list(example)
    for name in ("title", "status", "detail"):
        assert answer[name] == example[name]
    [error], [like] = answer["errors"], example["errors"]
    assert error["pointer"] == like["pointer"]
    assert error["detail"].startswith(like["detail"].rstrip("…"))


def test_changes_are_followed_as_the_page_says(
    api: ApiClient, payment: Payment, visit: Callable[..., dict[str, Any]]
) -> None:
    first, next_one = re.findall(r"GET (\S+) +→ (\{.*\})", FOLLOWING.text)
    begin = api.get(first[0]).json()
    expect_like(begin, first[1])
    api.put("/api/patients/p-1", {"last_name": "Roux", "first_name": "Camille"})
    assert api.put("/api/appointments/visit-815", visit()).status_code == 201
    path = next_one[0].replace("b3f1…", begin["epoch"]).replace("after=130", f"after={begin['last']}")
    answer = api.get(path).json()
    expect_like(answer, next_one[1])
    assert answer["changes"]
