"""A release as a chart: bars, and error bars that can't be left off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import polars as pl

from kaianalytics.errors import Refused
from kaianalytics.protocol import ReleaseColumn

if TYPE_CHECKING:
    from kaianalytics.client.display import ReleaseTable

FIGURE, LOW, HIGH = "figure", "low", "high"  # the columns of a chart's data, beside key_1 and key_2
BAR, NARROWEST, WIDEST, HEIGHT = 56, 160, 640, 280  # pixels: of a bar with its room, and of the chart
COLOUR = "#0b6e6e"
_NOT_GIVEN = "not given"


def draw(table: ReleaseTable, figure: ReleaseColumn) -> alt.LayerChart:
    """Bars of `figure` with its 95% error bars over one key, or over two with the second as colour."""
    if len(table.keys) not in (1, 2):
        raise Refused(
            "CHART_NEEDS_KEYS",
            "A release is drawn over one or two keys.",
            hint="draw it yourself from `release.to_polars()`; draw the `_pm` columns too",
        )
    alt.renderers.enable("svg")
    x, offset, colour = _channels(table.keys)
    tidy = _tidy(table, figure)
    base = alt.Chart(tidy).encode(x, *offset)
    value_axis = alt.Y(FIGURE, type="quantitative", title=f"{figure.name} (± privacy noise, 95%)")
    bars = base.mark_bar(color=COLOUR).encode(value_axis, *colour)
    whiskers = base.mark_rule(color="black", strokeWidth=2).encode(alt.Y(LOW, type="quantitative"), alt.Y2(HIGH))
    width = min(max(BAR * tidy["key_1"].n_unique(), NARROWEST), WIDEST)
    return _with_room(alt.LayerChart(layer=[bars, whiskers]).properties(width=width, height=HEIGHT))


def _with_room(drawn: alt.LayerChart) -> alt.LayerChart:
    """The chart with room around its words: a reader's font may be wider than the one it was measured in."""
    axis = alt.AxisConfig(labelFontSize=12, titleFontSize=12, titlePadding=14)
    legend = alt.LegendConfig(labelFontSize=12, titleFontSize=12, orient="top")
    return drawn.properties(config=alt.Config(axis=axis, legend=legend))


def _channels(keys: tuple[ReleaseColumn, ...]) -> tuple[alt.X, tuple[alt.XOffset, ...], tuple[alt.Color, ...]]:
    # sort=None keeps the order of the key domain, which is the order of the rows
    slanted = alt.Axis(labelAngle=-40, labelLimit=120, titlePadding=10)
    x = alt.X("key_1", type="nominal", title=keys[0].name, sort=None, axis=slanted)
    if len(keys) == 1:
        return x, (), ()
    return (
        x,
        (alt.XOffset("key_2", type="nominal", sort=None),),
        (alt.Color("key_2", type="nominal", title=keys[1].name, sort=None),),
    )


def _tidy(table: ReleaseTable, figure: ReleaseColumn) -> pl.DataFrame:
    """The chart's data under names of its own: a column's name may hold what Vega-Lite reads as a path."""
    frame = table.to_polars()
    keys = [
        pl.col(key.name).cast(pl.String).fill_null(_NOT_GIVEN).alias(f"key_{n}") for n, key in enumerate(table.keys, 1)
    ]
    value = pl.col(figure.name).cast(pl.Float64)
    margin = figure.half_width or 0.0
    return frame.select(*keys, value.alias(FIGURE), (value - margin).alias(LOW), (value + margin).alias(HIGH))
