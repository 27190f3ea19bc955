"""Measures how long the front desk's page takes, and a poll that finds nothing new, and how many queries each makes."""

import http.client
import json
import statistics
import time

from benchmarks.blocks import Size, Values
from benchmarks.events import HOST, session_key
from benchmarks.stack import Stack
from benchmarks.targets import Target

DESK, POLL = "/desk/", "/payments/live/?feed=staff&lang=fr&epoch={at[0]}&after={at[1]}"
AUTHENTICATION_TABLES = ("django_session", "clinic_accounts_user")
COUNT = """
import django, json, sys
django.setup()
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
client = Client(headers={"host": sys.argv[1], "cookie": "sessionid=" + sys.argv[2]})
counts = []
for path in sys.argv[3:]:
    client.get(path)
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(path)
    assert answer.status_code in (200, 204), (path, answer.status_code, answer.headers.get("Location"))
    counts.append([query["sql"] for query in queries.captured_queries])
print(json.dumps(counts))
"""


def milliseconds(target: Target, path: str, times: int) -> float:
    """Return the median duration, in milliseconds, of `times` GET requests over one keep-alive connection."""
    connection = http.client.HTTPConnection(HOST, target.ports[0], timeout=30)
    headers, taken = {"Cookie": f"sessionid={session_key(1)}"}, []
    for _ in range(times + 3):
        started = time.perf_counter()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        taken.append((time.perf_counter() - started) * 1000)
        if answer.status not in (200, 204):
            raise ValueError(f"{path} answered {answer.status} {answer.headers.get('Location', '')}")
    connection.close()
    return statistics.median(taken[3:])


def queries(stack: Stack, *paths: str, database: str = "site") -> list[int]:
    """Return how many database queries a GET of each path makes, without those that read the session or the user."""
    site = stack.site(f"count-{database}", database)
    answer = site.python("-c", COUNT, HOST, session_key(1), *paths).splitlines()[-1]
    return [
        sum(not any(table in sql for table in AUTHENTICATION_TABLES) for sql in each) for each in json.loads(answer)
    ]


def pages(stack: Stack, name: str, size: Size, _round: int) -> Values:
    target = stack.target(name)
    poll = POLL.format(at=target.position("staff"))
    page_ms, poll_ms = milliseconds(target, DESK, size.requests), milliseconds(target, poll, size.requests)
    page_queries, poll_queries = queries(stack, DESK, poll)
    return {
        "page_ms": page_ms, "poll_ms": poll_ms, "poll_share": poll_ms / page_ms, "page_queries": page_queries,
        "poll_queries": poll_queries,
    }  # fmt: skip
