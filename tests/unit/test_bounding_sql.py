"""The SQL of a bounded question in the engine: no value fails, no text escapes, no order of rows changes a digit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.privacy_kit import parsed

from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.bounding.assembling import assemble
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.expression import ColumnOf
from kaianalytics.privacy.expressions.operations import call
from kaianalytics.privacy.plan import Plan
from kaianalytics.privacy.query import Figure, Key, KeyColumn, Measure, Of, Relation, Source, StatisticsQuery
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import (
    ColumnType,
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)

MANY = ContributionBounds(rows=100)
FORMS: list[Mapping[str, Any] | None] = [None, {"rows": 3}, {"norm": 2}, {"groups": 2, "rows_per_group": 2}]


@pytest.fixture
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as connection:
        yield connection


def view(*columns: StatisticsColumn, contribution: ContributionBounds = MANY, **more: Any) -> StatisticsView:
    who = StatisticsColumn("who", "string", nullable=False, identifier=True)
    named = {column.name: column for column in (who, *columns)}
    return StatisticsView("events", PrivacyUnit("who", "people"), contribution, named, **more)


def summed(lower_: str, upper: str, step: str = "1", type_: ColumnType = "integer") -> StatisticsColumn:
    return StatisticsColumn("x", type_, bounds=ValueBounds(Decimal(lower_), Decimal(upper), Decimal(step)))


def key(name: str, *values: str | None) -> StatisticsColumn:
    return StatisticsColumn(name, "string", domain=KeyDomain(name, "string", values))


def plan_of(of: StatisticsView, question: str, asked: Mapping[str, Any] | None = None) -> Plan:
    return compile_query(lower(parsed(question), {of.name: of}), BoundsAsked.of(asked))


def answered(engine: duckdb.DuckDBPyConnection, plan: Plan) -> list[list[Decimal]]:
    """The figures in their own units, by vector."""
    exact = assemble(plan, [engine.execute(statement.sql).fetchall() for statement in plan.statements])
    return [[n * v.step for n in numbers] for v, numbers in zip(plan.vectors, exact.vectors, strict=True)]


# --- no value fails

EXTREMES: list[tuple[str, ColumnType, list[str]]] = [
    ("TINYINT", "integer", ["-128", "127", "NULL"]),
    ("UTINYINT", "integer", ["0", "255"]),
    ("SMALLINT", "integer", ["-32768", "32767"]),
    ("INTEGER", "integer", ["-2147483648", "2147483647"]),
    ("BIGINT", "integer", ["-9223372036854775808", "9223372036854775807"]),
    ("UBIGINT", "integer", ["0", "18446744073709551615"]),
    ("HUGEINT", "integer", ["-170141183460469231731687303715884105728", "170141183460469231731687303715884105727"]),
    ("FLOAT", "number", ["'nan'", "'inf'", "'-inf'", "3.4e38", "-3.4e38", "NULL"]),
    ("DOUBLE", "number", ["'nan'", "'inf'", "'-inf'", "1.7e308", "-1.7e308", "5e-324", "NULL"]),
    ("DECIMAL(38,0)", "number", ["99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"]),
    ("DECIMAL(38,38)", "number", ["'0.99999999999999999999999999999999999999'"]),
    ("DECIMAL(4,1)", "number", ["999.9", "-999.9"]),
    ("BOOLEAN", "boolean", ["true", "false", "NULL"]),
]
LIMITS = [("0", "1", "1"), ("-2147483640", "2147483640", "1"), ("-300", "70", "10"), ("5", "7", "1")]


@pytest.mark.parametrize("asked", [{"rows": 1}, {"norm": 1}, {"groups": 1, "rows_per_group": 1}], ids=str)
@pytest.mark.parametrize(("physical", "logical", "values"), EXTREMES, ids=[case[0] for case in EXTREMES])
def test_no_value_of_any_stored_type_can_raise_an_error(
    engine: duckdb.DuckDBPyConnection, physical: str, logical: ColumnType, values: list[str], asked: Mapping[str, Any]
) -> None:
    rows = ", ".join(f"('u{i % 4}', ({value})::{physical})" for i, value in enumerate(values * 2))
    engine.execute(f"CREATE TABLE events AS SELECT * FROM (VALUES {rows}) AS v(who, x)")
    numbers = [] if logical == "boolean" else ["stddev(x)", "histogram(x, [-1, 0, 5])"]
    for low, high, step in LIMITS:
        of = view(summed(low, high, step, logical), contribution=ContributionBounds(rows=5))
        for figure in ["sum(x)", "count(*)", *(["avg(x)", "median(x)", *numbers] if high != "2147483640" else [])]:
            plan = plan_of(of, f"SELECT {figure} FROM events", asked)
            exact = assemble(plan, [engine.execute(statement.sql).fetchall() for statement in plan.statements])
            for vector, found in zip(plan.vectors, exact.vectors, strict=True):
                assert max(map(abs, found)) <= 4 * vector.linf


@pytest.mark.parametrize(
    ("physical", "values", "steps"),
    [
        ("DECIMAL(9,2)", ["0.29", "1.15", "-0.57", "2.675"], ["0.29", "1.15", "-0.57", "2.68"]),
        ("DOUBLE", ["0.29", "1.15", "-0.57", "-0.0049"], ["0.29", "1.15", "-0.57", "0"]),
        ("DOUBLE", ["4.999", "5.001", "1e300", "-1e300", "'inf'", "'nan'"], ["5", "5", "5", "-1", "0", "0"]),
        ("DECIMAL(9,4)", ["0.0149", "0.0151"], ["0.01", "0.02"]),
    ],
)
def test_numbers_are_counted_in_nearest_steps_within_their_bounds(
    engine: duckdb.DuckDBPyConnection, physical: str, values: list[str], steps: list[str]
) -> None:
    plan = plan_of(view(summed("-1", "5", "0.01", "number")), "SELECT sum(x) FROM events")
    for value, expected in zip(values, steps, strict=True):
        engine.execute(f"CREATE OR REPLACE TABLE events AS SELECT 'u' AS who, ({value})::{physical} AS x")
        assert answered(engine, plan) == [[Decimal(expected)]], value


def test_sums_stay_exact_where_a_float_would_not(engine: duckdb.DuckDBPyConnection) -> None:
    """Five million units at an odd bound add up to an odd number beyond 2⁵³, which no double holds."""
    units, value = 5_000_001, 2**31 - 1
    engine.execute(f"CREATE VIEW events AS SELECT range::VARCHAR AS who, {value}::BIGINT AS x FROM range({units})")
    plan = plan_of(view(summed("0", str(value)), contribution=ContributionBounds(rows=1)), "SELECT sum(x) FROM events")
    result = engine.execute(plan.statements[0].sql)
    assert [column[1] for column in result.description] == ["BIGINT"]
    ((total,),) = result.fetchall()
    assert total == units * value
    assert int(float(total)) != total


# --- no order of rows changes a digit


@pytest.mark.parametrize("asked", FORMS, ids=str)
def test_what_is_kept_depends_on_no_order_and_no_other_unit(
    engine: duckdb.DuckDBPyConnection, asked: Mapping[str, Any] | None
) -> None:
    columns = "'u' || i AS who, chr(97 + (i * c % 7)::INTEGER) AS place, (i * c % 19) AS x"
    rows = f"SELECT {columns} FROM range(300) a(i), range(12) b(c)"
    of = view(key("place", *"abcdefg"), summed("0", "19"))
    plan = plan_of(of, "SELECT place, count(*), sum(x), avg(x), median(x) FROM events GROUP BY place", asked)
    engine.execute(f"CREATE TABLE events AS {rows}")
    forward = answered(engine, plan)
    engine.execute(f"CREATE OR REPLACE TABLE events AS SELECT * FROM ({rows}) ORDER BY random()")
    assert answered(engine, plan) == forward
    engine.execute(f"CREATE OR REPLACE TABLE events AS SELECT * FROM ({rows}) WHERE who <> 'u7'")
    without = answered(engine, plan)
    engine.execute(f"CREATE OR REPLACE TABLE events AS SELECT * FROM ({rows}) WHERE who = 'u7'")
    alone = answered(engine, plan)
    for whole, others, own in zip(forward, without, alone, strict=True):
        assert whole == [a + b for a, b in zip(others, own, strict=True)]


@pytest.mark.parametrize("asked", FORMS[1:], ids=str)
def test_undeclared_keys_use_up_nothing_of_a_unit_s_bound(
    engine: duckdb.DuckDBPyConnection, asked: Mapping[str, Any]
) -> None:
    engine.execute(
        "CREATE TABLE events AS SELECT 'u' AS who, place FROM "
        "(SELECT 'x' || range AS place FROM range(500) UNION ALL VALUES ('a'), (NULL))"
    )
    plan = plan_of(view(key("place", "a", "b", None)), "SELECT place, count(*) FROM events GROUP BY place", asked)
    assert answered(engine, plan) == [[1, 0, 1]]


def test_a_hash_spreads_the_rows_and_the_groups_that_are_kept(engine: duckdb.DuckDBPyConnection) -> None:
    source = "range(1000) a(i), range(10) b(c)"
    engine.execute(f"CREATE TABLE events AS SELECT 'u' || i AS who, chr(97 + c::INTEGER) AS place FROM {source}")
    of = view(key("place", *"abcdefghij"))
    for asked in ({"rows": 1}, {"groups": 1, "rows_per_group": 1}):
        ((*counts,),) = answered(engine, plan_of(of, "SELECT place, count(*) FROM events GROUP BY place", asked))
        assert sum(counts) == 1000
        assert min(counts) > 50


def test_rows_that_hold_the_same_are_kept_in_proportion(engine: duckdb.DuckDBPyConnection) -> None:
    """Nine rows of one kind and one of another: of each unit's two rows, nine in ten are of the first."""
    engine.execute(
        "CREATE TABLE events AS SELECT 'u' || i AS who, CASE WHEN c = 0 THEN 'a' ELSE 'b' END AS place "
        "FROM range(1000) a(i), range(10) b(c)"
    )
    plan = plan_of(view(key("place", "a", "b")), "SELECT place, count(*) FROM events GROUP BY place", {"rows": 2})
    ((few, many),) = answered(engine, plan)
    assert few + many == 2000
    assert 130 < few < 270


