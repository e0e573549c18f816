"""The engine's SQL means what the analyst's own text means, as plain DuckDB answers it on plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

import duckdb
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.expressions.writing import PHYSICAL, sql_of
from kaianalytics.privacy.query import Relation
from kaianalytics.privacy.reading.scalars import expression_of
from kaianalytics.privacy.reading.scope import Scope, table_of
from kaianalytics.privacy.reading.syntax import without_alias
from kaianalytics.privacy.unit import ColumnType, StatisticsColumn, StatisticsView

COLUMNS: Mapping[str, ColumnType] = {
    "i": "integer",
    "j": "integer",
    "x": "number",
    "y": "number",
    "s": "string",
    "u": "string",
    "b": "boolean",
    "d": "date",
    "e": "date",
    "t": "timestamp",
}
VIEW = StatisticsView("plain", None, None, {name: StatisticsColumn(name, kind) for name, kind in COLUMNS.items()})
SCOPE = Scope((Relation(VIEW),), (table_of(0, VIEW, "plain"),))

# For each type, templates of SQL in which {integer}, {number} … stand for texts of that type; all of them are plain
# where numbers are small and divisors are not zero.
ANY = [
    "CASE WHEN {boolean} THEN {same} ELSE {same} END",
    "CASE WHEN {boolean} THEN {same} WHEN {boolean} THEN {same} END",
    "coalesce({same}, {same})",
    "nullif({same}, {same})",
    "least({same}, {same})",
    "greatest({same}, {same}, {same})",
    "if({boolean}, {same}, NULL)",
]
COMPARED = [
    "{a} = {a}",
    "{a} <> {a}",
    "{a} < {a}",
    "{a} >= {a}",
    "{a} IS DISTINCT FROM {a}",
    "{a} IS NULL",
    "{a} IN ({l}, {l})",
]
TEMPLATES: Mapping[ColumnType, list[str]] = {
    "boolean": [
        *ANY,
        "({boolean} AND {boolean})",
        "({boolean} OR {boolean} OR {boolean})",
        "(NOT {boolean})",
        "({boolean} IS TRUE)",
        "({number} BETWEEN {number} AND {number})",
        "({integer} < {number})",
        "({string} LIKE '%a_')",
        "({string} NOT ILIKE 'A%')",
        "starts_with({string}, {string})",
        "({string} ^@ 'a')",
        "ends_with({string}, 'b')",
        "contains({string}, {string})",
        "({date} < {timestamp})",
        "({date} >= '2024-02-29')",
        *(
            "(" + text.replace("{a}", f"{{{kind}}}").replace("{l}", literal) + ")"
            for kind, literal in (("integer", "3"), ("number", "1.5"), ("string", "'ab'"), ("date", "'2024-02-29'"))
            for text in COMPARED
        ),
    ],
    "integer": [
        *ANY,
        "({integer} + {integer})",
        "({integer} - {integer})",
        "({integer} * 3)",
        "({integer} // 3)",
        "({integer} % 7)",
        "(- {integer})",
        "abs({integer})",
        "length({string})",
        "year({date})",
        "quarter({timestamp})",
        "month({date})",
        "day({timestamp})",
        "week({date})",
        "dayofweek({date})",
        "isodow({timestamp})",
        "dayofyear({date})",
        "hour({timestamp})",
        "extract(minute FROM {timestamp})",
        "date_part('second', {timestamp})",
        "date_diff('month', {date}, {date})",
        "date_diff('hour', {timestamp}, {timestamp})",
        "date_diff('week', {date}, {date})",
        "({date} - {date})",
        "CAST({boolean} AS INTEGER)",
        "CAST(floor(x / 3) AS INTEGER)",
    ],
    "number": [
        *ANY,
        "({number} + {number})",
        "({number} - {integer})",
        "({number} * {number})",
        "({integer} / {number})",
        "({number} / 0)",
        "({number} % {number})",
        "(- {number})",
        "abs({number})",
        "floor({number})",
        "ceil({number})",
        "round({number})",
        "round({number}, 1)",
        "sqrt(abs({number}))",
        "exp(least({number}, 5))",
        "ln(greatest({number}, 0))",
        "pow({number}, 2)",
        "CAST({integer} AS DOUBLE)",
    ],
    "string": [
        *ANY,
        "lower({string})",
        "upper({string})",
        "trim({string})",
        "left({string}, 2)",
        "right({string}, 1)",
        "substr({string}, 2)",
        "substring({string} FROM 1 FOR 2)",
        "({string} || {string})",
        "concat({string}, '-', {string})",
        "CAST({integer} AS VARCHAR)",
        "CAST({boolean} AS VARCHAR)",
        "CAST({date} AS VARCHAR)",
    ],
    "date": [*ANY, "CAST({timestamp} AS DATE)", "({date} + 5)", "({date} - 40)"],
    "timestamp": [
        *ANY,
        "date_trunc('month', {timestamp})",
        "CAST(date_trunc('week', {date}) AS TIMESTAMP)",
        "date_trunc('hour', {timestamp})",
        "({timestamp} + INTERVAL 1 MONTH)",
        "CAST({date} - INTERVAL '1 year 3 days' AS TIMESTAMP)",
        "({timestamp} + INTERVAL 90 MINUTES)",
        "CAST({date} AS TIMESTAMP)",
    ],
}
LITERALS: Mapping[ColumnType, list[str]] = {
    "boolean": ["true", "false"],
    "integer": ["0", "3", "-7"],
    "number": ["0e0", "1.5e0", "-2.25e0"],
    "string": ["'ab'", "''", "'Ab c'"],
    "date": ["DATE '2024-02-29'", "DATE '1999-12-31'"],
    "timestamp": ["TIMESTAMP '2024-02-29 23:59:59'"],
}
VALUES: Mapping[ColumnType, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "integer": st.integers(-50, 50),
    "number": st.integers(-400, 400).map(lambda value: value / 8),
    "string": st.text(alphabet="abA ß%", max_size=4),
    "date": st.dates(date(1990, 1, 1), date(2040, 12, 31)),
    "timestamp": st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)),
}
rows = st.fixed_dictionaries({name: st.none() | VALUES[kind] for name, kind in COLUMNS.items()})


@st.composite
def texts(draw: st.DrawFn, kind: ColumnType, depth: int = 3) -> str:
    """The text of an expression of one type."""
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        return draw(
            st.sampled_from([*LITERALS[kind], *(name for name, its_kind in COLUMNS.items() if its_kind == kind)])
        )
    template = draw(st.sampled_from(TEMPLATES[kind])).replace("{same}", f"{{{kind}}}")
    while (start := template.find("{")) >= 0:
        end = template.index("}", start)
        part: Any = template[start + 1 : end]
        template = template[:start] + draw(texts(part, depth - 1)) + template[end + 1 :]
    return template


@pytest.fixture(scope="module")
def table() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE plain ({', '.join(f'{n} {PHYSICAL[kind]}' for n, kind in COLUMNS.items())})")
    return connection


def engines(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """The engine's SQL of an analyst's text."""
    ((tree,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [f"SELECT {text}"]).fetchall()
    node = json.loads(tree)["statements"][0]["node"]["select_list"][0]
    try:
        expression = expression_of(without_alias(node), SCOPE)
    except QueryUnsupported as refusal:
        assume(refusal.code != "FILTER_NULL")  # a comparison of constants of which one is NULL
        raise
    return sql_of(expression, lambda column: exp.column(column.name, quoted=True)).sql(dialect="duckdb")


def alike(one: Any, two: Any) -> bool:
    if isinstance(one, float | int) and isinstance(two, float | int) and not isinstance(one, bool):
        return one == two or math.isclose(one, two, rel_tol=1e-12) or (math.isnan(one) and math.isnan(two))
    return bool(_instant(one) == _instant(two))


def _instant(value: Any) -> Any:
    # To the engine the month of a date is a date; to DuckDB it is the midnight of one.
    return datetime.combine(value, time()) if isinstance(value, date) and not isinstance(value, datetime) else value


@pytest.mark.parametrize("kind", TEMPLATES)
def test_the_engine_means_what_the_analyst_wrote(table: duckdb.DuckDBPyConnection, kind: ColumnType) -> None:
    @settings(max_examples=60, deadline=None)
    @given(asked=st.lists(texts(kind), min_size=6, max_size=6), row=rows)
    def same(asked: list[str], row: dict[str, Any]) -> None:
        table.execute("DELETE FROM plain")
        table.execute(f"INSERT INTO plain VALUES ({', '.join('?' * len(row))})", [row[name] for name in COLUMNS])
        written = [engines(table, text) for text in asked]
        [plain] = table.execute(f"SELECT {', '.join(asked)} FROM plain").fetchall()
        [ours] = table.execute(f"SELECT {', '.join(written)} FROM plain").fetchall()
        for text, sql, theirs, mine in zip(asked, written, plain, ours, strict=True):
            assert alike(theirs, mine), (text, sql, theirs, mine)

    same()
