"""Tests that the API answers as its OpenAPI document says, whatever a program sends."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from payments_site.demo.site import ROOT
from tests.integrations import live
from tests.live_site import LiveSite

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method,ignored_auth"
)


@pytest.mark.parametrize(
    ("phases", "examples", "least"),
    [("examples,fuzzing", 8, 50), pytest.param("examples,coverage,fuzzing", 160, 2000, marks=pytest.mark.nightly)],
)
def test_every_answer_is_documented(
    make_site: Callable[..., LiveSite], tmp_path: Path, phases: str, examples: int, least: int
) -> None:
    """Schemathesis makes requests from the document alone, right and wrong ones, and compares the answers with it."""
    site, key = live.start(make_site)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{site.url}/api/openapi.json", "--url", site.url,
        "--header", f"Authorization: Bearer {key}", "--checks", CHECKS, "--phases", phases, "--max-examples",
        str(examples), "--seed", "1", "--no-color", "--suppress-health-check", "all", "--continue-on-failure",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert int(re.findall(r"(\d+) generated", done.stdout)[0]) >= least


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.nightly)])
def test_a_program_that_knows_only_the_document_books_and_follows(
    make_site: Callable[..., LiveSite], tmp_path: Path, count: int
) -> None:
    """A client that is generated from the document enters patients and appointments, and reads them as changes."""
    site, key = live.start(make_site)
    (tmp_path / "config.yml").write_text("post_hooks: []\n")
    generate = [
        str(Path(sys.executable).with_name("openapi-python-client")), "generate",
        "--url", f"{site.url}/api/openapi.json", "--output-path", str(tmp_path / "client"),
        "--meta", "none", "--config", str(tmp_path / "config.yml"),
    ]  # fmt: skip
    generated = subprocess.run(generate, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert generated.returncode == 0, generated.stdout + generated.stderr
    assert "WARNING" not in (generated.stdout + generated.stderr).upper(), generated.stdout + generated.stderr
    program = [sys.executable, "-m", "tests.integrations.other_software", site.url, key, str(count)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == f"{count} appointments\n", done.stdout + done.stderr
