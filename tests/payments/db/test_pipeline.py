"""Tests that payments.db.pipeline sends parameters unchanged, and leaves a usable connection after every error."""

import pytest
from django.db import DataError, OperationalError, ProgrammingError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payments.db.statements import Statement, run

pytestmark = [pytest.mark.django_db, pytest.mark.postgres(only=True)]
LIST = "SELECT id FROM unnest(%(ids)s::text[]) AS id"
TEXT = "SELECT %(text)s::text"
WITHOUT_NUL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def listed(*ids: str) -> list[str]:
    [rows] = run(Statement(LIST, {"ids": list(ids)}))
    return [each for (each,) in rows]


@given(ids=st.lists(WITHOUT_NUL), text=WITHOUT_NUL)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_text_arrives_unchanged(ids: list[str], text: str) -> None:
    [rows, [(echo,)]] = run(Statement(LIST, {"ids": ids}), Statement(TEXT, {"text": text}))
    assert ([each for (each,) in rows], echo) == (ids, text)


@pytest.mark.parametrize("params", [{"text": "a\0b"}, {"text": ["a", "b\0"]}])
def test_text_with_nul_is_refused_and_not_cut_off(params: dict[str, object]) -> None:
    with pytest.raises(DataError):
        run(Statement(TEXT, params))
    assert listed("a") == ["a"]


def test_a_message_larger_than_all_buffers_arrives() -> None:
    text = "é" * 20_000_000
    assert run(Statement(TEXT, {"text": text}), Statement(TEXT, {"text": text[:9]})) == [[(text,)], [(text[:9],)]]


def test_after_an_error_the_same_statements_can_be_sent_again() -> None:
    fails = Statement("SELECT 1 / %(number)s::integer", {"number": "0"})
    for number in ("0", "0", "1"):
        fails.params["number"] = number
        statements = [Statement(LIST, {"ids": ["before"]}), fails, Statement(TEXT, {"text": "after"})]
        if number == "0":
            with pytest.raises(DataError), transaction.atomic():
                run(*statements)
        else:
            assert run(*statements) == [[("before",)], [(1,)], [("after",)]]


def test_a_statement_that_cannot_be_prepared_does_not_harm_later_ones() -> None:
    for _ in range(2):
        with pytest.raises(ProgrammingError), transaction.atomic():
            run(Statement(LIST, {"ids": ["a"]}), Statement("SELECT nothing_like_this FROM nowhere"))
    assert listed("a") == ["a"]


@pytest.mark.django_db(transaction=True)
def test_a_lost_connection_is_an_error_and_the_next_one_works() -> None:
    with pytest.raises(OperationalError), transaction.atomic():
        run(Statement("SELECT pg_terminate_backend(pg_backend_pid())"), Statement(LIST, {"ids": ["a"]}))
    connection.close()
    assert listed("a") == ["a"]


@pytest.mark.django_db(transaction=True)
def test_what_is_done_meanwhile_happens_only_with_a_commit() -> None:
    done = []
    with transaction.atomic():
        run(Statement(LIST, {"ids": ["a"]}), meanwhile=lambda: done.append("no commit"))
    with transaction.atomic():
        run(Statement(LIST, {"ids": ["a"]}), commit=True, meanwhile=lambda: done.append("commit"))
    assert done == ["commit"]


@pytest.mark.django_db(transaction=True)
def test_an_error_meanwhile_leaves_a_usable_connection() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        run(Statement(LIST, {"ids": ["a"]}), commit=True, meanwhile=lambda: 1 // 0)
    assert listed("b") == ["b"]
