"""Expressions mean in SQL what they mean in Python, raise nothing whatever the data, and keep within their ranges."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.expression_kit import (
    COLUMNS,
    HIGH,
    LOW,
    SHAPES,
    bounded_rows,
    column,
    expressions,
    rows,
    written_column,
)

from kaianalytics.privacy.expression import ColumnOf, Expression, Literal, walk
from kaianalytics.privacy.expressions.evaluation import EVALUATED, evaluate
from kaianalytics.privacy.expressions.operations import OPERATIONS, call, interval
from kaianalytics.privacy.expressions.writing import WRITTEN, sql_of
from kaianalytics.privacy.unit import ColumnType

KINDS: list[ColumnType] = ["boolean", "integer", "number", "string", "date", "timestamp"]
UNSTABLE = {"exp", "ln", "power", "sqrt"}  # the last digits of which no two libraries promise


@pytest.fixture(scope="module")
def table() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    columns = ", ".join(f'"{name}" {physical}' for name, (_, physical) in COLUMNS.items())
    connection.execute(f"CREATE TABLE x ({columns})")
    return connection


def in_duckdb(connection: duckdb.DuckDBPyConnection, asked: list[Expression], row: dict[str, Any]) -> list[Any]:
    connection.execute("DELETE FROM x")
    connection.execute(f"INSERT INTO x VALUES ({', '.join('?' * len(row))})", [row[name] for name in COLUMNS])
    written = ", ".join(sql_of(expression, written_column).sql(dialect="duckdb") for expression in asked)
    [found] = connection.execute(f"SELECT {written} FROM x").fetchall()
    return list(found)


def in_python(expression: Expression, row: dict[str, Any]) -> Any:
    return evaluate(expression, lambda column: row[column.name])


def alike(one: Any, two: Any, expression: Expression) -> bool:
    if isinstance(one, float) and isinstance(two, float):
        loose = any(getattr(node, "operation", "") in UNSTABLE for node in walk(expression))
        near = math.isclose(one, two, rel_tol=1e-9 if loose else 0, abs_tol=0)
        return near or one == two or (math.isnan(one) and math.isnan(two))
    return type(one) is type(two) and one == two


def test_every_operation_is_evaluated_written_and_generated() -> None:
    generated = {shape[0] for shapes in SHAPES.values() for shape in shapes}
    assert set(OPERATIONS) == EVALUATED == WRITTEN == generated


@pytest.mark.parametrize("kind", KINDS)
def test_python_and_the_engine_agree(table: duckdb.DuckDBPyConnection, kind: ColumnType) -> None:
    @settings(max_examples=60, deadline=None)
    @given(asked=st.lists(expressions(kind), min_size=8, max_size=8), row=rows())
    def agree(asked: list[Expression], row: dict[str, Any]) -> None:
        for expression, found in zip(asked, in_duckdb(table, asked, row), strict=True):
            sql = sql_of(expression, written_column).sql(dialect="duckdb")
            assert alike(found, in_python(expression, row), expression), (sql, found, in_python(expression, row))

    agree()


ABSURD = """
    (9223372036854775807, -9223372036854775807, 1.7976931348623157e308, 9999999999.99, 'ß' || chr(1114111), true,
     DATE 'infinity', TIMESTAMP 'infinity'),
    (-9223372036854775808, 0, -1.7976931348623157e308, 0, '', false, DATE '-infinity', TIMESTAMP '-infinity'),
    (0, 0, 5e-324, -9999999999.99, repeat('%_', 99), NULL, DATE '5877642-06-25 (BC)', TIMESTAMP '290309-12-22 (BC)'),
    (-1, 1, 'nan', NULL, NULL, NULL, DATE '5881580-07-10', TIMESTAMP '294247-01-10 04:00:54.775806'),
    (1, -1, 'inf', NULL, NULL, NULL, DATE '10000-01-01', TIMESTAMP '10000-01-01'),
    (2, 2, '-inf', NULL, NULL, NULL, DATE '0001-12-31 (BC)', TIMESTAMP '0001-12-31 (BC) 23:59:59.999999'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_fails_whatever_the_data(table: duckdb.DuckDBPyConnection, kind: ColumnType) -> None:
    table.execute("DELETE FROM x")
    table.execute(f"INSERT INTO x VALUES {ABSURD}")

    @settings(max_examples=60, deadline=None)
    @given(asked=st.lists(expressions(kind), min_size=8, max_size=8))
    def total(asked: list[Expression]) -> None:
        written = ", ".join(sql_of(expression, written_column).sql(dialect="duckdb") for expression in asked)
        for shown in table.execute(f"SELECT {written} FROM x").fetchall():
            for value in shown:
                # What Python shows as a date lies in its calendar; what doesn't, DuckDB hands over as a text.
                assert value is None or isinstance(value, TYPES[kind])

    total()


TYPES: dict[ColumnType, type] = {
    "boolean": bool,
    "integer": int,
    "number": float,
    "string": str,
    "date": date,
    "timestamp": datetime,
}


@settings(max_examples=300, deadline=None)
@given(asked=expressions("number") | expressions("integer") | expressions("boolean"), row=bounded_rows())
def test_a_range_holds_every_value(asked: Expression, row: dict[str, Any]) -> None:
    proved = interval(asked, lambda column: (LOW, HIGH))
    value = in_python(asked, row)
    if proved is not None and value is not None and math.isfinite(value):
        slack = Decimal("1e-9") * max(abs(proved[0]), abs(proved[1]), 1)
        assert proved[0] - slack <= Decimal(value) <= proved[1] + slack


@given(low=st.integers(-10, 10), width=st.integers(1, 9))
def test_a_range_is_no_wider_than_the_values_of_plain_arithmetic(low: int, width: int) -> None:
    high = low + width
    ends = {"i": (Decimal(low), Decimal(high))}
    x = column("i")
    seven = Literal(7, "integer")
    for asked in (call("+", x, seven), call("-", seven, x), call("*", x, seven), call("abs", x), call("negate", x)):
        values = [in_python(asked, {"i": value}) for value in range(low, high + 1)]
        assert interval(asked, lambda column: ends[column.name]) == (min(values), max(values))
    capped = call("greatest", call("least", x, Literal(3, "integer")), Literal(Decimal("-2.5"), "number"))
    assert interval(capped, lambda column: None) == (Decimal("-2.5"), 3)


def test_what_is_not_proved_has_no_range() -> None:
    x, zero = column("i"), Literal(0, "integer")

    def bounds(column: ColumnOf) -> tuple[Decimal, Decimal]:
        return (Decimal(-1), Decimal(2))

    open_ended = [call("/", Literal(1, "integer"), x), call("ln", x), call("length", column("s")), column("d")]
    assert [interval(asked, bounds) for asked in open_ended] == [None] * 4
    assert interval(x, lambda column: None) is None
    assert interval(call("least", x, zero), lambda column: None) is None  # it has no lower end
    powers = x
    for _ in range(12):
        powers = call("power", powers, Literal(100, "integer"))
    assert interval(powers, lambda column: (Decimal(0), Decimal("0.9999999"))) is not None  # and it takes no time
    assert interval(powers, lambda column: (Decimal(0), Decimal("1.1"))) is None
