"""A release as a chart: each cell with its own error bar, which can't be left off.

Counts and sums are drawn as bars; means, quantiles and ratios as points, for their zero says nothing. Dates go along a
time axis, and many names down the page, where they can be read. A cell without a figure is not drawn, and the chart
says how many there are.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import altair as alt
import polars as pl

from kaianalytics.client.cells import plain_key
from kaianalytics.client.comparison import Z
from kaianalytics.client.digits import number_of
from kaianalytics.errors import Refused
from kaianalytics.protocol import ReleaseColumn

if TYPE_CHECKING:
    from kaianalytics.client.comparison import Comparison
    from kaianalytics.client.release import ReleaseTable

FIGURE, LOW, HIGH = "figure", "low", "high"  # the columns of a chart's data, beside key_1 and key_2
BAR, NARROWEST, WIDEST, HEIGHT = 34, 240, 720, 300  # pixels: of a bar with its room, and of the chart
ROW, LETTER, MANY = 26, 8, 12  # pixels of a row and a letter; how many names are too many to stand side by side
LONG = 120  # days from which on a time axis is told in months
COLOUR = "#0b6e6e"
PALETTE = ["#0b6e6e", "#c2571a", "#4c5fa8", "#8a8d2f", "#9b3f7c", "#3f8fb0", "#7a5a3a", "#5b6675"]
_COUNTED = ("count", "sum")


def draw(table: ReleaseTable, figure: ReleaseColumn) -> alt.LayerChart:
    """`figure` with its 95% error bars over one key, or over two: dates along the axis, the other as colour."""
    if len(table.keys) not in (1, 2) or figure.role == "top":
        raise Refused(
            "CHART_NEEDS_KEYS",
            "A figure with an error bar is drawn over one or two keys.",
            hint="add keys up first: release.rollup(…); or draw it from `release.to_polars()`, with the `_pm` columns",
        )
    alt.renderers.enable("svg")
    keys = sorted(table.keys, key=lambda key: not _is_date(key))
    data = _tidy(table, figure, keys)
    shape = _Shape(figure, keys, data.drop_nulls(FIGURE))
    title = _title(figure.name, "± privacy noise, 95%", *_left_out(data))
    drawn = alt.LayerChart(layer=shape.layers()).properties(**shape.size(), title=title)
    return _with_room(drawn)


def draw_two(made: Comparison) -> alt.LayerChart:
    """The two cells of a comparison as bars, with error bars of privacy noise and sampling together."""
    if made.parts is None:
        raise Refused(
            "CHART_NEEDS_FIGURES", "There is nothing to draw.", hint=f"the comparison says why: {made.reason}"
        )
    alt.renderers.enable("svg")
    scale, unit = (100, ", %") if made.share else (1, "")
    reaches = [part.together * Z * scale for part in made.parts]
    values = [part.value * scale for part in made.parts]
    ends = [_ends(value, reach) for value, reach in zip(values, reaches, strict=True)]
    data = pl.DataFrame({"key_1": made.names, FIGURE: values, LOW: [e[0] for e in ends], HIGH: [e[1] for e in ends]})
    along = alt.X("key_1", type="nominal", title=None, sort=None, axis=alt.Axis(labelAngle=0, labelLimit=160))
    value = alt.Y(FIGURE, type="quantitative", title=None)
    base = alt.Chart(data).encode(along)
    bars = base.mark_bar(size=BAR + 16, color=COLOUR).encode(value)
    whiskers = base.mark_rule(strokeWidth=2).encode(alt.Y(LOW, type="quantitative"), alt.Y2(HIGH))
    title = _title(made.figure + unit, "± privacy noise and sampling, 95%")
    drawn = alt.LayerChart(layer=[bars, whiskers]).properties(width=NARROWEST + 40, height=HEIGHT, title=title)
    return _with_room(drawn)


class _Shape:
    """How one figure is drawn: over a time axis, side by side, or down the page."""

    def __init__(self, figure: ReleaseColumn, keys: list[ReleaseColumn], data: pl.DataFrame) -> None:
        self._figure, self._keys, self._data = figure, keys, data
        self._timed = _is_date(keys[0])
        self._first, self._second = data["key_1"].n_unique(), data["key_2"].n_unique() if len(keys) == 2 else 1
        self._down = not self._timed and self._first > MANY
        self._points = self._timed or figure.role not in _COUNTED

    def layers(self) -> list[alt.Chart]:
        """The figures, then their error bars."""
        base = alt.Chart(self._data).encode(*self._places(), *self._colour())
        value = self._value_axis()
        if self._timed:
            line = base.mark_line(strokeWidth=1.5).encode(value)
            return [
                line,
                self._bars(base, opacity=0.55),
                base.mark_point(filled=True, size=32, opacity=1).encode(value),
            ]
        width: Any = BAR + 16 if self._second == 1 and not self._down else alt.Undefined
        if self._points:
            return [self._bars(base), base.mark_point(filled=True, size=70, opacity=1).encode(value)]
        return [
            base.mark_bar(size=width).encode(value),
            self._bars(alt.Chart(self._data).encode(*self._places(), alt.ColorValue("black"))),
        ]

    def size(self) -> dict[str, Any]:
        """Width and height in pixels, wide enough to read each cell."""
        if self._timed:
            return {"width": WIDEST, "height": HEIGHT}
        if self._down:
            return {"width": WIDEST - 160, "height": ROW * self._first * max(1.0, self._second * 0.7)}
        each = max(BAR * self._second + 40, LETTER * self._longest() + 16)
        return {"width": min(max(each * self._first, NARROWEST), WIDEST), "height": HEIGHT}

    def _bars(self, base: alt.Chart, opacity: float = 1.0) -> alt.Chart:
        low: Any = alt.X(LOW, type="quantitative") if self._down else alt.Y(LOW, type="quantitative")
        high: Any = alt.X2(HIGH) if self._down else alt.Y2(HIGH)
        drawn: alt.Chart = base.mark_rule(strokeWidth=2, opacity=opacity).encode(low, high)
        return drawn

    def _value_axis(self) -> alt.X | alt.Y:
        scale = alt.Scale(zero=not self._points or self._figure.role in _COUNTED)
        if self._down:  # a reader's font may be wider than the one that ticks were placed for
            return alt.X(FIGURE, type="quantitative", title=None, scale=scale, axis=alt.Axis(tickCount=6))
        return alt.Y(FIGURE, type="quantitative", title=None, scale=scale)

    def _places(self) -> list[Any]:
        name = self._keys[0].name
        if self._timed:
            axis = alt.Axis(format="%b %y" if self._days() > LONG else "%-d %b", tickCount=6)
            return [alt.X("key_1", type="temporal", title=name, axis=axis)]
        # sort=None keeps the order of the key domain, which is the order of the rows
        if self._down:
            first: Any = alt.Y(
                "key_1", type="nominal", title=name, sort=None, axis=alt.Axis(labelLimit=160, titlePadding=28)
            )
            second: Any = alt.YOffset("key_2", type="nominal", sort=None)
        else:
            angle = alt.Axis(labelAngle=-35 if self._crowded() else 0, labelLimit=160)
            first = alt.X("key_1", type="nominal", title=name, sort=None, axis=angle)
            second = alt.XOffset("key_2", type="nominal", sort=None)
        return [first, second] if len(self._keys) == 2 else [first]

    def _crowded(self) -> bool:
        """Whether names are too long to stand level side by side."""
        return LETTER * self._longest() * self._first > WIDEST

    def _days(self) -> int:
        days = self._data["key_1"].to_list()
        return (max(days) - min(days)).days if days else 0

    def _longest(self) -> int:
        return max((len(str(name)) for name in self._data["key_1"]), default=0)

    def _colour(self) -> list[Any]:
        if len(self._keys) == 1:
            return [alt.ColorValue(COLOUR)]
        scale = alt.Scale(range=PALETTE)
        return [alt.Color("key_2", type="nominal", title=self._keys[1].name, sort=None, scale=scale)]


def _with_room(drawn: alt.LayerChart) -> alt.LayerChart:
    """The chart with room around its words: a reader's font may be wider than the one it was measured in."""
    axis = alt.AxisConfig(labelFontSize=12, titleFontSize=12, titlePadding=14)
    legend = alt.LegendConfig(labelFontSize=12, titleFontSize=12, orient="top", columnPadding=28)
    title = alt.TitleConfig(fontSize=13, subtitleFontSize=12, anchor="start", frame="group", offset=12)
    return drawn.properties(config=alt.Config(axis=axis, legend=legend, title=title))


