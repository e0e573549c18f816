"""Whose presence is hidden, and how much one of them may add: the public facts that a statistic rests on.

Every value here is a public constant of a data contract. None is ever taken from data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import isqrt
from typing import Any, Literal

KeyValue = str | int | bool | date | None
ColumnType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]
WindowSpan = Literal["week", "month", "quarter", "year"]

KEY_TYPES: Mapping[ColumnType, type] = {"string": str, "integer": int, "boolean": bool, "date": date}
SUMMABLE_TYPES: frozenset[ColumnType] = frozenset({"integer", "number", "boolean"})


@dataclass(frozen=True)
class PrivacyUnit:
    """Neighbouring data differ in all rows of one value of `column`, in every linked table; units form `population`.

    `stored` is the column by which a store's rows are grouped: the pseudonym itself, or a number made from it alone.
    """

    column: str
    population: str
    stored: str = ""

    @property
    def key(self) -> str:
        """The column that the engine groups a unit's rows by."""
        return self.stored or self.column


@dataclass(frozen=True)
class ContributionBounds:
    """How much one unit may add to one answer: in `groups` cells `rows_per_group` rows each, or `rows` rows in all.

    At least one of the two is declared; where both are, both hold. `rows` is kept by the builder: a store holds no more
    rows of one unit.
    """

    groups: int | None = None
    rows_per_group: int | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        if (self.groups is None) != (self.rows_per_group is None):
            raise ValueError("groups and rows per group are declared together")
        if self.groups is None and self.rows is None:
            raise ValueError("contribution bounds are groups and rows per group, or rows, or both")
        if any(bound is not None and bound < 1 for bound in (self.groups, self.rows_per_group, self.rows)):
            raise ValueError("contribution bounds are whole numbers from 1 upwards")

    def l2(self, cells: int) -> int:
        """How far, rounded up, one unit's rows move the vector of row counts over `cells` cells (L2)."""
        return root_up(self.square(cells))

    def square(self, cells: int) -> int:
        """The square of that, before it is rounded."""
        limits = [] if self.rows is None else [self.rows**2]
        if self.groups is not None and self.rows_per_group is not None:
            limits.append(self.rows_per_group**2 * min(self.groups, cells))
        return min(limits)


@dataclass(frozen=True)
class ValueBounds:
    """A summable column's range, in whole multiples of `step` (0.01 for cents), both ends included."""

    lower: Decimal
    upper: Decimal
    step: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        if not (self.lower.is_finite() and self.upper.is_finite() and self.step.is_finite()):
            raise ValueError("value bounds are finite")
        if self.step <= 0 or self.lower >= self.upper:
            raise ValueError("value bounds need lower < upper and step > 0")
        if any((Fraction(end) / Fraction(self.step)).denominator != 1 for end in (self.lower, self.upper)):
            raise ValueError("value bounds are whole multiples of the step")

    @property
    def lower_steps(self) -> int:
        """The lower bound counted in steps."""
        return int(Fraction(self.lower) / Fraction(self.step))

    @property
    def upper_steps(self) -> int:
        """The upper bound counted in steps."""
        return int(Fraction(self.upper) / Fraction(self.step))


