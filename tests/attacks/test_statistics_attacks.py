"""Attacks on statistics by reading the engine's own proofs: each question here was once, or might be, a way through.

What is claimed of a vector is held against what the engine's SQL gives with and without one unit, on tables that were
made for the attack; and whatever rows a store holds, no question may fail because of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import product
from typing import Any

import duckdb
import pytest
from support.privacy_kit import parsed

from kaianalytics.errors import QueryUnsupported
from kaianalytics.gateway.statistics.digests import charged_digest
from kaianalytics.gateway.statistics.finding import Finding, finding_of
from kaianalytics.gateway.statistics.lookups import lookups
from kaianalytics.gateway.statistics.question import lowered
from kaianalytics.privacy.bounding.assembling import assemble
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.bounding.pre_aggregates import pre_aggregate_sql
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.prices import Price
from kaianalytics.privacy.plan import Exact, Plan
from kaianalytics.privacy.query import Relation
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import (
    ContributionBounds,
    KeyDomain,
    PreAggregate,
    PrivacyUnit,
    Profile,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)
from kaianalytics.protocol import StatisticsRequest

WHO = StatisticsColumn("who", "string", nullable=False, identifier=True)
PLACE = StatisticsColumn("place", "string", domain=KeyDomain("place", "string", ("a", "b")))
STORED = PreAggregate("events_by_place", ("place",), ("amount",))
TYPES = {"who": "VARCHAR", "place": "VARCHAR", "amount": "DOUBLE", "town": "VARCHAR", "level": "INTEGER"}
SUMMED = "SELECT place, sum(amount) FROM events GROUP BY place"
MEAN = "SELECT place, avg(amount) FROM events GROUP BY place"

Rows = Sequence[tuple[Any, ...]]


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def between(lower: str, upper: str, step: str = "0.01") -> ValueBounds:
    return ValueBounds(Decimal(lower), Decimal(upper), Decimal(step))


def events(amount: ValueBounds, *others: StatisticsColumn, **more: Any) -> StatisticsView:
    """The view of the attacks, with bounds on its one amount."""
    columns = (WHO, PLACE, StatisticsColumn("amount", "number", nullable=False, bounds=amount), *others)
    contribution = more.pop("contribution", ContributionBounds(2, 3))
    named = {column.name: column for column in columns}
    return StatisticsView("events", PrivacyUnit("who", "people"), contribution, named, **more)


def planned(
    view: StatisticsView,
    question: str,
    bounds: Mapping[str, Any] | None = None,
    tables: Mapping[str, Relation] | None = None,
) -> Plan:
    """The plan that the gateway would make."""
    query, asked = lowered(parsed(question), bounds, {view.name: view}, tables or {})
    return compile_query(query, asked)


def exact(engine: duckdb.DuckDBPyConnection, plan: Plan, view: StatisticsView, rows: Rows) -> Exact:
    """The plan's exact figures over these rows, in a store with the view's pre-aggregates."""
    columns = list(view.columns)
    values = [[row[place] for row in rows] for place in range(len(columns))]
    lists = ", ".join(f"unnest(?::{TYPES[name]}[]) AS {name}" for name in columns)
    engine.execute(f"CREATE OR REPLACE TABLE events AS SELECT {lists}", values)
    for made in view.pre_aggregates:
        engine.execute(f"CREATE OR REPLACE TABLE {made.table} AS {pre_aggregate_sql(view, made)}")
    return assemble(plan, [engine.execute(statement.sql).fetchall() for statement in plan.statements])


def check_moves(engine: duckdb.DuckDBPyConnection, plan: Plan, view: StatisticsView, rows: Rows) -> None:
    """No unit moves a vector by more than is declared, and one of them moves something."""
    full, moved_at_all = exact(engine, plan, view, rows), False
    for unit in {row[0] for row in rows}:
        others = exact(engine, plan, view, [row for row in rows if row[0] != unit])
        for vector, one, two in zip(plan.vectors, full.vectors, others.vectors, strict=True):
            moved = [a - b for a, b in zip(one, two, strict=True)]
            moved_at_all |= any(moved)
            assert sum(d * d for d in moved) <= vector.l2**2, (unit, vector, moved)
            assert max(map(abs, moved)) <= vector.linf, (unit, vector, moved)
    assert moved_at_all


# --- pre-aggregates, which were bounded beforehand


@pytest.mark.parametrize("question", [SUMMED, MEAN])
def test_a_narrower_range_is_not_answered_by_what_the_contracts_range_bounded(
    engine: duckdb.DuckDBPyConnection, question: str
) -> None:
    view = events(between("0", "1000"), pre_aggregates=(STORED,))
    rows = [("u1", place, 1000.0) for place in ("a", "b")] + [("u2", "a", 1.0)]
    assert STORED.table in planned(view, question).statements[0].sql
    check_moves(engine, planned(view, question), view, rows)
    check_moves(engine, planned(view, question, {"values": {"amount": [0, 1]}}), view, rows)


def test_a_table_of_sums_in_fine_steps_is_not_read_in_coarse_ones(engine: duckdb.DuckDBPyConnection) -> None:
    view = events(between("0", "10000000"), pre_aggregates=(STORED,))  # so wide that sums are counted in steps of 0.1
    rows = [("u1", place, 1e7) for place in ("a", "b")] + [("u2", "a", 1.0)]
    check_moves(engine, planned(view, SUMMED), view, rows)


# --- errors that tell something of the rows


def test_no_number_of_rows_overflows_a_mean_far_from_zero(engine: duckdb.DuckDBPyConnection) -> None:
    """A centre of 10¹³ steps times a million rows is beyond 64 bits: the error told how many rows there are."""
    bounds = {"norm": 1, "values": {"amount": [999999.99, 1000000]}}
    view = events(between("0", "1000000"))
    (statement,) = planned(view, MEAN, bounds).statements
    engine.execute(
        "CREATE OR REPLACE TABLE events AS SELECT 'u' || range AS who, 'a' AS place, 5.0 AS amount FROM range(1000000)"
    )
    assert engine.execute(statement.sql).fetchall() == [("a", 0, 1_000_000 * 100_000)]


def own_tables(count: int, rows: int) -> Mapping[str, Relation]:
    """Tables of the analyst's own, of which each row of place `a` meets every row."""
    tables: dict[str, dict[str, Sequence[Any]]] = {
        f"l{i}": {"p": ["a"] * rows, "x": list(range(rows))} for i in range(count)
    }
    return lookups(StatisticsRequest("", tables=tables), ("events",))


