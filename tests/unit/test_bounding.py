"""The bounded aggregate: its cells, its sensitivities, its proofs, and SQL that no value in the data can make fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kaianalytics.privacy
from kaianalytics.errors import Fault, QueryUnsupported
from kaianalytics.privacy.bounding import MAX_UNITS, BoundedAggregate, BoundedColumn, compile_query
from kaianalytics.privacy.cells import MAX_CELLS
from kaianalytics.privacy.predicate import (
    All,
    Comparison,
    Constant,
    Flag,
    Membership,
    Missing,
    Not,
    Pattern,
    Predicate,
    Some,
    truth,
)
from kaianalytics.privacy.query import Aggregate, Key, StatisticsQuery
from kaianalytics.privacy.statement import TOTAL_LIMIT
from kaianalytics.privacy.unit import (
    ColumnType,
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)

COUNT = Aggregate("count", "n")


def view(*columns: StatisticsColumn, groups: int = 2, rows: int = 3, nullable: bool = False) -> StatisticsView:
    who = StatisticsColumn("who", "string", nullable=nullable, identifier=True)
    named = {column.name: column for column in (who, *columns)}
    return StatisticsView("events", PrivacyUnit("who", "people"), ContributionBounds(groups, rows), named)


def key(name: str, *values: Any, type_: ColumnType = "string") -> StatisticsColumn:
    return StatisticsColumn(name, type_, domain=KeyDomain(name, type_, values))


def summed(lower: str, upper: str, step: str = "1", type_: ColumnType = "integer") -> StatisticsColumn:
    return StatisticsColumn("x", type_, bounds=ValueBounds(Decimal(lower), Decimal(upper), Decimal(step)))


def compiled(of: StatisticsView, *select: Key | Aggregate, where: Predicate | None = None) -> BoundedAggregate:
    return compile_query(StatisticsQuery(of, select, where), of)


PLACE = key("place", "a", "b", None)
DAY = key("day", date(2026, 1, 1), date(2026, 1, 2), type_="date")
BY_PLACE, BY_DAY = Key("place", "place"), Key("day", "d")
SUM = Aggregate("sum", "sum(x)", "x")


# --- cells


def test_cells_are_all_declared_keys_in_their_order() -> None:
    cells = compiled(view(PLACE, DAY), BY_DAY, COUNT, BY_PLACE).keys
    assert cells == tuple((day, place) for day in (date(2026, 1, 1), date(2026, 1, 2)) for place in ("a", "b", None))
    assert compiled(view(), COUNT).keys == ((),)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Comparison("place", "=", "a"), ["a"]),
        (Not(Comparison("place", "=", "a")), ["b"]),  # to a missing key, NOT = is unknown, which is not true
        (Comparison("place", "is distinct from", "a"), ["b", None]),
        (Missing("place"), [None]),
        (Some((Missing("place"), Membership("place", ("b", "c")))), ["b", None]),
        (All((Constant(True), Pattern("place", "%"))), ["a", "b"]),
        (All((All((Comparison("place", ">=", "b"),)), Comparison("x", ">", 1))), ["b"]),
        (
            Some((Comparison("place", "=", "a"), Comparison("x", ">", 1))),
            ["a", "b", None],
        ),  # reads data: narrows nothing
    ],
)
def test_a_filter_on_keys_narrows_the_cells_in_public(where: Predicate, expected: list[str | None]) -> None:
    bounded = compiled(view(PLACE, summed("0", "1")), BY_PLACE, COUNT, where=where)
    assert [cell[0] for cell in bounded.keys] == expected


def test_a_filter_across_keys_narrows_their_product() -> None:
    where = Some((Comparison("place", "=", "a"), Comparison("day", "=", date(2026, 1, 2))))
    cells = compiled(view(PLACE, DAY), BY_PLACE, BY_DAY, COUNT, where=where).keys
    assert cells == (
        ("a", date(2026, 1, 1)),
        ("a", date(2026, 1, 2)),
        ("b", date(2026, 1, 2)),
        (None, date(2026, 1, 2)),
    )


def test_narrowed_cells_lower_the_sensitivity_and_need_no_cap() -> None:
    wide = compiled(view(PLACE, groups=2, rows=3), BY_PLACE, COUNT)
    narrow = compiled(view(PLACE, groups=2, rows=3), BY_PLACE, COUNT, where=Comparison("place", "=", "a"))
    assert (wide.columns[0].l2, narrow.columns[0].l2) == (5, 3)  # ⌈3·√2⌉, 3·√1
    assert "MD5" in wide.sql
    assert "MD5" not in narrow.sql


def test_the_limit_on_cells_holds_before_their_product_is_built() -> None:
    keys = [key(f"k{i}", *range(1000), type_="integer") for i in range(6)]
    select = [Key(column.name, column.name) for column in keys]
    with pytest.raises(QueryUnsupported) as caught:
        compiled(view(*keys), *select, COUNT)
    assert caught.value.code == "TOO_MANY_CELLS"
    many = [key("k0", *range(MAX_CELLS), type_="integer"), key("k1", 0, 1, type_="integer")]
    pair = [Key("k0", "k0"), Key("k1", "k1")]
    assert len(compiled(view(*many), *pair, COUNT, where=Comparison("k1", "=", 1)).keys) == MAX_CELLS


def test_no_cell_is_a_refusal_that_names_the_declared_keys() -> None:
    with pytest.raises(QueryUnsupported) as caught:
        compiled(view(PLACE), BY_PLACE, COUNT, where=Comparison("place", "=", "c"))
    assert caught.value.code == "NO_CELLS"
    assert "place: a, b, NULL" in caught.value.hint
    assert "'c'" not in str(caught.value)


# --- truth on declared keys, as the engine has it

KEYS = st.one_of(st.none(), st.text(alphabet="ab%_é\n'", max_size=5))


@settings(max_examples=150, deadline=None)
@given(KEYS, st.text(alphabet="ab%_é\n'", max_size=6))
def test_like_means_what_it_means_to_the_engine(value: str | None, pattern: str) -> None:
    ((expected,),) = duckdb.execute("SELECT ?::VARCHAR LIKE ?", [value, pattern]).fetchall()
    assert truth(Pattern("k", pattern), {"k": value}) == expected


def test_like_takes_no_time_to_speak_of_on_a_hostile_pattern() -> None:
    assert truth(Pattern("k", "%a" * 2000 + "b"), {"k": "a" * 3000}) is False


def test_unknown_is_neither_true_nor_false() -> None:
    row = {"k": None, "f": None, "y": True}
    unknown = Comparison("k", "=", "a")
    assert truth(unknown, row) is None
    assert truth(Not(unknown), row) is None
    assert truth(Flag("f"), row) is None
    assert truth(All((unknown, Not(Flag("y")))), row) is False
    assert truth(All((unknown, Flag("y"))), row) is None
    assert truth(Some((unknown, Flag("y"))), row) is True
    assert truth(Some((unknown, Constant(False))), row) is None
    assert truth(Membership("k", ("a",)), row) is None
    assert truth(Comparison("k", "is not distinct from", "a"), row) is False


# --- sensitivities


@given(st.integers(1, 60), st.integers(1, 3000), st.integers(1, 40))
def test_l2_is_the_exact_root_rounded_up(groups: int, rows: int, cells: int) -> None:
    bounded = compiled(view(key("k", *range(cells), type_="integer"), groups=groups, rows=rows), Key("k", "k"), COUNT)
    square = rows * rows * min(groups, cells)
    (column,) = bounded.columns
    assert (column.l2 - 1) ** 2 < square <= column.l2**2


@pytest.mark.parametrize(
    ("lower", "upper", "step", "l2"),
    [
        ("0", "10", "1", 30),
        ("-20", "10", "1", 60),
        ("5", "10", "1", 30),
        ("-10", "-5", "1", 30),
        ("0", "1", "0.01", 300),
    ],
)
def test_a_sum_s_sensitivity_counts_steps_from_zero(lower: str, upper: str, step: str, l2: int) -> None:
    bounded = compiled(view(summed(lower, upper, step, "number")), SUM)
    assert (bounded.columns[0].l2, bounded.columns[0].step) == (l2, Decimal(step))


def test_bounds_that_can_overflow_are_refused_at_compile_time() -> None:
    fits, too_wide = str(2**31 - 1), str(2**31)
    assert MAX_UNITS * (2**31 - 1) < TOTAL_LIMIT
    assert compiled(view(summed("0", fits), rows=1), SUM).columns[0].l2 == 2**31 - 1
    for lower, upper, rows in (("0", too_wide, 1), (f"-{too_wide}", "0", 1), ("0", "1000000", 5000)):
        with pytest.raises(QueryUnsupported) as caught:
            compiled(view(summed(lower, upper), rows=rows), SUM)
        assert caught.value.code == "BOUNDS_TOO_WIDE"
    with pytest.raises(QueryUnsupported, match="BOUNDS_TOO_WIDE"):
        compiled(view(rows=2**31), COUNT)


def test_the_bounds_that_hold_are_those_given_at_compile_time() -> None:
    query = StatisticsQuery(view(PLACE, rows=3), (COUNT,))
    assert compile_query(query, view(PLACE, rows=7)).columns[0].l2 == 7
    with pytest.raises(QueryUnsupported, match="COLUMN_UNKNOWN"):
        compile_query(StatisticsQuery(view(PLACE), (BY_PLACE, COUNT)), view())


def test_the_bounding_is_said_in_sentences() -> None:
    of = view(PLACE, summed("-1.5", "2", "0.5", "number"), groups=2, rows=10, nullable=True)
    assert compiled(of, BY_PLACE, COUNT, SUM).bounding == (
        "Rows without who are left out.",
        "Each who counts in at most 2 of the 3 groups; further ones are left out, by a fixed hash.",
        "n: at most 10 rows are counted per who and group; further ones are left out.",
        "sum(x): values are limited to -1.5 … 2 in steps of 0.5, and their sum per who and group to -15.0 … 20.0; "
        "missing values are left out.",
    )
    assert len(compiled(view(), COUNT).bounding) == 1


def test_a_bounded_column_cannot_be_built_wrong() -> None:
    for l2, step, cells in ((0, Decimal(1), 1), (1, Decimal(0), 1), (1, Decimal(1), 0)):
        with pytest.raises(ValueError, match="bounded column"):
            BoundedColumn("n", "count", l2, step, cells, "")


# --- assembling


def test_absent_cells_are_zero_and_all_cells_are_in_order() -> None:
    bounded = compiled(view(PLACE, summed("0", "5")), BY_PLACE, COUNT, SUM)
    assert bounded.assemble([(None, 3, 4), ("a", 1, 2)]) == [[1, 0, 3], [2, 0, 4]]
    assert bounded.assemble([]) == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    "rows",
    [
        [("undeclared", 1, 1)],
        [("a", 1, 1), ("a", 1, 1)],
        [("a", 1)],
        [("a", 1, 1, 1)],
        [("a", 1.0, 1)],
        [("a", True, 1)],
        [("a", None, 1)],
        [("a", 2**62 + 1, 1)],
    ],
)
def test_rows_that_the_statement_cannot_give_are_a_fault_that_shows_nothing(rows: list[tuple[Any, ...]]) -> None:
    with pytest.raises(Fault) as caught:
        compiled(view(PLACE, summed("0", "5")), BY_PLACE, COUNT, SUM).assemble(rows)
    assert caught.value.code == "BOUNDED_ROWS"
    assert "undeclared" not in str(caught.value)


def test_the_table_is_in_the_order_of_the_select_and_exact() -> None:
    cents = summed("0", "5", "0.01", "number")
    bounded = compiled(view(PLACE, cents), SUM, BY_PLACE, COUNT)
    table = bounded.table([[2**61 + 1, 0, -5], [7, 8, 9]])
    assert table == ((Decimal("23058430092136939.53"), "a", 7), (Decimal("0.00"), "b", 8), (Decimal("-0.05"), None, 9))
    tens = compiled(view(summed("0", "50", "1E+1", "number")), SUM)
    assert tens.table([[3]]) == ((30,),)
    assert type(tens.table([[3]])[0][0]) is int
    with pytest.raises(ValueError, match="zip"):
        bounded.table([[1, 2, 3], [1, 2]])


# --- the SQL in the engine


@pytest.fixture
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as connection:
        yield connection


EXTREMES = [
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
LIMITS: list[tuple[str, str, str]] = [
    ("0", "1", "1"),
    ("-2147483640", "2147483640", "1"),
    ("-300", "70", "10"),
    ("5", "7", "1"),
]


@pytest.mark.parametrize(("physical", "logical", "values"), EXTREMES, ids=[case[0] for case in EXTREMES])
def test_no_value_of_any_stored_type_can_raise_an_error(
    engine: duckdb.DuckDBPyConnection, physical: str, logical: ColumnType, values: list[str]
) -> None:
    rows = ", ".join(f"('u{i}', ({value})::{physical})" for i, value in enumerate(values))
    engine.execute(f"CREATE TABLE events AS SELECT * FROM (VALUES {rows}) AS v(who, x)")
    for lower, upper, step in LIMITS:
        of = view(summed(lower, upper, step, logical), rows=1)
        bounded = compiled(of, SUM, COUNT)
        total, count = bounded.assemble(engine.execute(bounded.sql).fetchall())
        assert count == [len(values)]
        finite = len([value for value in values if value not in ("NULL", "'nan'", "'inf'", "'-inf'")])
        assert min(int(lower), 0) * finite <= total[0] * int(step) <= max(int(upper), 0) * finite


@pytest.mark.parametrize(
    ("physical", "values", "steps"),
    [
        ("DECIMAL(9,2)", ["0.29", "1.15", "-0.57", "2.675"], [29, 115, -57, 268]),
        ("DOUBLE", ["0.29", "1.15", "-0.57", "-0.0049"], [29, 115, -57, 0]),
        ("DOUBLE", ["4.999", "5.001", "1e300", "-1e300", "'inf'", "'nan'"], [500, 500, 500, -100, 0, 0]),
        ("DECIMAL(9,4)", ["0.0149", "0.0151"], [1, 2]),
    ],
)
def test_numbers_are_counted_in_nearest_steps_within_their_bounds(
    engine: duckdb.DuckDBPyConnection, physical: str, values: list[str], steps: list[int]
) -> None:
    for value, expected in zip(values, steps, strict=True):
        engine.execute(f"CREATE OR REPLACE TABLE events AS SELECT 'u' AS who, ({value})::{physical} AS x")
        bounded = compiled(view(summed("-1", "5", "0.01", "number"), rows=1), SUM)
        assert bounded.assemble(engine.execute(bounded.sql).fetchall()) == [[expected]], value


def test_undeclared_keys_use_up_nothing_of_a_unit_s_groups(engine: duckdb.DuckDBPyConnection) -> None:
    engine.execute(
        "CREATE TABLE events AS SELECT 'u' AS who, place FROM "
        "(SELECT 'x' || range AS place FROM range(500) UNION ALL VALUES ('a'), (NULL))"
    )
    bounded = compiled(view(PLACE, groups=2), BY_PLACE, COUNT)
    assert bounded.assemble(engine.execute(bounded.sql).fetchall()) == [[1, 0, 1]]


def test_which_groups_are_kept_does_not_depend_on_the_other_units_or_the_order(
    engine: duckdb.DuckDBPyConnection,
) -> None:
    letters = key("place", *"abcdefghij")
    bounded = compiled(view(letters, groups=1, rows=1), BY_PLACE, COUNT)
    all_cells = "SELECT 'u' || i AS who, chr(97 + c::INTEGER) AS place FROM range(1000) a(i), range(10) b(c)"
    engine.execute(f"CREATE TABLE events AS {all_cells}")
    (forward,) = bounded.assemble(engine.execute(bounded.sql).fetchall())
    engine.execute(f"CREATE OR REPLACE TABLE events AS {all_cells} ORDER BY random()")
    assert bounded.assemble(engine.execute(bounded.sql).fetchall()) == [forward]
    assert sum(forward) == 1000
    assert min(forward) > 50  # the hash spreads the units over the cells


def test_sums_stay_exact_where_a_float_would_not(engine: duckdb.DuckDBPyConnection) -> None:
    """Five million units at an odd bound add up to an odd number beyond 2⁵³, which no double holds."""
    units, value = 5_000_001, 2**31 - 1
    engine.execute(f"CREATE VIEW events AS SELECT range AS who, {value}::BIGINT AS x FROM range({units})")
    bounded = compiled(view(summed("0", str(value)), rows=1), SUM)
    result = engine.execute(bounded.sql)
    assert [column[1] for column in result.description] == ["BIGINT"]
    ((total,),) = bounded.assemble(result.fetchall())
    assert total == units * value
    assert total > 2**53
    assert int(float(total)) != total


def test_no_float_is_written_in_the_modules_that_bound() -> None:
    """In the exact half of the core there is no float literal, no division, no float() and no math beyond integers."""
    folder = Path(kaianalytics.privacy.__path__[0])
    for name in ("unit", "cells", "bounding", "statement", "query", "predicate"):
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), name
            assert not (isinstance(node, ast.Name) and node.id == "float"), name
            # unit.py divides Fractions, exactly.
            assert not (isinstance(node, ast.Div)) or name == "unit", name


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_a_text_of_the_analyst_is_a_literal_whatever_it_holds(engine: duckdb.DuckDBPyConnection, text: str) -> None:
    """Quotes, comments, backslashes, newlines and dollar quotes: the row that equals the text is found, no other."""
    of = view(StatisticsColumn("t", "string"))
    bounded = compiled(of, COUNT, where=Some((Comparison("t", "=", text), Membership("t", (text, "z")))))
    engine.execute(
        "CREATE OR REPLACE TABLE events AS SELECT 'u' AS who, ? AS t UNION ALL SELECT 'v', ?", [text, text + "'"]
    )
    assert bounded.assemble(engine.execute(bounded.sql).fetchall()) == [[1]]


def test_names_of_views_and_columns_are_always_quoted(engine: duckdb.DuckDBPyConnection) -> None:
    odd = 'x" FROM t; --'
    of = replace(view(key(odd, "a"), StatisticsColumn("select", "timestamp")), name='my "view"')
    where = Comparison("select", "<", datetime(2026, 1, 1, 1, 2, 3, 40))
    bounded = compiled(of, Key(odd, "k"), COUNT, where=where)
    columns = """'u' AS who, 'a' AS "x"" FROM t; --", TIMESTAMP '2026-01-01' AS "select" """
    engine.execute(f'CREATE TABLE "my ""view""" AS SELECT {columns}')
    assert bounded.assemble(engine.execute(bounded.sql).fetchall()) == [[1]]
