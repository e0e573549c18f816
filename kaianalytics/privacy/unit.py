"""Whose presence is hidden, and how much one of them may add: the public facts that a statistic rests on.

Every value here is a public constant of a data contract. None is ever taken from data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Literal

KeyValue = str | int | bool | date | None
ColumnType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]

KEY_TYPES: Mapping[ColumnType, type] = {"string": str, "integer": int, "boolean": bool, "date": date}
SUMMABLE_TYPES: frozenset[ColumnType] = frozenset({"integer", "number", "boolean"})


@dataclass(frozen=True)
class PrivacyUnit:
    """Neighbouring data differ in all rows of one value of `column`; all such units form `population`."""

    column: str
    population: str


@dataclass(frozen=True)
class ContributionBounds:
    """How much one unit may add to one answer: at most `groups` cells, at most `rows_per_group` rows in each."""

    groups: int
    rows_per_group: int

    def __post_init__(self) -> None:
        if self.groups < 1 or self.rows_per_group < 1:
            raise ValueError("contribution bounds are whole numbers from 1 upwards")


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


@dataclass(frozen=True)
class StatisticsColumn:
    """What the engine may know of one column: its type, and where declared its range and its keys."""

    name: str
    type: ColumnType
    nullable: bool = True
    identifier: bool = False  # a pseudonym: may be neither filtered on, grouped by, nor shown
    bounds: ValueBounds | None = None
    domain: KeyDomain | None = None

    def __post_init__(self) -> None:
        if self.identifier and (self.bounds or self.domain):
            raise ValueError("an identifier column has neither bounds nor a key domain")
        if self.bounds and self.type not in SUMMABLE_TYPES:
            raise ValueError("value bounds belong to an integer, number or boolean column")
        if self.domain and self.domain.type != self.type:
            raise ValueError("a key domain is of its column's type")


@dataclass(frozen=True)
class StatisticsView:
    """One view of a `statistics` store as the engine sees it: columns, unit and bounds, no data."""

    name: str
    unit: PrivacyUnit
    contribution: ContributionBounds
    columns: Mapping[str, StatisticsColumn] = field(default_factory=dict)