def test_own_tables_make_no_clock_of_one_row() -> None:
    """Three of them made 10⁹ rows of one: a question met its deadline if a certain row was there, and only then."""
    view = events(between("0", "1"))

    def question(count: int) -> str:
        joins = " ".join(f"JOIN l{i} ON e.place = l{i}.p" for i in range(count))
        return f"SELECT sum(l0.x % 7) FROM events e {joins} WHERE amount = 0.5"

    assert planned(view, question(1), tables=own_tables(1, 100)).statements
    for count, rows in ((3, 1000), (2, 11), (5, 3)):
        with pytest.raises(QueryUnsupported) as refused:
            planned(view, question(count), tables=own_tables(count, rows))
        assert refused.value.code == "JOIN_MULTIPLIES"


def test_joined_views_make_no_clock_of_one_unit() -> None:
    """Three views of a thousand rows each, joined on the unit, made 10⁹ rows of whoever had them all."""
    named = ("a", "b", "c")
    columns = {"who": StatisticsColumn("who", "string", identifier=True)}
    views = {
        name: StatisticsView(name, PrivacyUnit("who", "people"), ContributionBounds(rows=1000), columns)
        for name in named
    }

    def asked(*names: str) -> None:
        joins = " ".join(f"JOIN {name} USING (who)" for name in names[1:])
        lower(parsed(f"SELECT count(*) FROM {names[0]} {joins}"), views)

    asked("a", "b")
    with pytest.raises(QueryUnsupported, match="JOIN_OF_UNITS"):
        asked(*named)


def test_no_row_grows_until_it_is_all_that_memory_holds() -> None:
    """Keys of megabytes, of one row alone: the question ran out of memory if it was there, and only then."""
    view = events(between("0", "1"), StatisticsColumn("town", "string"), StatisticsColumn("level", "integer"))
    long = "y" * 5000
    doubled = "town || town"
    for _ in range(9):
        doubled = f"({doubled}) || ({doubled})"
    for key in (f"CASE WHEN level = 1 THEN '{long}' ELSE town END", f"concat(town, '{long}')", f"lower({doubled})"):
        with pytest.raises(QueryUnsupported) as refused:
            planned(view, f"SELECT {key}, count(*) FROM events GROUP BY ALL")
        assert refused.value.code == "TEXT_TOO_LONG", key
    with pytest.raises(QueryUnsupported) as refused:
        planned(view, f"SELECT count(*) FROM events WHERE contains({doubled}, 'x')")
    assert refused.value.code == "TEXT_TOO_LONG"
    usual = (
        "SELECT concat(town, ' of ', place), left(town, 3), CASE WHEN level = 1 THEN 'one' END, count(*) FROM events"
    )
    assert planned(view, f"{usual} WHERE town IN ({', '.join(repr('town' + str(n)) for n in range(999))}) GROUP BY ALL")


