"""A statistical question as a value: a source, its keys, the measures that get noise, and what is made of them after.

Laws: a `StatisticsQuery` is checked where it is born, so an unanswerable one can't exist; noise is added to measures
alone, and everything in `select`, `having` and `order` is computed from noisy measures and public keys, so that it
costs nothing more; no identifier is read but to join along a declared relationship.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from kaianalytics.privacy.expression import ColumnOf, Expression
from kaianalytics.privacy.unit import KeyValue, PrivacyUnit, StatisticsView, ValueBounds

MAX_MEASURES = 40
MAX_FIGURES = 40


# --- where rows come from


@dataclass(frozen=True)
class Relation:
    """One view, or one small table of the analyst's own (`rows`), which counts as public."""

    view: StatisticsView
    rows: tuple[tuple[KeyValue | Decimal, ...], ...] | None = None  # in the order of the view's columns


JoinKind = Literal["inner", "left", "semi", "anti"]


@dataclass(frozen=True)
class Join:
    """How the relation at the same place, one further, is attached: pairs (an earlier column, its own), all equal.

    `where` is a further condition of the join itself. `unique` says that each earlier row meets at most one of its
    rows, so that a join multiplies nothing. A `semi` join keeps the rows that meet any of them, an `anti` join those
    that meet none; nothing reads the columns of either.
    """

    kind: JoinKind
    on: tuple[tuple[ColumnOf, ColumnOf], ...]
    where: Expression | None
    unique: bool


@dataclass(frozen=True)
class Source:
    """The relations of a question: the first, and each further one with its join (`joins[i]` attaches i + 1).

    `unit` is the place of the relation whose rows name the privacy unit; other relations with units of the same
    population are joined on the unit as well, whatever `on` says.
    """

    relations: tuple[Relation, ...]
    joins: tuple[Join, ...]
    unit: int

    def __post_init__(self) -> None:
        if len(self.joins) != len(self.relations) - 1:
            raise ValueError("each relation after the first has one join")
        if self.relations[self.unit].view.unit is None:
            raise ValueError("a question is about units")

    @property
    def view(self) -> StatisticsView:
        """The view whose unit and bounds hold for the question."""
        return self.relations[self.unit].view

    @property
    def privacy_unit(self) -> PrivacyUnit:
        """Whose presence is hidden."""
        unit = self.view.unit
        assert unit is not None  # checked when the source was born
        return unit

    @property
    def multiplies(self) -> bool:
        """Whether one row of the unit's view may become several."""
        return self.unit != 0 or not all(join.unique for join in self.joins)


# --- what is grouped by, and what is measured


@dataclass(frozen=True)
class Key:
    """A grouping expression, and every value it can show; `domain` None: unknown, found by a noisy threshold."""

    expression: Expression
    domain: tuple[KeyValue, ...] | None


@dataclass(frozen=True)
class Measure:
    """One number per cell (`tree`, `top` and `histogram`: several) that is bounded per unit and gets noise.

    rows      rows for which `where` is true
    units     distinct units among them
    sum       of `expression` within `bounds`, less `centre` in each row; missing values add nothing
    tree      counts of `expression` in the leaves of a tree over `bounds`, level by level, for quantiles
    histogram counts of `expression` in the bins between `edges`
    top       the `size` most frequent of the values `domain` of `expression`, without their counts

    `weighed_by` names the measure (its place) whose bound per unit this one shares: the two parts of a mean are kept or
    scaled down together, for else their ratio would be off.
    """

    kind: Literal["rows", "units", "sum", "tree", "histogram", "top"]
    expression: Expression | None = None
    bounds: ValueBounds | None = None
    centre: Decimal = Decimal(0)
    where: Expression | None = None
    edges: tuple[Decimal, ...] = ()
    domain: tuple[KeyValue, ...] = ()
    size: int = 0
    weighed_by: int | None = None


# --- what is made of them after the noise


@dataclass(frozen=True)
class Of:
    """The noisy value of a measure in this cell; `item` picks one of a histogram's bins."""

    measure: int
    item: int = 0
    kind: str = field(default="of", init=False, repr=False)


@dataclass(frozen=True)
class QuantileOf:
    """A quantile of a tree measure in this cell."""

    measure: int
    fraction: Decimal
    kind: str = field(default="quantile", init=False, repr=False)


@dataclass(frozen=True)
class TopOf:
    """The value at one rank of a top measure in this cell, 0 the first."""

    measure: int
    rank: int
    kind: str = field(default="top", init=False, repr=False)


@dataclass(frozen=True)
class KeyOf:
    """The value of a key in this cell, by its place."""

    key: int
    kind: str = field(default="key", init=False, repr=False)


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: Decimal
    kind: str = field(default="number", init=False, repr=False)


@dataclass(frozen=True)
class Constant:
    """A constant that is no number: a text, a truth value, a date, NULL."""

    value: KeyValue
    kind: str = field(default="constant", init=False, repr=False)


@dataclass(frozen=True)
class Apply:
    """An operation after the noise: + - * / negate abs sqrt round floor ceil least greatest coalesce nullif,
    = <> < <= > >= and or not is_null, case (condition, value, …, else)."""

    operation: str
    arguments: tuple[After, ...]
    kind: str = field(default="apply", init=False, repr=False)


After = Of | QuantileOf | TopOf | KeyOf | Number | Constant | Apply
FigureRole = Literal["count", "sum", "mean", "variance", "deviation", "quantile", "top", "ratio"]


@dataclass(frozen=True)
class KeyColumn:
    """A key in the answer, under its name."""

    name: str
    key: int


@dataclass(frozen=True)
class Figure:
    """A column of noisy figures in the answer. `support` is the measure that counts the rows it rests on."""

    name: str
    role: FigureRole
    value: After
    support: int | None = None
    whole: bool = False  # shown as a whole number
    negative: bool = False  # whether it can be below zero in truth


@dataclass(frozen=True)
class Ordering:
    """One term of ORDER BY."""

    value: After
    descending: bool
    nulls_first: bool


@dataclass(frozen=True)
class StatisticsQuery:
    """One question, in the order of its SELECT."""

    source: Source
    where: Expression | None
    keys: tuple[Key, ...]
    measures: tuple[Measure, ...]
    select: tuple[KeyColumn | Figure, ...]
    having: After | None = None
    order: tuple[Ordering, ...] = ()
    limit: int | None = None
    offset: int = 0

    def __post_init__(self) -> None:
        if not self.measures or not self.figures:
            raise ValueError("a question measures something and shows it")
        if any(m.weighed_by is not None and not 0 <= m.weighed_by < len(self.measures) for m in self.measures):
            raise ValueError("a measure is weighed by a measure of the same question")

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The noisy columns, in the order of the SELECT."""
        return tuple(item for item in self.select if isinstance(item, Figure))

    @property
    def unknown(self) -> bool:
        """Whether some key's values are not public, so that a noisy threshold finds them."""
        return any(key.domain is None for key in self.keys)


Views = Mapping[str, StatisticsView]
