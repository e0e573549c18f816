"""Whole questions for the auditor: a small world with customers who stand out, and the compiled plan over it.

Each customer is removed in turn; the one whose absence moves the figures most, measured in the noise that they get, is
the one whose privacy is attacked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
from audit.auditor import Audit, audited, by_likelihood, probability_at_least
from audit.drawing import Numbers, Release, copies, found, honest
from support.privacy_kit import parsed

from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.bounding.assembling import assemble
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.measurement import Measurement, plan_noise
from kaianalytics.privacy.plan import Cell, Exact, Plan
from kaianalytics.privacy.query import StatisticsQuery
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import (
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
    Windows,
)

PLACES, TOWNS = ("a", "b", "c"), tuple(f"town {i}" for i in range(6))
COLUMNS = {
    "customer": StatisticsColumn("customer", "string", False, identifier=True),
    "place": StatisticsColumn("place", "string", domain=KeyDomain("place", "string", PLACES)),
    "town": StatisticsColumn("town", "string"),
    "day": StatisticsColumn("day", "date", False),
    "spent": StatisticsColumn("spent", "integer", bounds=ValueBounds(Decimal(-10), Decimal(10))),
}
DAY = "CAST(DATE '2026-01-10' + to_months(CAST(ascii(place) - ascii('a') AS INTEGER)) AS DATE) AS day"
WINDOW = "CAST(date_trunc('month', day) AS DATE) AS kai_window"
RANK = "row_number() OVER (PARTITION BY customer ORDER BY md5(concat(place, town, spent))) AS kai_rank"
DELTA = Decimal("0.001")
LOSS = PrivacyLoss.of("0.5")


def customers() -> list[tuple[str, str, str, int]]:
    """Many with one visit, some with many, one who is everywhere and spends beyond all bounds, one in a lonely town."""
    rows = [(f"one {i}", PLACES[i % 3], TOWNS[i % 6], i % 11) for i in range(90)]
    for i in range(12):
        rows += [(f"many {i}", PLACES[(i + j) % 3], TOWNS[(i + j) % 6], 10 - j % 3) for j in range(8)]
    rows += [("everywhere", PLACES[j % 3], TOWNS[j % 6], 1_000) for j in range(120)]
    return [*rows, ("lonely", "a", "nowhere", 10), ("lonely", "b", "nowhere", 10)]


@dataclass(frozen=True)
class Asked:
    """A question under a contract's bounds, and the analyst's own."""

    sql: str
    contribution: ContributionBounds
    bounds: dict[str, Any] | None = None
    ranked: bool = False  # whether the store numbers each customer's rows
    windowed: bool = False  # whether the unit is a customer in one month

    def query(self) -> StatisticsQuery:
        """The question as it was read."""
        rank = "kai_rank" if self.ranked else ""
        windows = Windows("day", "month", date(2026, 1, 1), date(2026, 3, 31)) if self.windowed else None
        unit = PrivacyUnit("customer", "customers")
        view = StatisticsView("visits", unit, self.contribution, COLUMNS, rank, windows=windows)
        return lower(parsed(self.sql), BoundsAsked.of(self.bounds).narrowed({"visits": view}))

    def plan(self) -> Plan:
        """The compiled plan."""
        return compile_query(self.query(), BoundsAsked.of(self.bounds), LOSS)


@dataclass(frozen=True)
class Attack:
    """One question, with the figures with and without the customer who stands out most."""

    plan: Plan
    release: Release = honest
    rows: list[tuple[str, str, str, int]] = field(default_factory=customers)

    @cached_property
    def measurement(self) -> Measurement:
        """The noise that is proved for the plan."""
        return plan_noise(self.plan, LOSS, None, DELTA)

    @cached_property
    def neighbours(self) -> tuple[Exact, Exact]:
        """All customers; and all but the one."""
        with duckdb.connect() as connection:
            connection.execute("CREATE TABLE everyone (customer VARCHAR, place VARCHAR, town VARCHAR, spent INTEGER)")
            connection.executemany("INSERT INTO everyone VALUES (?, ?, ?, ?)", self.rows)
            everyone = self._figures(connection, "")
            names = dict.fromkeys(row[0] for row in self.rows if not row[0].startswith("one ") or row[0] < "one 2")
            others = [self._figures(connection, name) for name in names]
        return everyone, max(others, key=lambda other: self._distance(everyone, other))

    def audits(self, draws: int) -> list[Audit]:
        """The claim held against draws, looked at in several ways."""
        return [audit for one, two in self._looks(draws) for audit in audited(self.measurement.account_loss, one, two)]

    def least_delta(self, draws: int) -> float:
        """A lower bound of the chance that a group of one customer alone is shown."""
        one, two = self.neighbours
        places = [place for place, cell in enumerate(one.cells) if cell not in two.cells]
        vectors = tuple(tuple(vector[place] for place in places) for vector in one.vectors)  # one number in each cell
        alone = Exact(tuple(one.cells[place] for place in places), vectors)
        shown = found(self.measurement, alone, draws, self.release).shown
        return probability_at_least(int(shown.any(axis=1).sum()), draws)

    def _figures(self, connection: duckdb.DuckDBPyConnection, without: str) -> Exact:
        stored = f"SELECT *, {DAY}, {WINDOW}, {RANK} FROM everyone WHERE customer <> ?"
        connection.execute(f"CREATE OR REPLACE TABLE visits AS {stored}", [without])
        results = [connection.execute(statement.sql).fetchall() for statement in self.plan.statements]
        return assemble(self.plan, results)

    def _distance(self, one: Exact, two: Exact) -> float:
        cells = tuple(dict.fromkeys((*one.cells, *two.cells)))
        moved = zip(self._table(one, cells), self._table(two, cells), self.measurement.noises, strict=True)
        return sum(float(((np.nan_to_num(a) - np.nan_to_num(b)) ** 2).sum()) / n.scale**2 for a, b, n in moved)

    def _table(self, exact: Exact, cells: tuple[Cell, ...]) -> list[Numbers]:
        """Each vector's figures over those cells, NaN where there is none."""
        place = {cell: i for i, cell in enumerate(exact.cells)}
        tables = []
        for vector, figures in zip(self.plan.vectors, exact.vectors, strict=True):
            rows = np.array(figures, dtype=np.float64).reshape(len(exact.cells), vector.width)
            nothing = np.full(vector.width, np.nan)
            tables.append(np.array([rows[place[cell]] if cell in place else nothing for cell in cells]).ravel())
        return tables

    def _looks(self, draws: int) -> list[tuple[Numbers, Numbers]]:
        """The draws of both reduced to numbers: by their likelihood, and by how figures differ from one another."""
        one, two = self.neighbours
        if any(vector.kind == "top" for vector in self.plan.vectors):
            first, second = (copies(self.measurement, exact, draws, self.release) for exact in (one, two))
            outcomes = [[tuple(row) for row in np.hstack(vectors).tolist()] for vectors in (first, second)]
            return [by_likelihood(*outcomes)]
        cells = tuple(dict.fromkeys((*one.cells, *two.cells)))
        first, second = (self._standard(exact, cells, draws) for exact in (one, two))
        true, other = (np.nan_to_num(np.hstack(self._scaled(self._table(exact, cells)))) for exact in (one, two))
        weights, middle = true - other, (true + other) / 2
        looks = [tuple(np.nan_to_num((drawn - middle) * weights).sum(axis=1) for drawn in (first, second))]
        most = np.argsort(-np.abs(weights))[:2]
        for place in most:
            for against in range(min(first.shape[1], 6)):
                if against != place:
                    looks.append(tuple(np.nan_to_num(d[:, place] - d[:, against]) for d in (first, second)))
        return looks  # type: ignore[return-value]  # pairs, all of them

    def _standard(self, exact: Exact, cells: tuple[Cell, ...], draws: int) -> Numbers:
        """One row for each draw: all figures, in standard deviations of their noise; NaN where a cell is not shown."""
        if self.plan.threshold is None:
            return np.hstack(self._scaled(copies(self.measurement, exact, draws, self.release)))
        drawn = found(self.measurement, exact, draws, self.release).figures
        wide = [np.full((draws, len(cells)), np.nan) for _ in drawn]
        places = [cells.index(cell) for cell in exact.cells]
        for table, figures in zip(wide, drawn, strict=True):
            table[:, places] = figures
        return np.hstack(self._scaled(wide))

    def _scaled(self, tables: list[Numbers]) -> list[Numbers]:
        return [table / noise.scale for table, noise in zip(tables, self.measurement.noises, strict=True)]


def rewritten(plan: Plan, *edits: tuple[str, str]) -> Plan:
    """The plan with its SQL changed: a fault that somebody planted. Each edit must change something."""
    statements = []
    for statement in plan.statements:
        sql = statement.sql
        for old, new in edits:
            sql = sql.replace(old, new)
        statements.append(replace(statement, sql=sql))
    for old, _ in edits:
        assert any(old in statement.sql for statement in plan.statements), f"{old!r} is not in the plan's SQL any more"
    return replace(plan, statements=tuple(statements))
