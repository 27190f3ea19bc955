"""Tests that what a webhook and a page's updates load is freed at once, not by a rare garbage collection."""

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db.models import Model

from payments.live.feeds import entries_after
from payments.models import Feed, Payment
from payments.models.feed import STAFF
from tests.payments.stripe_story import Story, deliver

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]


@contextmanager
def leftovers() -> Iterator[Counter[str]]:
    """Yield a counter that holds, after the block, the models' rows that only a garbage collection would free."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found.update(type(row).__name__ for row in gc.garbage if issubclass(type(row), Model))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_a_webhook_leaves_no_rows_to_the_garbage_collection(database: str, book: Callable[..., Payment]) -> None:
    stories = [Story(book()) for _ in range(3)]
    deliver(stories[0].completed())
    with leftovers() as found:
        statuses = [deliver(story.completed()).status_code for story in stories[1:]]
    assert (statuses, found) == ([200, 200], {})


def test_entries_of_a_feed_leave_none_either(database: str, book: Callable[..., Payment]) -> None:
    deliver(Story(book()).completed())
    epoch = Feed.objects.of(STAFF).epoch
    with leftovers() as found:
        count = len(entries_after(STAFF, 0, epoch).entries)  # an assertion would hold them
    assert (count, found) == (2, {})
