"""Tests of sums of money by currency and payment method."""

import pytest

from payments.domain.movements import Movement, MovementKind
from payments.domain.tally import Tally, tally, totals


def moved(amount: int, currency: str = "eur", method: str = "cash") -> Movement:
    return Movement(MovementKind.PAYMENT, amount, currency, 0, method, "entry_1")


def test_each_currency_and_method_has_its_own_sums_in_their_order() -> None:
    lines = [moved(70, "jpy"), moved(500, method="terminal"), moved(1000), moved(-300), moved(2000), moved(-1)]
    assert tally(lines) == [
        Tally("eur", "cash", 4, 3000, -301),
        Tally("eur", "terminal", 1, 500, 0),
        Tally("jpy", "cash", 1, 70, 0),
    ]


def test_a_currencys_total_is_of_all_methods() -> None:
    lines = [Tally("jpy", "cash", 1, 70, 0), Tally("eur", "cash", 4, 3000, -301), Tally("eur", "card", 2, 5, -1)]
    found = totals(lines)
    assert found == [Tally("eur", "", 6, 3005, -302), Tally("jpy", "", 1, 70, 0)]
    assert [each.net for each in found] == [2703, 70]


def test_no_movement_has_no_sums() -> None:
    assert tally([]) == totals([]) == []


def test_amounts_of_two_currencies_are_never_added() -> None:
    with pytest.raises(ValueError, match=r"^amounts of two currencies can't be added$"):
        Tally("eur") + Tally("chf")
