"""An analyst's own figures as a reader should see them: a value never without its ±, in as many digits as it has.

Laws:
1. A column `x` that is followed by `x_pm` anywhere in the frame is shown as one, `x ± x_pm`, and `x_pm` never alone.
2. The ± has two digits and is rounded up; the value is rounded to the same place. More digits would be noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from math import floor, isfinite, log10
from typing import Any

import polars as pl

from kaianalytics.client.display import PM, Shown
from kaianalytics.client.tables import html_table, text_table
from kaianalytics.errors import Refused

_DECIMALS = 2  # of a number that has no ± to say how many digits it has


@dataclass(frozen=True, repr=False)
class FrameTable(Shown):
    """A frame as a table for readers; `titles` chooses columns and heads them, all under their own names if empty."""

    frame: pl.DataFrame
    titles: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if absent := [name for name in self.titles if name not in self.frame.columns]:
            raise Refused(
                "NO_SUCH_COLUMN",
                f"The frame has no column {', '.join(absent)}.",
                hint="its columns are: " + ", ".join(self.frame.columns),
            )

    def _text(self) -> str:
        return "\n".join(text_table(*self._table()))

    def _html(self) -> str:
        return f'<div class="kai-table">{html_table(*self._table())}</div>'

    def _table(self) -> tuple[list[str], list[list[str]], frozenset[int]]:
        titles = self.titles or {name: name for name in self.frame.columns if not self._is_margin(name)}
        columns = [self._cells(name) for name in titles]
        right = frozenset(n for n, name in enumerate(titles) if self.frame.schema[name].is_numeric())
        return list(titles.values()), [list(row) for row in zip(*columns, strict=True)], right

    def _is_margin(self, name: str) -> bool:
        return name.endswith(PM) and name.removesuffix(PM) in self.frame.columns

    def _cells(self, name: str) -> list[str]:
        values = self.frame[name].to_list()
        if name + PM not in self.frame.columns:
            return [_plain(value) for value in values]
        margins = self.frame[name + PM].to_list()
        places = _places(max((margin for margin in margins if _known(margin)), default=1.0))
        return [_with_margin(value, margin, places) for value, margin in zip(values, margins, strict=True)]


def plus_minus(value: float, half_width: float) -> str:
    """`value ± half_width`, as every table of a report writes it: unbroken at a line's end."""
    text = _with_margin(value, half_width, _places(half_width if _known(half_width) else 1.0))
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _known(number: Any) -> bool:
    return number is not None and isfinite(number)


def _places(margin: float) -> int:
    """How many decimals show two digits of `margin`."""
    return max(0, 1 - floor(log10(margin))) if margin > 0 else 0


def _with_margin(value: Any, margin: Any, places: int) -> str:
    if not (_known(value) and _known(margin)):
        return "–"
    digit = Decimal(1).scaleb(-places)
    shown = Decimal(str(value)).quantize(digit, ROUND_HALF_EVEN)
    # through its text, for a binary fraction a hair above a digit would be rounded up once more
    around = Decimal(str(margin)).quantize(digit, ROUND_CEILING)
    return f"{shown:,} ± {around:,}"


def _plain(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, float):
        return f"{value:,.{_DECIMALS}f}" if isfinite(value) else "–"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
