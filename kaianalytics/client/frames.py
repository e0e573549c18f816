"""An analyst's own figures as a reader should see them: a value never without its ±, in as many digits as it has.

Law: a column `x` that is followed by `x_pm` anywhere in the frame is shown as one, `x ± x_pm`, and `x_pm` never alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from kaianalytics.client.digits import NOTHING, column_places, known, plain, with_margin
from kaianalytics.client.release import PM
from kaianalytics.client.shown import Shown
from kaianalytics.client.tables import Column, html_columns, text_columns
from kaianalytics.errors import Refused


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
        return "\n".join(text_columns(self._columns()))

    def _html(self) -> str:
        return f'<div class="kai-table">{html_columns(self._columns())}</div>'

    def _columns(self) -> list[Column]:
        titles = self.titles or {name: name for name in self.frame.columns if not self._is_margin(name)}
        return [
            Column(title, self._cells(name), right=self.frame.schema[name].is_numeric())
            for name, title in titles.items()
        ]

    def _is_margin(self, name: str) -> bool:
        return name.endswith(PM) and name.removesuffix(PM) in self.frame.columns

    def _cells(self, name: str) -> list[str]:
        values = self.frame[name].to_list()
        if name + PM not in self.frame.columns:
            return [plain(value) for value in values]
        margins = self.frame[name + PM].to_list()
        return [
            with_margin(value, margin, decimals) if known(value) and known(margin) else NOTHING
            for value, margin, decimals in zip(values, margins, column_places(margins), strict=True)
        ]
