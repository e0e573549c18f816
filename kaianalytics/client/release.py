"""A release as an analyst reads it and works on with it.

Laws:
1. A noisy figure is never shown or converted without its error bar. In a frame the figure `n` is followed by `n_pm`,
   the half-width of its 95% interval: the interval is `n - n_pm` to `n + n_pm`.
2. Every table says what it rests on: what the ± does not count, cost, snapshot, isolation level.
3. A figure below zero is shown as it came, unless the analyst asks otherwise: cut off at zero, its sums go wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from kaianalytics.client import caption, cells, comparing, rollup
from kaianalytics.client.digits import number_of
from kaianalytics.client.measures import Wanted
from kaianalytics.client.shown import Footnote, Shown
from kaianalytics.client.tables import html_columns, text_columns
from kaianalytics.errors import Refused
from kaianalytics.protocol import Release, ReleaseColumn, Scalar

if TYPE_CHECKING:
    import altair as alt

    from kaianalytics.client.comparison import Comparison

PM, SUPPORT = "_pm", "_n"
_KEY_TYPES = {"DATE": date.fromisoformat, "TIMESTAMP": datetime.fromisoformat}

Selected = Mapping[str, Any] | str | int | float | bool | date | None  # a cell: its keys, or the value of the one key


@dataclass(frozen=True, repr=False)
class ReleaseTable(Shown):
    """A release: figures with ±, and what they rest on.

    `clamp` shows what can't be below zero as zero. `derived` says what was made of the release since, and `recorded`
    when it was recorded, where it was found in the record.
    """

    release: Release
    charged: bool = True  # whether this asking was, or an earlier one
    remaining: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)  # ρ of one unit so far, by window and by year
    clamp: bool = False
    derived: tuple[str, ...] = ()
    recorded: str = ""

    @property
    def keys(self) -> tuple[ReleaseColumn, ...]:
        """The columns that say which group a row is."""
        return tuple(column for column in self.release.columns if column.role == "key")

    @property
    def figures(self) -> tuple[ReleaseColumn, ...]:
        """The noisy columns."""
        return tuple(column for column in self.release.columns if column.role != "key")

    def values(self, index: int) -> list[Scalar]:
        """The column at a place, as it is shown."""
        column = self.release.columns[index]
        return [cells.shown_value(column, row[index], self.clamp) for row in self.release.rows]

    # --- converted

    def clamped(self) -> ReleaseTable:
        """The same, with zero for every figure below it that can't be in truth."""
        return replace(self, clamp=True)

    def to_polars(self, *, clamp: bool = False, support: bool = False) -> pl.DataFrame:
        """The release as a frame: the keys; then each figure `n` with `n_pm`, its half-width at 95%.

        With `support`, `n_n` is the noisy number of rows that a mean or quantile rests on.
        """
        table = self.clamped() if clamp else self
        taken = {column.name for column in self.release.columns}
        series: list[pl.Series] = []
        for index, column in enumerate(self.release.columns):
            series.append(_series(column, table.values(index)))
            if column.role not in ("key", "top"):  # a value by rank has no half-width
                margins = [row[index] for row in self.release.margins]
                series.append(pl.Series(_free_name(column.name + PM, taken), margins, pl.Float64))
            if support and column.role in cells.RESTING:
                rests = [row[index] for row in self.release.supports]
                series.append(pl.Series(_free_name(column.name + SUPPORT, taken), rests, pl.Float64))
        return pl.DataFrame(series)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The frame of `to_polars` for any library that reads the Arrow stream interface."""
        return self.to_polars().__arrow_c_stream__(requested_schema)

    # --- worked on

    def rollup(self, *keys: str, figures: Sequence[str] = ()) -> ReleaseTable:
        """The cells added up over every key that is not named, with propagated error; nothing is asked or charged.

        `figures` chooses which; all, unless named. What can't be added up is refused by its name.
        """
        return rollup.roll_up(self, keys, figures)

    def difference(
        self,
        a: Selected,
        b: Selected,
        *,
        figure: str = "",
        of: str = "",
        over: str = "",
        spread: str = "",
        share: bool = False,
    ) -> Comparison:
        """How far the figure of cell `a` lies above that of cell `b`, with privacy noise and sampling together.

        A cell is a dict of its keys, or the key's value where there is one. `spread` names the VARIANCE or STDDEV that
        a mean's or a sum's sampling is taken from. A share is an AVG of yes and no with `share=True`, which the engine
        bounds as one, or two counts: `of="converted", over="contacted"`.
        """
        return comparing.compare(self, "difference", a, b, Wanted(figure, of, over, spread, share))

    def ratio(
        self,
        a: Selected,
        b: Selected,
        *,
        figure: str = "",
        of: str = "",
        over: str = "",
        spread: str = "",
        share: bool = False,
    ) -> Comparison:
        """How many times the figure of cell `b` that of cell `a` is; arguments as for `difference`."""
        return comparing.compare(self, "ratio", a, b, Wanted(figure, of, over, spread, share))

    def chart(self, figure: str = "") -> alt.LayerChart:
        """One figure (the first, unless named) with its error bars over one key, or two with the second as colour.

        Charts of this kernel are drawn as SVG from here on: the usual rendering loads its script from the network.
        """
        from kaianalytics.client import chart  # Altair takes over a second to import, and most releases are only read

        return chart.draw(self, self.figure(figure))

    # --- shown

    @property
    def caption(self) -> tuple[str, ...]:
        """The sentences under the table: the error bars, the bounding, the cost, the snapshot, the isolation."""
        return (*caption.about(self), *caption.origin(self))

    @property
    def footnote(self) -> Footnote:
        """The caption alone, to stand under a chart or a table that was made from this release."""
        return Footnote(caption.about(self), caption.origin(self))

    def figure(self, name: str = "") -> ReleaseColumn:
        """The figure of that name, the first if none is named."""
        for column in self.figures:
            if name in ("", column.name):
                return column
        raise Refused(
            "NO_SUCH_FIGURE",
            "The release has no figure of that name.",
            hint="its figures are: " + ", ".join(column.name for column in self.figures),
        )

    def _text(self) -> str:
        table = text_columns(cells.columns(self))
        return "\n".join([*table, "", *caption.about(self), "", *caption.origin(self)])

    def _html(self) -> str:
        table = html_columns(cells.columns(self))
        return f'<div class="kai-release">{table}{self.footnote._html()}</div>'


def _series(column: ReleaseColumn, values: Sequence[Scalar]) -> pl.Series:
    if column.role == "key":
        read = _KEY_TYPES.get(column.type.upper(), lambda text: text)
        return pl.Series(column.name, [read(v) if isinstance(v, str) else v for v in values], strict=False)
    if column.role == "top":
        return pl.Series(column.name, values, strict=False)
    if all(isinstance(value, int) for value in values) and values:
        return pl.Series(column.name, values, pl.Int64)
    # exact sums cross the wire as text; a figure is a number even where a release has no rows to tell it by
    return pl.Series(column.name, [number_of(value) for value in values], pl.Float64)


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
