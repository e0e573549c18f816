"""What one statement counts: its rows, its parts, and the totals of a group of rows in whole steps.

Laws: a total is a sum of whole numbers, so that no order of rows changes it; where a cell has several numbers, only
rows that count in one of them are rows of the statement at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kaianalytics.privacy.bounding.counting import Part
from kaianalytics.privacy.bounding.forms import Bounding
from kaianalytics.privacy.bounding.rows import Rows
from kaianalytics.privacy.bounding.texts import literal, times
from kaianalytics.privacy.query import StatisticsQuery


@dataclass(frozen=True)
class Totals:
    """The rows of one statement, and the parts that it counts: all with one number per cell, or one with several.

    `test` is true of declared keys, and empty where there is nothing to test; `many`: a customer may be several units.
    """

    query: StatisticsQuery
    bounding: Bounding
    parts: tuple[Part, ...]
    rows: Rows
    test: str
    many: bool

    @property
    def item(self) -> bool:
        """Whether a cell has several numbers, told apart by the last of the keys."""
        return self.parts[0].item

    @property
    def keys(self) -> tuple[str, ...]:
        """What is grouped by: the keys of a cell, and the place of a number within it."""
        return self.rows.keys

    @property
    def cell(self) -> tuple[str, ...]:
        """The keys of a cell."""
        return self.keys[:-1] if self.item else self.keys

    @property
    def units(self) -> tuple[str, ...]:
        """The columns that name a unit."""
        return self.rows.units

    @property
    def having(self) -> str:
        """The test of the keys, after grouping."""
        return f" HAVING CASE WHEN COUNT(*) > 0 THEN {self.test} END" if self.test else ""

    def filter(self, part: Part) -> str:
        """Which rows count in the part."""
        return filter_of(part, self.rows)

    def count(self, part: Part) -> str:
        """How many rows count in the part."""
        return f"COUNT(*){self.filter(part)}"

    def of(self, part: Part) -> str:
        """The part of a group of rows, in steps."""
        return total_of(part, self.rows)


def filter_of(part: Part, rows: Rows) -> str:
    """Which rows count in the part."""
    condition = rows.conditions.get(part.measure)
    return f" FILTER (WHERE {condition})" if condition else ""


def total_of(part: Part, rows: Rows) -> str:
    """The part of a group of rows, in steps."""
    where = filter_of(part, rows)
    match part.kind:
        case "sum":
            x = rows.values[part.measure]
            total = times(part.scale, f"COALESCE(SUM({x}){where}, 0)")
            # As HUGEINT, for a centre far from zero times the rows of a cell may pass 64 bits, and must not fail there.
            return f"{total} - {part.centre} * CAST(COUNT({x}){where} AS HUGEINT)" if part.centre else total
        case "units":
            return times(part.scale, f"COUNT(DISTINCT u){where}")
        case _:
            return times(part.scale, f"COUNT(*){where}")


def named(values: Iterable[str]) -> tuple[str, ...]:
    """The values under the names v0, v1, …"""
    return tuple(f"{value} AS v{i}" for i, value in enumerate(values))


def numbered(query: StatisticsQuery, part: Part, rows: Rows) -> Rows:
    """The rows that count in one of a cell's several numbers, with the place of that number as the last key."""
    value, condition = rows.values[part.measure], rows.conditions.get(part.measure)
    tests = [condition] if condition else []
    if part.kind == "top":
        item, joined = (
            "item",
            f" INNER JOIN {_places(query, part)} AS d(value, item) ON {value} IS NOT DISTINCT FROM value",
        )
    else:
        item, joined, tests = f"{value} AS item", "", [f"{value} IS NOT NULL", *tests]
    where = f" WHERE {' AND '.join(tests)}" if tests else ""
    sql = f"SELECT {', '.join((*rows.units, *rows.keys, item))} FROM ({rows.sql}) AS i{joined}{where}"
    return Rows(sql, (*rows.keys, "item"), rows.units, {}, {})


def _places(query: StatisticsQuery, part: Part) -> str:
    """The values of a top measure's domain, with their places."""
    measure = query.measures[part.measure]
    assert measure.expression is not None  # a top counts the values of one
    kind = measure.expression.type
    return f"(VALUES {', '.join(f'({literal(value, kind)}, {i})' for i, value in enumerate(measure.domain))})"