# --- a mean stays a mean


@pytest.mark.parametrize("asked", [{"norm": 2}, {"groups": 2, "rows_per_group": 2}], ids=str)
def test_the_parts_of_a_mean_are_scaled_by_one_factor(
    engine: duckdb.DuckDBPyConnection, asked: Mapping[str, Any]
) -> None:
    engine.execute("CREATE TABLE events AS SELECT 'u' AS who, 'a' AS place, 7 AS x FROM range(50)")
    of = view(key("place", "a", "b"), summed("0", "19"))
    plan = plan_of(of, "SELECT place, avg(x) FROM events GROUP BY place", asked)
    count, total = answered(engine, plan)
    centre = plan.query.measures[1].centre
    assert count[0] == pytest.approx(Decimal(2), rel=Decimal("0.001"))
    assert centre + total[0] / count[0] == pytest.approx(Decimal(7), rel=Decimal("0.001"))


# --- no text escapes


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_a_text_of_the_analyst_is_a_literal_whatever_it_holds(engine: duckdb.DuckDBPyConnection, text: str) -> None:
    """Quotes, comments, backslashes, dollars: in a filter, in a key's domain, in the analyst's own table."""
    place = key("place", text, "z")
    own = StatisticsView("mine", None, None, {"word": key("word", text), "of": key("of", "x")})
    lookup = Relation(own, ((text, text + "'"), ("z", "--")))
    where = f"place IN ('{text.replace(chr(39), chr(39) * 2)}', 'z') AND of <> '--'"
    question = f"SELECT place, of, count(*) FROM events JOIN mine ON place = word WHERE {where} GROUP BY ALL"
    query = lower(parsed(question), {"events": view(place)}, {"mine": lookup})
    plan = compile_query(query)
    engine.execute(
        "CREATE OR REPLACE TABLE events AS SELECT 'u' AS who, ? AS place UNION ALL SELECT 'v', ?", [text, text + "'"]
    )
    exact = assemble(plan, [engine.execute(statement.sql).fetchall() for statement in plan.statements])
    found = {cell: n for cell, n in zip(exact.cells, exact.vectors[0], strict=True) if n}
    assert found == {(text, text + "'"): 1}


