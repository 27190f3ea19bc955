"""Faults that tests inject into the site's own code."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def broken_ledger() -> Iterator[None]:
    """Make the ledger fail inside the block: deriving any payment's status raises ZeroDivisionError."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("payments.ledger.derive", lambda *facts_and_terms: 1 / 0)
        yield
