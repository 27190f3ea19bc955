"""Tests that browsers and proxies keep no page, and that Vary names the headers of htmx on which pages depend."""

import pytest

from tests.test_authority import ADMIN, OURS, World


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["anonymous", "owner", pytest.param("superuser", marks=pytest.mark.nightly)])
def test_no_answer_of_any_url_is_kept(world: World, role: str) -> None:
    """Every URL answers every role with no-store; those of dj-stripe's admin differ from the others in no way."""
    views = [*OURS, *(f"admin:{view}" for view in ADMIN if not view.startswith("djstripe_"))]
    paths = {view: world.path(view) for view in views} | {"nowhere": "/nowhere/"}
    kept, unvaried = [], []
    for view, path in paths.items():
        answer = world.ask(role, "GET", path)
        if "no-store" not in answer.get("Cache-Control", ""):
            kept.append(view)
        if not {"HX-Request", "HX-Target", "HX-History-Restore-Request"} <= set(answer.get("Vary", "").split(", ")):
            unvaried.append(view)
    assert (kept, unvaried) == ([], [])