def test_names_of_views_and_columns_are_always_quoted(engine: duckdb.DuckDBPyConnection) -> None:
    odd = 'x" FROM t; --'
    of = replace(view(key(odd, "a"), StatisticsColumn("select", "timestamp")), name='my "view"')
    place, when = ColumnOf(0, odd, "string", True), ColumnOf(0, "select", "timestamp", True)
    query = StatisticsQuery(
        Source((Relation(of),), (), 0),
        call("present", when),
        (Key(place, ("a",)),),
        (Measure("rows"),),
        (KeyColumn("k", 0), Figure("n", "count", Of(0))),
    )
    columns = """'u' AS who, 'a' AS "x"" FROM t; --", TIMESTAMP '2026-01-01' AS "select" """
    engine.execute(f'CREATE TABLE "my ""view""" AS SELECT {columns}')
    for asked in FORMS:
        plan = compile_query(query, BoundsAsked.of(asked))
        assert answered(engine, plan) == [[1]]


def test_an_empty_table_of_the_analyst_s_own_joins_nothing(engine: duckdb.DuckDBPyConnection) -> None:
    engine.execute("CREATE TABLE events AS SELECT 'u' AS who, 'a' AS place")
    own = StatisticsView("mine", None, None, {"word": StatisticsColumn("word", "string")})
    question = "SELECT count(*) FROM events JOIN mine ON place = word"
    query = lower(parsed(question), {"events": view(key("place", "a"))}, {"mine": Relation(own, ())})
    assert answered(engine, compile_query(query)) == [[0]]
