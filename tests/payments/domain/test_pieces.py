"""Tests of the table of notes and coins."""

import pytest

from payments.domain.pieces import PIECES


@pytest.mark.parametrize("currency", ["eur", "chf", "gbp", "usd", "jpy"])
def test_notes_and_coins_have_round_values_the_greatest_first(currency: str) -> None:
    pieces = PIECES[currency]
    assert list(pieces) == sorted(set(pieces), reverse=True)
    assert {str(piece).rstrip("0") for piece in pieces} <= {"1", "2", "5", "25"}


def test_only_the_dollar_has_a_coin_of_twenty_five() -> None:
    assert [currency for currency, pieces in PIECES.items() if 25 in pieces] == ["usd"]