@dataclass(frozen=True)
class KeyDomain:
    """Every value that a grouping column can show, declared in public; `None` stands for a missing value."""

    column: str
    type: ColumnType
    values: tuple[KeyValue, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            raise ValueError("a key domain lists each of its values once")
        wanted = KEY_TYPES.get(self.type)
        if wanted is None:
            raise ValueError("a key domain is of strings, integers, booleans or dates")
        if any(value is not None and type(value) is not wanted for value in self.values):
            raise ValueError("a key domain's values are all of its type")

    @cached_property
    def ends(self) -> tuple[KeyValue, KeyValue]:
        """The least and the greatest of the values, or nothing twice."""
        values: list[Any] = [value for value in self.values if value is not None]
        return (min(values), max(values)) if values else (None, None)


@dataclass(frozen=True)
class StatisticsColumn:
    """What the engine may know of one column: its type, and where declared its range, keys and what it refers to."""

    name: str
    type: ColumnType
    nullable: bool = True
    identifier: bool = False  # a pseudonym: may be neither filtered on, grouped by, nor shown; only joined on
    bounds: ValueBounds | None = None
    domain: KeyDomain | None = None
    references: tuple[str, ...] = ()  # "view.column": the declared relationships, along which a join may go
    unique: bool = False  # the declared primary key: no value stands in two rows, which the builder verified

    def __post_init__(self) -> None:
        if self.identifier and (self.bounds or self.domain):
            raise ValueError("an identifier column has neither bounds nor a key domain")
        if self.bounds and self.type not in SUMMABLE_TYPES:
            raise ValueError("value bounds belong to an integer, number or boolean column")
        if self.domain and self.domain.type != self.type:
            raise ValueError("a key domain is of its column's type")


Quantiles = tuple[tuple[Decimal, Decimal], ...]  # (share of units, at most this much), both rising, the last share 1


@dataclass(frozen=True)
class Profile:
    """How rows and values spread over units, known in public: declared by a contract, or found by a paid release.

    `rows` says how many rows a unit has; `totals[column]` what the absolute values of its rows add up to; `norms[i]`,
    known for one question alone, how long the vector of its part in measure i is. A profile decides which bounds are
    chosen, and nothing of what they guarantee.
    """

    units: int
    rows: Quantiles = ()
    totals: Mapping[str, Quantiles] = field(default_factory=dict)
    norms: Mapping[int, Quantiles] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.units < 1:
            raise ValueError("a profile counts its units")
        for points in (self.rows, *self.totals.values(), *self.norms.values()):
            rising = all(one[0] < two[0] and one[1] <= two[1] for one, two in pairwise(points))
            if points and not (rising and points[0][0] > 0 and points[0][1] >= 0 and points[-1][0] == 1):
                raise ValueError("a profile's quantiles rise to the share 1")


@dataclass(frozen=True)
class Windows:
    """Budgets that live with windows of time: the unit is then one customer in one window.

    `column` is the immutable event time that questions are bounded by; `stored` the column in which the builder wrote
    the first day of each row's window: that of its event, or of its arrival where it came later.
    """

    column: str
    span: WindowSpan
    first: date  # the first day of the first window that the view may hold
    last: date  # a day of the last one
    stored: str = "kai_window"


@dataclass(frozen=True)
class PreAggregate:
    """A table per unit and cell that the builder made under the contract's own bounds, in the shape of `form`.

    `table` has the unit's key, one column for each of `keys`, `kai_rows` (rows counted) and `sum_<column>` (steps).
    """

    table: str
    keys: tuple[str, ...]
    sums: tuple[str, ...]


@dataclass(frozen=True)
class StatisticsView:
    """One view of a `statistics` store as the engine sees it: columns, unit and bounds, no data.

    Without a unit it is a public table, about nobody: it can be joined, and alone it can't be asked. `rank` is the
    stored column that numbers a unit's rows from 1 in the order of a hash, where the builder wrote one.
    """

    name: str
    unit: PrivacyUnit | None
    contribution: ContributionBounds | None
    columns: Mapping[str, StatisticsColumn] = field(default_factory=dict)
    rank: str = ""
    profile: Profile | None = None
    windows: Windows | None = None
    pre_aggregates: tuple[PreAggregate, ...] = ()

    def __post_init__(self) -> None:
        if (self.unit is None) != (self.contribution is None):
            raise ValueError("a view about units has contribution bounds, and a public table has none")
        if self.unit is None and (self.rank or self.profile or self.windows or self.pre_aggregates):
            raise ValueError("a public table has no units to rank, profile or window")


def root_up(square: int) -> int:
    """The square root of a whole number, rounded up."""
    root = isqrt(square)
    return root if root * root == square else root + 1
