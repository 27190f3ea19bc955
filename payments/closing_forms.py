"""Forms that close the till's day, and that correct a sealed closing."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django import forms
from django.forms import BoundField
from django.utils.translation import gettext_lazy as _

from appointments.fields import AmountField
from appointments.money import format_amount

from .desk.closing_report import CASH, Content, Drawer, Found, Line, Report
from .desk.closings import Sheet, found_until_now
from .domain.methods import method_label
from .domain.pieces import PIECES
from .domain.tally import Tally
from .models import Closing

MINUS = ("-", "−")
MOST_PIECES = 9999


class SignedAmountField(AmountField):
    """An amount that may be negative, because more can be given back by a method in a day than was received by it."""

    def clean(self, value: Any) -> Any:
        text = str(value or "").strip()
        if not text.startswith(MINUS):
            return super().clean(value)
        amount = super().clean(text[1:])
        return None if amount is None else -amount


def found_field(currency: str, method: str, amount: int) -> SignedAmountField:
    """Return the field for how much money of this method was found. Its initial value is `amount`, in minor units."""
    return SignedAmountField(label=method_label(method), currency=currency, zero=True, initial=amount)


class DrawerFields:
    """The fields of a ClosingForm about the cash drawer in one currency, and what they say once they are cleaned.

    `net` is the cash that the day brought, and `before` what the last closing left in the drawer, in minor units.
    """

    def __init__(self, form: "ClosingForm", currency: str, net: int, before: int) -> None:
        self.form, self.currency, self.net, self.before = form, currency, net, before
        options: dict[str, Any] = {"currency": currency, "zero": True, "required": False}
        form.fields[self.name("opening")] = AmountField(label=_("Float"), initial=before, **options)
        form.fields[self.name("counted")] = AmountField(label=_("Counted"), **options)
        form.fields[self.name("left")] = AmountField(label=_("Stays in the drawer"), **options)
        for value in PIECES.get(currency, ()):
            form.fields[self.name(f"pieces_{value}")] = forms.IntegerField(
                label=format_amount(value, currency),
                min_value=0,
                max_value=MOST_PIECES,
                required=False,
                widget=forms.TextInput({"inputmode": "numeric", "autocomplete": "off"}),
            )

    def name(self, of: str) -> str:
        return f"{of}_{self.currency}"

    def _value(self, of: str) -> int | None:
        value: int | None = self.form.cleaned_data.get(self.name(of))
        return value

    @property
    def opening(self) -> BoundField:
        return self.form[self.name("opening")]

    @property
    def counted(self) -> BoundField:
        return self.form[self.name("counted")]

    @property
    def left(self) -> BoundField:
        return self.form[self.name("left")]

    @property
    def pieces(self) -> list[tuple[int, BoundField]]:
        """Return the values of the notes and coins, in minor units, each with the field for their number."""
        return [(value, self.form[self.name(f"pieces_{value}")]) for value in PIECES.get(self.currency, ())]

    @property
    def is_counted_by_piece(self) -> bool:
        """Return whether a number of notes or coins was typed, so that the page shows these fields."""
        return any(bound.data for _value, bound in self.pieces)

    @property
    def expected(self) -> int:
        return self.before + self.net

    def clean(self) -> None:
        """Add an error to a field whose value is missing or contradicts another value."""
        given = self._given_pieces()
        total = sum(value * count for value, count in given.items())
        counted, opening = self._value("counted"), self._value("opening") or 0
        if given and counted is None:
            self.form.cleaned_data[self.name("counted")] = counted = total
        if counted is None and not self.form.has_error(self.name("counted")) and (opening or self.net):
            self.form.add_error(self.name("counted"), _("Count the cash in the drawer, and enter the sum."))
        elif given and counted != total:
            words = _("The notes and coins add up to %(sum)s.") % {"sum": format_amount(total, self.currency)}
            self.form.add_error(self.name("counted"), words)
        elif (self._value("left") or 0) > (counted or 0):
            self.form.add_error(self.name("left"), _("This is more than was counted."))

    def _given_pieces(self) -> dict[int, int]:
        found = {value: self._value(f"pieces_{value}") for value in PIECES.get(self.currency, ())}
        return {value: count for value, count in found.items() if count}

    @property
    def drawer(self) -> Drawer:
        """Return what was counted. Call it only when the form is valid."""
        counted, opening = self._value("counted") or 0, self._value("opening") or 0
        left = self._value("left")
        return Drawer(
            self.currency,
            before=self.before,
            opening=opening,
            counted=counted,
            left=min(counted, opening if left is None else left),
            pieces={str(value): count for value, count in self._given_pieces().items()},
        )


@dataclass(frozen=True)
class FormSection:
    """What a ClosingForm asks about one currency. `lines` are those of all methods except cash, with their fields."""

    currency: str
    lines: list[tuple[Line, BoundField]]
    online: Tally | None
    cash: Tally
    drawer: DrawerFields | None

    @property
    def total(self) -> Tally:
        known = [line.tally for line, _field in self.lines]
        return sum([self.cash, *known], self.online or Tally(self.currency))


class ClosingForm(forms.Form):
    """What was found and counted at the end of a day. Any count is accepted; a difference needs a reason."""

    reason = forms.CharField(
        label=_("Reason for the difference"),
        max_length=200,
        required=False,
        widget=forms.TextInput({"autocomplete": "off"}),
    )

    def __init__(self, data: Any, *, sheet: Sheet) -> None:
        super().__init__(data)
        self.sheet = sheet
        for line in sheet.lines:
            each = line.tally
            self.fields[_found(each.currency, each.method)] = found_field(each.currency, each.method, each.net)
        self.drawers = {
            currency: DrawerFields(self, currency, net, sheet.before.get(currency, 0))
            for currency, net in sheet.drawers.items()
        }

    @property
    def sections(self) -> list[FormSection]:
        """Return what the form asks about each currency."""
        online = {each.currency: each for each in self.sheet.online}
        cash = {each.currency: each for each in self.sheet.tallies if each.method == CASH}
        codes = {line.tally.currency for line in self.sheet.lines} | online.keys() | self.drawers.keys()
        return [
            FormSection(
                code,
                [
                    (line, self[_found(code, line.tally.method)])
                    for line in self.sheet.lines
                    if line.tally.currency == code
                ],
                online.get(code),
                cash.get(code, Tally(code, CASH)),
                self.drawers.get(code),
            )
            for code in sorted(codes)
        ]

    def clean(self) -> None:
        for fields in self.drawers.values():
            fields.clean()
        if not self.errors and self.report.differs and not self.cleaned_data["reason"]:
            self.add_error("reason", _("Say why the money differs."))

    @property
    def found(self) -> Found:
        """Return what was found of each method but cash. Call it only when the form is valid."""
        keys = [(line.tally.currency, line.tally.method) for line in self.sheet.lines]
        return {key: self.cleaned_data[_found(*key)] for key in keys}

    @property
    def counted(self) -> list[Drawer]:
        """Return what was counted in each currency's drawer. Call it only when the form is valid."""
        return [fields.drawer for fields in self.drawers.values()]

    @cached_property
    def report(self) -> Report:
        """Return what the closing will say. Call it only when all fields are cleaned."""
        content: Content = self.sheet.content(self.found, self.counted, self.cleaned_data["reason"])
        return Report(content)


