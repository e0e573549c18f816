"""How answers look in a notebook: a release with its error bars, the datasets, the budget.

Laws:
1. A noisy figure is never shown or converted without its error bar. In a frame the figure `n` is followed by `n_pm`,
   the half-width of its 95% interval: the interval is `n - n_pm` to `n + n_pm`.
2. Every table says what it rests on: snapshot, isolation level, cost, and what the ± does not count.
3. Everything that came over the wire is escaped before it is HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from html import escape
from math import ceil
from typing import TYPE_CHECKING, Any

import polars as pl

from kaianalytics.client.tables import html_caption, html_table, text_table
from kaianalytics.errors import Refused
from kaianalytics.protocol import (
    ISOLATION_SENTENCES,
    Budget,
    BudgetLine,
    Dataset,
    Release,
    ReleaseColumn,
    Scalar,
)

if TYPE_CHECKING:
    import altair as alt

PM = "_pm"
_ASKED_BY = {"rows": "kai.sql", "statistics": "kai.stats"}
_COLUMN_FACTS = ("column", "type", "for statistics", "what it is")
_NAMED_FACTS = ("name", "type", "description", "nullable")  # what a column says of itself under a heading of its own
_KEY_TYPES: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "DATE": lambda column: column.str.to_date(),
    "TIMESTAMP": lambda column: column.str.to_datetime(),
}


@dataclass(frozen=True, repr=False)
class Shown:
    """Something that a notebook shows as text and as HTML, both made from the same lines."""

    def _text(self) -> str:
        raise NotImplementedError

    def _html(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return self._text()

    def _repr_html_(self) -> str:
        return self._html()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": self._text(), "text/html": self._html()}


@dataclass(frozen=True, repr=False)
class Footnote(Shown):
    """What a release rests on, without its table: for a chart whose figures are too many to list."""

    sentences: tuple[str, ...]

    def _text(self) -> str:
        return "\n".join(self.sentences)

    def _html(self) -> str:
        return f'<div class="kai-release">{html_caption(self.sentences)}</div>'


@dataclass(frozen=True, repr=False)
class ReleaseTable(Shown):
    """A release as an analyst reads it: figures with ±, and what they rest on."""

    release: Release
    charged: bool = True  # whether this asking was, or an earlier one
    remaining: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[ReleaseColumn, ...]:
        """The columns that say which group a row is."""
        return tuple(column for column in self.release.columns if column.role == "key")

    @property
    def figures(self) -> tuple[ReleaseColumn, ...]:
        """The noisy columns."""
        return tuple(column for column in self.release.columns if column.role != "key")

    def to_polars(self) -> pl.DataFrame:
        """The release as a frame: the keys; then each figure `n` with `n_pm`, its half-width at 95%."""
        taken = {column.name for column in self.release.columns}
        series: list[pl.Series] = []
        for index, column in enumerate(self.release.columns):
            values = [row[index] for row in self.release.rows]
            series.append(_series(column, values))
            if column.role != "key":
                margin = [column.half_width] * len(values)
                series.append(pl.Series(_free_name(column.name + PM, taken), margin, pl.Float64))
        return pl.DataFrame(series)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The frame of `to_polars` for any library that reads the Arrow stream interface."""
        return self.to_polars().__arrow_c_stream__(requested_schema)

    def chart(self, figure: str = "") -> alt.LayerChart:
        """Bars with error bars of one figure (the first, unless named) over one key, or two with the second as colour.

        Charts of this kernel are drawn as SVG from here on: the usual rendering loads its script from the network.
        """
        from kaianalytics.client import chart  # Altair takes over a second to import, and most releases are only read

        return chart.draw(self, self._figure(figure))

    @property
    def caption(self) -> tuple[str, ...]:
        """The sentences under the table: the error bars, the bounding, the cost, the snapshot, the isolation."""
        release = self.release
        cost = f"ρ {release.rho}" + (" charged" if self.charged else ", a repeat of a recorded release: not charged")
        left = ", ".join(f"{name} {amount}" for name, amount in self.remaining.items())
        return (
            f"± is privacy noise at {release.confidence:.0%}; it counts neither sampling nor what bounding leaves out.",
            *release.bounding,
            f"Release {release.release_id}: {cost} (δ {release.delta})." + (f" Left: ρ {left}." if left else ""),
            f"Purpose {release.purpose}. Snapshot {release.snapshot}.",
            isolation_sentence(release.isolation),
        )

    @property
    def footnote(self) -> Footnote:
        """The caption alone, to stand under a chart or a table that was made from this release."""
        return Footnote(self.caption)

    def _figure(self, name: str) -> ReleaseColumn:
        for column in self.figures:
            if name in ("", column.name):
                return column
        raise Refused(
            "NO_SUCH_FIGURE",
            "The release has no figure of that name.",
            hint="its figures are: " + ", ".join(column.name for column in self.figures),
        )

    def _cells(self) -> list[list[str]]:
        return [
            [_cell(column, value) for column, value in zip(self.release.columns, row, strict=True)]
            for row in self.release.rows
        ]

    def _text(self) -> str:
        table = text_table([column.name for column in self.release.columns], self._cells(), self._right)
        return "\n".join([*table, "", *self.caption])

    def _html(self) -> str:
        table = html_table([column.name for column in self.release.columns], self._cells(), self._right)
        return f'<div class="kai-release">{table}{html_caption(self.caption)}</div>'

    @property
    def _right(self) -> frozenset[int]:
        return frozenset(index for index, column in enumerate(self.release.columns) if column.role != "key")


