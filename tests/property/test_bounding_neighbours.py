"""No unit moves the exact figures by more than the plan declares: each is removed in turn, from random worlds.

With windows a unit is one customer in one window. The same checks are shown to catch faults that are planted in the
SQL or in the declared sensitivities: a check that has caught nothing proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, event, given, settings
from support.bounding_world import SHOPS, Row, World, asked_bounds, compiled, exact_of, questions, stored, worlds
from support.privacy_kit import counted, expected

from kaianalytics.privacy.plan import Exact, Plan, Statement
from kaianalytics.privacy.unit import (
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
    Windows,
)

RELAXED = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def check_neighbours(engine: duckdb.DuckDBPyConnection, world: World, plan: Plan) -> None:
    """Leaving out any one unit moves each vector by no more than its declared sensitivities."""
    world.load(engine)
    full = exact_of(engine, plan)
    for unit, window in world.units:
        world.without(unit, window).load(engine)
        others = exact_of(engine, plan)
        for place, vector in enumerate(plan.vectors):
            moved = differences(full, others, place, vector.width)
            # A unit in a window that isn't charged moves nothing at all.
            read = window is None or not plan.windows or window.isoformat() in plan.windows
            assert read or not any(moved), (unit, window, vector)
            assert sum(d * d for d in moved) <= vector.l2**2, (unit, vector)
            assert max(map(abs, moved), default=0) <= vector.linf, (unit, vector)
            assert sum(d != 0 for d in moved) <= vector.l0, (unit, vector)


def differences(one: Exact, two: Exact, place: int, width: int) -> list[int]:
    """By how much the numbers of a vector differ, an absent cell having zeros."""

    def by_cell(exact: Exact) -> Mapping[Any, tuple[int, ...]]:
        numbers = exact.vectors[place]
        return {cell: numbers[i * width : (i + 1) * width] for i, cell in enumerate(exact.cells)}

    ours, theirs, zeros = by_cell(one), by_cell(two), (0,) * width
    cells = dict.fromkeys((*ours, *theirs))
    pairs = (zip(ours.get(cell, zeros), theirs.get(cell, zeros), strict=True) for cell in cells)
    return [a - b for pair in pairs for a, b in pair]


def check_reference(engine: duckdb.DuckDBPyConnection, world: World, plan: Plan, bounding: Any) -> None:
    """The figures are those of the reference."""
    world.load(engine)
    exact = exact_of(engine, plan)
    rows = counted(plan, bounding, world.rows(plan.query.source.relations))
    assert list(exact.vectors) == expected(plan, bounding, rows, exact.cells)


@RELAXED
@given(worlds(most=15), questions(), asked_bounds)
def test_no_unit_moves_the_answer_by_more_than_declared(
    engine: duckdb.DuckDBPyConnection, world: World, question: str, asked: dict[str, Any] | None
) -> None:
    plan, bounding = compiled(world, question, asked)
    event(f"{plan.form.kind}, {bounding.way}, {'known' if plan.cells else 'unknown'} cells")
    check_neighbours(engine, world, plan)


# --- planted faults

WHOLE = StatisticsColumn("whole", "integer", bounds=ValueBounds(Decimal(-1), Decimal(3)))
PLACE = StatisticsColumn("place", "string", domain=KeyDomain("place", "string", ("a", "b", "c")))
COLUMNS = (
    StatisticsColumn("who", "string", nullable=False, identifier=True, references=("visits.who",)),
    PLACE,
    StatisticsColumn("day", "date"),
    WHOLE,
    StatisticsColumn("real", "number", bounds=ValueBounds(Decimal(0), Decimal(2), Decimal("0.5"))),
)


MANY = ContributionBounds(rows=10**6)


def view(name: str, contribution: ContributionBounds, *columns: StatisticsColumn, **more: Any) -> StatisticsView:
    named = {column.name: column for column in (*COLUMNS, *columns)}
    return StatisticsView(name, PrivacyUnit("who", "people", "kai_unit"), contribution, named, **more)


def heavy(contribution: ContributionBounds, names: str = "v", **more: Any) -> World:
    """A few units with far more than they may add: rows, groups, values, and values that are missing.

    Their names decide which of them, or of their rows, a hash puts first.
    """
    days = (("u1", date(2026, 1, 5)), ("u2", date(2026, 1, 12)), ("u1", date(2026, 1, 12)))
    values = [(1000, 1e9), (900, 7.0), (-2000, -1e9), (3, 2.0), (3, 2.0), (None, None), (2, float("nan"))]
    rows: list[Row] = [
        {"who": who, "place": place, "day": day, "whole": whole, "real": real}
        for who, day in (*days, *((f"{names}{i}", date(2026, 1, 5)) for i in range(7)))
        for place in ("a", "b", "c", "undeclared")
        for whole, real in values
    ]
    rows.append({**rows[0], "level": 3})  # which arrives late
    declared = view("events", contribution, **more)
    windows = more.get("windows")
    others = view("visits", MANY, windows=windows)
    visits = [{**row, "day": date(2026, 1, 12)} for row in rows if row["who"] == "u1"][:3]
    tables = {
        "events": stored(replace(declared, contribution=MANY), rows),
        "visits": stored(others, visits),  # of one unit alone, and in one window
        "people": list[Row](),
        "shops": SHOPS,
    }
    return World({"events": declared, "visits": others}, tables)


@dataclass(frozen=True)
class Fault:
    """Something left out of a statement: which words are replaced by which; `moves`: more than is declared."""

    name: str
    question: str
    words: str
    others: str
    asked: Mapping[str, Any] | None
    view: Mapping[str, Any] = field(default_factory=lambda: {"contribution": LOOSE})
    moves: bool = True

    def planted(self, plan: Plan) -> Plan:
        """The plan without it."""
        faulty = [Statement(re.sub(self.words, self.others, s.sql), s.vectors, s.item) for s in plan.statements]
        assert [s.sql for s in faulty] != [s.sql for s in plan.statements], plan.statements
        return replace(plan, statements=tuple(faulty))


LOOSE = ContributionBounds(rows=4)
STORED = {"contribution": LOOSE, "rank": "kai_rank"}
GROUPED = {"contribution": ContributionBounds(1, 2)}
WINDOWED = {"contribution": LOOSE, "windows": Windows("day", "week", date(2026, 1, 5), date(2026, 1, 18))}
ROWS, NORM, GROUPS = {"rows": 2}, {"norm": "1.5"}, {"groups": 1, "rows_per_group": 2}
COUNTED = "SELECT place, count(*) FROM events GROUP BY place"
SUMMED = "SELECT place, sum(whole) FROM events GROUP BY place"
REAL = "SELECT sum(real) FROM events"
JOINED = "SELECT count(*) FROM events e JOIN visits v ON e.who = v.who"
MET = "SELECT count(*) FROM events WHERE who NOT IN (SELECT who FROM visits)"
EARLIER = "SELECT count(*) FROM events WHERE day < '2026-01-12'"
MISSING = r"CASE WHEN (e\d) BETWEEN -1 AND 3 THEN .*? END"
FAULTS = [
    Fault("stored rows are not limited", COUNTED, r'"kai_rank" <= 2', '"kai_rank" <= 99', ROWS, STORED),
    Fault("rows are not limited", COUNTED, r"place <= 2", "place <= 99", ROWS),
    Fault("units over the bound are not looked for", COUNTED, r"COUNT\(\*\) > 2", "COUNT(*) > 99", ROWS),
    Fault("rows are ranked across units", COUNTED, r"PARTITION BY u ", "", {"rows": 1}),
    Fault("groups are not limited", COUNTED, r"place <= 1", "place <= 99", GROUPS, GROUPED),
    Fault("groups are ranked across units", COUNTED, r"PARTITION BY u ", "", GROUPS, GROUPED),
    Fault("rows per group are not limited", COUNTED, r"LEAST\(COUNT\(\*\), 2\)", "COUNT(*)", GROUPS, GROUPED),
    Fault("sums per group are not limited", SUMMED, r", 6\), -2\)", ", 999999), -999999)", GROUPS, GROUPED),
    Fault("a norm is not limited", COUNTED, r"<= \d+ THEN v0", ">= 0 THEN v0", NORM),
    Fault("a norm is rounded, not cut", COUNTED, r"TRUNC", "ROUND", NORM),
    Fault("a norm is another unit's", COUNTED, r"AS m USING \(u\)", "AS m ON p.u <> m.u", NORM),
    Fault(
        "one cell's norm is not limited",
        "SELECT sum(whole) FROM events",
        r"LEAST\((\S+ \* .*?), \d+\), -\d+",
        r"(\1), -999999999",
        NORM,
    ),
    Fault(
        "one cell's mean is not scaled down",
        "SELECT avg(whole) FROM events",
        r"<= \d+ THEN CAST",
        ">= 0 THEN CAST",
        NORM,
    ),
    Fault("whole values are not clamped", SUMMED, r"> 3 THEN 3", "> 3 THEN e0", ROWS),
    Fault("doubles are not clamped", REAL, r"THEN 4 ELSE 0 END", "THEN 99 ELSE -99 END", ROWS),
    Fault("missing values count as bounds", SUMMED, MISSING, r"GREATEST(LEAST(\1, 3), -1)", ROWS, moves=False),
    Fault("another unit's rows are joined", JOINED, r't0\."kai_unit" = t1\."kai_unit"', "TRUE", ROWS),
    Fault("another unit's rows are met", MET, r't0\."kai_unit" = t1\."kai_unit"', "TRUE", ROWS),
    Fault("another window's rows are joined", JOINED, r't0\."kai_window" = t1\."kai_window"', "TRUE", ROWS, WINDOWED),
    Fault("windows that are not charged are read", EARLIER, r"t0.{14}BETWEEN .*?\) AND .*?\)", "TRUE", ROWS, WINDOWED),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_is_left_out_of_a_statement_is_caught(engine: duckdb.DuckDBPyConnection, fault: Fault) -> None:
    world = heavy(**fault.view)
    plan, bounding = compiled(world, fault.question, fault.asked)
    check_neighbours(engine, world, plan)
    check_reference(engine, world, plan, bounding)
    faulty = fault.planted(plan)
    with pytest.raises(AssertionError):
        check_reference(engine, world, faulty, bounding)
    if fault.moves:
        with pytest.raises(AssertionError):
            for names in "vwxyz":
                check_neighbours(engine, heavy(**fault.view, names=names), faulty)


FIGURES = [
    *("count(*)", "count(DISTINCT who)", "sum(whole)", "avg(real)", "median(real)"),
    "histogram(whole, [-3000, 0, 3000])",
]


@pytest.mark.parametrize("asked", [{"rows": 3}, NORM, {"groups": 3, "rows_per_group": 2}], ids=str)
@pytest.mark.parametrize("figure", FIGURES)
def test_a_sensitivity_that_is_halved_is_caught(
    engine: duckdb.DuckDBPyConnection, figure: str, asked: Mapping[str, Any]
) -> None:
    """Each kind of vector comes, in some form, more than half as near to what it declares as a unit can bring it."""
    world = heavy(ContributionBounds(3, 2) if "groups" in asked else LOOSE)
    plan, _ = compiled(world, f"SELECT place, {figure} FROM events GROUP BY place", asked)
    check_neighbours(engine, world, plan)
    halved = tuple(replace(vector, l2=max(1, vector.l2 // 2)) for vector in plan.vectors)
    with pytest.raises(AssertionError):
        check_neighbours(engine, world, replace(plan, vectors=halved))
