"""The compiled SQL in the real engine against forty lines of Python, and against its own promise of sensitivity.

Tables, bounds and questions are random; the filter's meaning is DuckDB's own, from the analyst's text. The same checks
are shown to catch planted faults: a cap, a clamp or a group cap that is not there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.privacy_kit import Row, parsed, reference

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.bounding import BoundedAggregate, compile_query
from kaianalytics.privacy.query import StatisticsQuery, lower
from kaianalytics.privacy.unit import (
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)

COLUMNS = {
    "who": "VARCHAR",
    "place": "VARCHAR",
    "day": "DATE",
    "flag": "BOOLEAN",
    "level": "SMALLINT",
    "whole": "BIGINT",
    "real": "DOUBLE",
    "money": "DECIMAL(9,2)",
}
DAYS = (date(2026, 1, 5), date(2026, 1, 12))
RELAXED = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

# --- random tables

texts = st.sampled_from(["a", "b", "ä%", "", "undeclared", "A", None])
reals = st.one_of(
    st.sampled_from([None, math.nan, math.inf, -math.inf, 1e308, -1e308, 0.005, 0.015, 0.285, -0.005, 5e-324, -0.0]),
    st.floats(-3, 3),
    st.floats(),
)
rows = st.fixed_dictionaries(
    {
        "who": st.sampled_from(["u1", "u1", "u1", "u2", "u2", "u3", "u|4", None]),
        "place": texts,
        "day": st.sampled_from([*DAYS, date(1999, 1, 1), None]),
        "flag": st.sampled_from([True, False, None]),
        "level": st.sampled_from([1, 2, 3, -32768, 32767, None]),
        "whole": st.one_of(st.integers(-5, 5), st.sampled_from([None, 2**63 - 1, -(2**63)])),
        "real": reals,
        "money": st.one_of(st.none(), st.decimals(-9999999, 9999999, places=2)),
    }
)

# --- random contracts


def value_bounds(step: str) -> st.SearchStrategy[ValueBounds]:
    ends = st.tuples(st.integers(-300, 300), st.integers(-300, 300)).filter(lambda pair: pair[0] < pair[1])
    return ends.map(lambda pair: ValueBounds(pair[0] * Decimal(step), pair[1] * Decimal(step), Decimal(step)))


def domain(name: str, type_: Any, values: tuple[Any, ...]) -> st.SearchStrategy[KeyDomain]:
    some = st.lists(st.sampled_from(values), min_size=1, unique=True)
    return some.map(lambda chosen: KeyDomain(name, type_, tuple(chosen)))


@st.composite
def views(draw: st.DrawFn) -> StatisticsView:
    columns = (
        StatisticsColumn("who", "string", identifier=True),
        StatisticsColumn("place", "string", domain=draw(domain("place", "string", ("a", "b", "ä%", "", "A", None)))),
        StatisticsColumn("day", "date", domain=draw(domain("day", "date", (*DAYS, None)))),
        StatisticsColumn(
            "flag",
            "boolean",
            domain=draw(domain("flag", "boolean", (True, False, None))),
            bounds=ValueBounds(Decimal(0), Decimal(1)),
        ),
        StatisticsColumn("level", "integer", domain=draw(domain("level", "integer", (1, 2, 3, None)))),
        StatisticsColumn("whole", "integer", bounds=draw(value_bounds("1"))),
        StatisticsColumn("real", "number", bounds=draw(st.sampled_from(["0.01", "0.5", "3"]).flatmap(value_bounds))),
        StatisticsColumn("money", "number", bounds=draw(value_bounds("0.01"))),
    )
    contribution = ContributionBounds(draw(st.integers(1, 4)), draw(st.integers(1, 3)))
    return StatisticsView("events", PrivacyUnit("who", "people"), contribution, {c.name: c for c in columns})


# --- random questions, as the analyst's text

KEY_TESTS = [
    "place = 'a'",
    "place <> 'a'",
    "place IN ('a', 'b', 'x')",
    "place NOT IN ('a')",
    "place LIKE '%'",
    "place LIKE '_%'",
    "place NOT LIKE 'ä%'",
    "place > 'A'",
    "place IS NULL",
    "place IS DISTINCT FROM 'a'",
    "day >= '2026-01-12'",
    "day IS NOT NULL",
    "flag",
    "NOT flag",
    "flag IS NOT TRUE",
    "flag = false",
    "level BETWEEN 2 AND 3",
    "2 <= level",
    "level IN (1, 3)",
    "true",
]
DATA_TESTS = [
    "whole > 0",
    "whole IS DISTINCT FROM 9223372036854775807",
    "whole NOT IN (0, 1)",
    "real < 0.285",
    "real >= -1e300",
    "NOT real = 0",
    "real IN (1.5, 0.005)",
    "real IS NULL",
    "money BETWEEN -1.5 AND 100",
    "money <> 0",
]


def conditions(tests: list[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(tests),
        lambda inner: st.one_of(
            inner.map(lambda text: f"NOT ({text})"),
            st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda part: f"({' '.join(part)})"),
        ),
        max_leaves=4,
    )


@dataclass(frozen=True)
class Question:
    """A statement, and the parts of it that the checks need again."""

    keys: tuple[str, ...]
    condition: str
    sql: str


@st.composite
def questions(draw: st.DrawFn) -> Question:
    keys = tuple(draw(st.lists(st.sampled_from(["place", "day", "flag", "level"]), unique=True, max_size=3)))
    sums = [f"sum({name})" for name in ("whole", "real", "money", "flag")]
    figures = draw(st.lists(st.sampled_from(["count(*)", *sums]), min_size=1, unique=True))
    parts = draw(st.lists(conditions(KEY_TESTS + DATA_TESTS), max_size=3))
    condition = " AND ".join(f"({part})" for part in parts) or "true"
    select = draw(st.permutations([*keys, *figures]))
    sql = f"SELECT {', '.join(select)} FROM events WHERE {condition} GROUP BY ALL"
    return Question(keys, condition, sql)


# --- the engine


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def load(engine: duckdb.DuckDBPyConnection, table: list[Row]) -> None:
    columns = ", ".join(f"unnest(?::{type_}[]) AS {name}" for name, type_ in COLUMNS.items())
    values = [[row[name] for row in table] for name in COLUMNS]
    engine.execute(f"CREATE OR REPLACE TABLE stored AS SELECT {columns}", values)
    engine.execute("CREATE OR REPLACE VIEW events AS SELECT * FROM stored")


def filtered(engine: duckdb.DuckDBPyConnection, condition: str) -> list[Row]:
    """The rows that the analyst's own text lets through, by the engine's own reading of it."""
    found = engine.execute(f"SELECT * FROM events WHERE {condition}").fetchall()
    return [dict(zip(COLUMNS, row, strict=True)) for row in found]


def answer(engine: duckdb.DuckDBPyConnection, bounded: BoundedAggregate) -> list[list[int]]:
    return bounded.assemble(engine.execute(bounded.sql).fetchall())


def compiled(question: Question, view: StatisticsView) -> tuple[StatisticsQuery, BoundedAggregate]:
    query = lower(parsed(question.sql), {"events": view})
    return query, compile_query(query, view)


# --- the checks


def check_reference(
    engine: duckdb.DuckDBPyConnection, question: Question, query: StatisticsQuery, bounded: BoundedAggregate, sql: str
) -> None:
    expected = reference(query, bounded.keys, filtered(engine, question.condition))
    assert answer(engine, replace(bounded, sql=sql)) == expected


def check_sensitivity(engine: duckdb.DuckDBPyConnection, table: list[Row], bounded: BoundedAggregate, sql: str) -> None:
    """Leaving out any one unit moves each vector by no more than its declared L2."""
    running = replace(bounded, sql=sql)
    load(engine, table)
    full = answer(engine, running)
    for unit in {row["who"] for row in table}:
        left_out = "NULL" if unit is None else f"'{unit}'"
        engine.execute(f"CREATE OR REPLACE VIEW events AS SELECT * FROM stored WHERE who IS DISTINCT FROM {left_out}")
        for column, ours, theirs in zip(bounded.columns, full, answer(engine, running), strict=True):
            assert sum((a - b) ** 2 for a, b in zip(ours, theirs, strict=True)) <= column.l2**2, column.name


@RELAXED
@given(st.lists(rows, max_size=25), views(), questions())
def test_the_engine_s_answer_is_the_reference_s(
    engine: duckdb.DuckDBPyConnection, table: list[Row], view: StatisticsView, question: Question
) -> None:
    try:
        query, bounded = compiled(question, view)
    except QueryUnsupported as refusal:
        assert refusal.code == "NO_CELLS"
        assume(False)
        return
    load(engine, table)
    check_reference(engine, question, query, bounded, bounded.sql)


@RELAXED
@given(st.lists(rows, max_size=20), views(), questions())
def test_no_unit_moves_the_answer_by_more_than_declared(
    engine: duckdb.DuckDBPyConnection, table: list[Row], view: StatisticsView, question: Question
) -> None:
    try:
        _, bounded = compiled(question, view)
    except QueryUnsupported:
        assume(False)
        return
    check_sensitivity(engine, table, bounded, bounded.sql)


@RELAXED
@given(views(), st.lists(st.sampled_from(["place", "day", "flag", "level"]), unique=True, min_size=1), st.data())
def test_the_cells_are_the_declared_keys_that_the_filter_lets_through(
    engine: duckdb.DuckDBPyConnection, view: StatisticsView, keys: list[str], data: st.DataObject
) -> None:
    tests = [test for test in KEY_TESTS if any(name in test for name in [*keys, "true"])]
    condition = data.draw(conditions(tests))
    domains = [view.columns[name].domain for name in keys]
    source = " CROSS JOIN ".join(
        f"(SELECT unnest(?::{COLUMNS[name]}[]) AS {name}, generate_subscripts(?::{COLUMNS[name]}[], 1) AS at_{name})"
        for name in keys
    )
    values = [list(d.values) for d in domains if d is not None for _ in range(2)]
    order = ", ".join(f"at_{name}" for name in keys)
    sql = f"SELECT {', '.join(keys)} FROM {source} WHERE {condition} ORDER BY {order}"
    expected = engine.execute(sql, values).fetchall()
    question = Question(
        tuple(keys), condition, f"SELECT {', '.join(keys)}, count(*) FROM events WHERE {condition} GROUP BY ALL"
    )
    if not expected:
        with pytest.raises(QueryUnsupported, match="NO_CELLS"):
            compiled(question, view)
    else:
        assert list(compiled(question, view)[1].keys) == expected


# --- planted faults: the same checks catch a bound that is missing from the SQL

STRICT = StatisticsView(
    "events",
    PrivacyUnit("who", "people"),
    ContributionBounds(groups=1, rows_per_group=2),
    {
        "who": StatisticsColumn("who", "string", identifier=True),
        "place": StatisticsColumn("place", "string", domain=KeyDomain("place", "string", ("a", "b", None))),
        "whole": StatisticsColumn("whole", "integer", bounds=ValueBounds(Decimal(-1), Decimal(3))),
        "real": StatisticsColumn("real", "number", bounds=ValueBounds(Decimal(0), Decimal(2), Decimal("0.5"))),
    },
)
BLANK: Row = dict.fromkeys(COLUMNS)
HEAVY: list[Row] = [
    {**BLANK, "who": who, "place": place, "whole": whole, "real": real}
    for who in ("u1", "u2")
    for place in ("a", "b", None)
    for whole, real in ((1000, 1e9), (900, 7.0), (-2000, -1e9), (3, 2.0), (3, 2.0))
]


def loosened(fault: str) -> StatisticsView:
    contribution, columns = STRICT.contribution, dict(STRICT.columns)
    if fault == "no cap on rows":
        contribution = replace(contribution, rows_per_group=10**6)
    elif fault == "no cap on groups":
        contribution = replace(contribution, groups=3)
    else:
        columns["whole"] = replace(columns["whole"], bounds=ValueBounds(Decimal(-1000), Decimal(1000)))
        columns["real"] = replace(columns["real"], bounds=ValueBounds(Decimal(-1000), Decimal(1000), Decimal("0.5")))
    return replace(STRICT, contribution=contribution, columns=columns)


@pytest.mark.parametrize("figure", ["count(*)", "sum(whole)", "sum(real)"])
@pytest.mark.parametrize("fault", ["none", "no cap on rows", "no cap on groups", "no clamp"])
def test_the_checks_catch_a_missing_bound(engine: duckdb.DuckDBPyConnection, fault: str, figure: str) -> None:
    if (fault, figure) == ("no clamp", "count(*)"):
        return  # a count has no values to clamp
    question = Question(("place",), "true", f"SELECT place, {figure} FROM events WHERE true GROUP BY ALL")
    query, bounded = compiled(question, STRICT)
    if fault == "none":
        check_sensitivity(engine, HEAVY, bounded, bounded.sql)
        load(engine, HEAVY)
        check_reference(engine, question, query, bounded, bounded.sql)
        return
    faulty = compiled(question, loosened(fault))[1].sql
    with pytest.raises(AssertionError):
        check_sensitivity(engine, HEAVY, bounded, faulty)
    load(engine, HEAVY)
    with pytest.raises(AssertionError):
        check_reference(engine, question, query, bounded, faulty)


def test_the_checks_catch_values_that_are_not_there_counted_as_bounds(engine: duckdb.DuckDBPyConnection) -> None:
    """To GREATEST and LEAST a NULL is no value: without the test for it, a missing value would count as a bound."""
    question = Question((), "true", "SELECT sum(whole) FROM events WHERE true GROUP BY ALL")
    query, bounded = compiled(question, STRICT)
    load(engine, [{**BLANK, "who": "u1"}])
    check_reference(engine, question, query, bounded, bounded.sql)
    faulty = bounded.sql.replace('NOT "t"."whole" IS NULL', "TRUE")
    assert faulty != bounded.sql
    with pytest.raises(AssertionError):
        check_reference(engine, question, query, bounded, faulty)