@dataclass(frozen=True, repr=False)
class DatasetList(Shown, Sequence[Dataset]):
    """The views of a purpose; `datasets["sessions"]` is one by name."""

    entries: tuple[Dataset, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Dataset]:
        return iter(self.entries)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return self.entries[key]
        for entry in self.entries:
            if entry.name == key:
                return entry
        names = ", ".join(entry.name for entry in self.entries)
        raise Refused("NO_SUCH_DATASET", "This purpose has no view of that name.", hint=f"its views are: {names}")

    def to_polars(self) -> pl.DataFrame:
        """One row per column of a view: view, title, access, column, type, description, facts, fresh_as_of, bounds."""
        rows = [
            {
                "view": entry.name,
                "title": entry.title,
                "access": " and ".join(entry.access),
                "column": str(column.get("name", "")),
                "type": str(column.get("type", "")),
                "description": str(column.get("description", "")),
                "facts": _facts(column),
                "fresh_as_of": entry.fresh_as_of,
                "bounds": entry.bounds,
            }
            for entry in self.entries
            for column in entry.columns
        ]
        names = ("view", "title", "access", "column", "type", "description", "facts", "fresh_as_of", "bounds")
        return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))

    def _text(self) -> str:
        blocks = [
            "\n".join([_headline(entry), *text_table(_COLUMN_FACTS, _column_rows(entry))]) for entry in self.entries
        ]
        return "\n\n".join(blocks) or "This purpose has no views."

    def _html(self) -> str:
        blocks = [f"<p>{_headline_html(entry)}</p>{self._table(entry)}" for entry in self.entries]
        return f'<div class="kai-datasets">{"".join(blocks)}</div>' if blocks else "<p>This purpose has no views.</p>"

    def _table(self, entry: Dataset) -> str:
        return html_table(_COLUMN_FACTS, _column_rows(entry))


@dataclass(frozen=True, repr=False)
class BudgetTable(Shown):
    """What is left of each allowance, as a gauge and as figures."""

    budget: Budget

    def to_polars(self) -> pl.DataFrame:
        """One row per allowance: allowance, limit, spent, remaining; ρ as floats, for reading and plotting only."""
        rows = [(line.name, float(line.limit), float(line.spent), float(line.remaining)) for line in self.budget.lines]
        schema = {"allowance": pl.String, "limit": pl.Float64, "spent": pl.Float64, "remaining": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    @property
    def caption(self) -> tuple[str, ...]:
        """What the figures are, and how long they last."""
        about = f"ρ of {self.budget.population}, for {self.budget.purpose}. What is spent does not come back."
        return (about, *((self.budget.note,) if self.budget.note else ()))

    def _text(self) -> str:
        cells = [[line.name, line.remaining, line.limit, _percent(line)] for line in self.budget.lines]
        table = text_table(["allowance", "left", "of", ""], cells, frozenset({1, 2, 3}))
        return "\n".join([*table, "", *self.caption])

    def _html(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(line.name)}</td><td>{_gauge(line)}</td>"
            f'<td style="text-align:right">{escape(line.remaining)} of {escape(line.limit)}</td></tr>'
            for line in self.budget.lines
        )
        head = "<tr><th>allowance</th><th>left</th><th>ρ</th></tr>"
        table = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
        return f'<div class="kai-budget">{table}{html_caption(self.caption)}</div>'