def test_a_question_that_costs_nothing_does_not_stop_the_others() -> None:
    """What is public is computed before anything is charged: a long filter on many groups took an hour of it."""
    numbers = tuple(range(300))
    keys = [StatisticsColumn(n, "integer", nullable=False, domain=KeyDomain(n, "integer", numbers)) for n in "ij"]
    view = events(between("0", "1"), *keys)

    def question(parts: int) -> str:
        filtered = " AND ".join(f"i + j <> {number + 1000}" for number in range(parts))
        return f"SELECT i, j, count(*) FROM events WHERE {filtered} GROUP BY ALL"

    assert len(planned(view, question(2)).cells or ()) == 300 * 300
    with pytest.raises(QueryUnsupported) as refused:
        planned(view, question(500))
    assert refused.value.code == "TOO_MANY_CELLS"


# --- what is drawn once and read twice


def test_figures_that_lead_to_other_bounds_do_not_share_what_was_drawn() -> None:
    """Bounds found from the data are chosen for the figures of a question: another's numbers are in other steps."""
    view = events(between("0", "100"), contribution=ContributionBounds(rows=1000), rank="kai_rank")
    found = Profile(1000, norms={1: ((Decimal("0.5"), Decimal(5)), (Decimal(1), Decimal(20)))})  # of the rows
    price = Price(PrivacyLoss.of("0.05"))

    def finding(figures: str) -> Finding:
        question = f"SELECT place, {figures} FROM events GROUP BY place"
        return finding_of(*lowered(parsed(question), "private", {"events": view}, {}), price, None)

    def charged(one: Finding) -> str:
        return charged_digest([one.measurement, one.settled(None).measurement], one.query)

    mean, both, renamed = map(finding, ("avg(amount)", "avg(amount), count(*)", "avg(amount) AS other"))
    assert mean.settled(None).plan.vectors == both.settled(None).plan.vectors
    assert mean.settled(found).plan.vectors != both.settled(found).plan.vectors
    assert charged(mean) != charged(both)
    assert charged(mean) == charged(renamed)


# --- attacks that held

ODD = ("a", "ß", "ẞ", "İ", "e\u0301", "Ǆ", "ς", "ﬀ", " x ", "\u00a0y", "_", "%", "", "𝒳", "👩‍👩‍👧", None)
WHOLE = (0, 1, 3, -3, 15, -25, 2**53 + 1, 2**62, -(2**63) + 1, 2**63 - 1, None)
DAYS = (date(1, 1, 1), date(1, 12, 31), date(2024, 2, 29), date(9999, 12, 31), None)
TOGETHER = (
    "length(upper(s)) + i > 3",
    "upper(s) = lower(s) OR i > 3",
    "s ILIKE '_ß%' OR i = 1",
    "s LIKE '\\%' OR i = 1",
    "substr(s, -2, 1) > 'a' OR i = 1",
    "trim(s) = s AND i > 0",
    "power(i, 0.5) + length(s) > 2",
    "ln(i) + length(s) > 1.5",
    "i % 7 + length(s) > 2",
    "(i + i) IS NULL AND s = 'a'",
    "round(i * 0.005, 2) > length(s) * 0.01",
    "width_bucket(i, 0, 10, 5) = length(s)",
    "concat(s, CAST(i AS VARCHAR)) LIKE '%1'",
    "date_trunc('week', d) = d AND i > 0",
    "date_diff('quarter', d, DATE '2020-01-31') > i",
    "d + INTERVAL 1 YEAR IS NULL AND i > 0",
    "d - INTERVAL 3 DAY IS NULL AND s < 'b'",
    "CAST(d AS VARCHAR) > s",
)


def test_no_row_is_in_a_group_that_public_arithmetic_left_out(engine: duckdb.DuckDBPyConnection) -> None:
    """A filter on several keys is computed in Python for groups, and by the engine for rows, and both agree.

    Did they not, a row of a group that is not expected would be a fault, which would tell that there is such a row.
    """
    domains = {"s": ("string", ODD), "i": ("integer", WHOLE), "d": ("date", DAYS)}
    keys = [StatisticsColumn(n, t, domain=KeyDomain(n, t, v)) for n, (t, v) in domains.items()]  # type: ignore[arg-type]
    view = events(between("0", "1"), *keys)
    rows = list(product(*(values for _, values in domains.values())))
    columns = [["u1"] * len(rows), *([row[place] for row in rows] for place in range(3))]
    made = "unnest(?::VARCHAR[]) AS who, unnest(?::VARCHAR[]) AS s, unnest(?::BIGINT[]) AS i, unnest(?::DATE[]) AS d"
    engine.execute(f"CREATE OR REPLACE TABLE events AS SELECT {made}", columns)
    for condition in TOGETHER:
        plan = planned(view, f"SELECT s, i, d, count(*) FROM events WHERE {condition} GROUP BY ALL")
        found = assemble(plan, [engine.execute(statement.sql).fetchall() for statement in plan.statements])
        assert any(found.vectors[0]), condition