class CorrectionForm(forms.Form):
    """What was really found on a day whose closing is sealed. Cash is entered as it was counted in the drawer."""

    reason = forms.CharField(
        label=_("Reason for the correction"), max_length=200, widget=forms.TextInput({"autocomplete": "off"})
    )

    def __init__(self, data: Any, *, closing: Closing) -> None:
        super().__init__(data)
        self.known = found_until_now(closing)
        self.openings = {drawer.currency: drawer.opening for drawer in Report(closing.content).drawers}
        for key, amount in self.known.items():
            self.fields[_found(*key)] = found_field(*key, amount + self._opening(*key))

    def _opening(self, currency: str, method: str) -> int:
        return self.openings.get(currency, 0) if method == CASH else 0

    @property
    def lines(self) -> Iterator[tuple[str, str, BoundField]]:
        """Yield a currency, a method and a field for each amount that may be corrected."""
        for currency, method in self.known:
            yield currency, method, self[_found(currency, method)]

    def clean(self) -> None:
        if not self.errors and self.found == self.known:
            self.add_error(None, _("Nothing differs from what the closing says."))

    @property
    def found(self) -> dict[tuple[str, str], int]:
        """Return what was really found. Call it only when all fields are cleaned."""
        return {key: self.cleaned_data[_found(*key)] - self._opening(*key) for key in self.known}


def _found(currency: str, method: str) -> str:
    return f"found_{currency}_{method}"