def _is_date(key: ReleaseColumn) -> bool:
    return key.type.upper() in ("DATE", "TIMESTAMP")


def _title(name: str, *about: str) -> alt.TitleParams:
    """What is drawn, level and above it, where it has room."""
    return alt.TitleParams(name, subtitle=list(about))


def _left_out(data: pl.DataFrame) -> list[str]:
    missing = data[FIGURE].null_count()
    return [f"{missing} of {data.height} groups are too few to tell"] if missing else []


def _tidy(table: ReleaseTable, figure: ReleaseColumn, keys: list[ReleaseColumn]) -> pl.DataFrame:
    """The chart's data under names of its own: a column's name may hold what Vega-Lite reads as a path."""
    places = {column.name: place for place, column in enumerate(table.release.columns)}
    of = places[figure.name]
    values = [number_of(value) for value in table.values(of)]
    ends = [_ends(value, row[of]) for value, row in zip(values, table.release.margins, strict=True)]
    data: dict[str, list[Any]] = {
        f"key_{n}": [_key(key, row[places[key.name]]) for row in table.release.rows] for n, key in enumerate(keys, 1)
    }
    data |= {FIGURE: values, LOW: [low for low, _ in ends], HIGH: [high for _, high in ends]}
    types = {f"key_{n}": pl.Date if _is_date(key) else pl.String for n, key in enumerate(keys, 1)}
    frame = pl.DataFrame(data, schema={**types, **dict.fromkeys((FIGURE, LOW, HIGH), pl.Float64)})
    return frame.drop_nulls("key_1") if _is_date(keys[0]) else frame  # no day, no place on a time axis


def _ends(value: float | None, margin: float | None) -> tuple[float | None, float | None]:
    return (None, None) if value is None or margin is None else (value - margin, value + margin)


def _key(column: ReleaseColumn, value: Any) -> Any:
    if _is_date(column) and isinstance(value, str):
        return date.fromisoformat(value[:10])
    return None if _is_date(column) else plain_key(value)