def isolation_sentence(level: str) -> str:
    """What an isolation level means, in one sentence."""
    if level in ISOLATION_SENTENCES:
        return ISOLATION_SENTENCES[level]
    return level if level.startswith("Isolation:") else f"Isolation: {level or 'not stated'}."


def _series(column: ReleaseColumn, values: list[Scalar]) -> pl.Series:
    series = pl.Series(column.name, values, strict=False)
    kind = column.type.upper()
    if series.dtype == pl.String and (convert := _conversion(kind)):
        return pl.select(convert(pl.lit(series))).to_series().alias(column.name)
    # a figure is a number even where a release has no rows to tell it by
    return series if series.dtype != pl.Null or column.role == "key" else series.cast(pl.Float64)


def _conversion(kind: str) -> Callable[[pl.Expr], pl.Expr] | None:
    if kind.startswith(("DECIMAL", "HUGEINT")):  # exact sums cross the wire as text
        return lambda column: column.cast(pl.Float64)
    return _KEY_TYPES.get(kind)


def _headline(entry: Dataset) -> str:
    return f"{entry.name}: {_about(entry)}"


def _headline_html(entry: Dataset) -> str:
    return f"<strong>{escape(entry.name)}</strong>: {escape(_about(entry))}"


def _about(entry: Dataset) -> str:
    """Title, how to ask, bounds and freshness, each a sentence."""
    asked = " and ".join(_ASKED_BY.get(level, level) for level in entry.access)
    bounds = f" {entry.bounds[:1].upper()}{entry.bounds[1:]}." if entry.bounds else ""
    return f"{entry.title}. Ask with {asked}.{bounds} Source written {entry.fresh_as_of}."


def _column_rows(entry: Dataset) -> list[list[str]]:
    return [
        [*(str(column.get(name, "")) for name in ("name", "type")), _facts(column), str(column.get("description", ""))]
        for column in entry.columns
    ]


def _facts(column: Mapping[str, Any]) -> str:
    """What else the gateway says of a column: its bounds, how many keys it has, that it is a pseudonym."""
    others = {name: value for name, value in column.items() if name not in _NAMED_FACTS and value not in (None, False)}
    return ", ".join(name if value is True else f"{name} {value}" for name, value in others.items())


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _cell(column: ReleaseColumn, value: Scalar) -> str:
    if value is None:
        return "not given" if column.role == "key" else "–"
    if column.role == "key":
        return str(value)
    return f"{_number(value)} ± {_margin(column.half_width)}" if column.half_width is not None else _number(value)


def _number(value: Scalar) -> str:
    with suppress(InvalidOperation):
        return f"{Decimal(value):,}" if isinstance(value, str) else _plain_number(value)  # exact sums cross as text
    return str(value)


def _plain_number(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}" if isinstance(value, float) else str(value)


def _margin(half_width: float) -> str:
    """A half-width rounded up: an error bar must not look smaller than it is."""
    return f"{ceil(half_width):,}" if half_width >= 10 else f"{ceil(half_width * 10) / 10:g}"


def _percent(line: BudgetLine) -> str:
    limit = float(line.limit)
    return f"{float(line.remaining) / limit:.0%}" if limit else "0%"


def _gauge(line: BudgetLine) -> str:
    return f'<meter min="0" max="{float(line.limit)}" value="{float(line.remaining)}">{_percent(line)}</meter>'
