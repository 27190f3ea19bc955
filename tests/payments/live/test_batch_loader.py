"""Tests of BatchLoader, which answers concurrent look-ups with few queries."""

import asyncio
import threading

import pytest

from payments.live.batch_loader import BatchLoader
from tests.waits import until

pytestmark = pytest.mark.django_db(transaction=True)  # BatchLoader's threads close old connections
NOBODY = "nobody"


class Book:
    """A `fetch` function for BatchLoader: it waits until `opened` is set, then returns each key in capitals."""

    def __init__(self) -> None:
        self.opened, self.asked = threading.Event(), list[set[str]]()

    def __call__(self, keys: set[str]) -> dict[str, str]:
        self.asked.append(keys)
        assert self.opened.wait(60)
        if "torn" in keys:
            raise LookupError("this page is missing")
        return {key: key.upper() for key in keys if key != NOBODY}


async def test_those_who_come_while_an_answer_is_awaited_are_asked_for_in_one_question() -> None:
    book = Book()
    loader = BatchLoader(book)
    first = asyncio.create_task(loader.load("ada"))
    await until(lambda: book.asked, "the first question is asked")
    others = [asyncio.create_task(loader.load(name)) for name in ("ben", "cleo", "ben", NOBODY)]
    impatient = asyncio.create_task(loader.load("dan"))
    await asyncio.sleep(0)
    impatient.cancel()
    book.opened.set()
    assert await asyncio.gather(first, *others) == ["ADA", "BEN", "CLEO", "BEN", None]
    assert book.asked == [{"ada"}, {"ben", "cleo", "dan", NOBODY}]


async def test_a_question_that_fails_fails_for_all_who_asked_it_and_for_nobody_else() -> None:
    book = Book()
    book.opened.set()
    loader = BatchLoader(book)
    found = await asyncio.gather(*map(loader.load, ("torn", "ada")), return_exceptions=True)
    assert [type(each) for each in found] == [LookupError, LookupError]
    assert await loader.load("ada") == "ADA"
    with pytest.raises(LookupError, match="missing"):
        await loader.load("torn")
