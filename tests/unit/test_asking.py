"""What a question over the wire may be, and small tables of the analyst's own: bounded, plain, typed by their JSON."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kaianalytics.errors import QueryUnsupported, Refused
from kaianalytics.gateway.asking import statistics_request
from kaianalytics.gateway.lookups import BYTES_MAX, COLUMNS_MAX, ROWS_MAX, TABLES_MAX, lookups
from kaianalytics.privacy.unit import ValueBounds
from kaianalytics.protocol import StatisticsRequest

SQL = {"sql": "SELECT COUNT(*) AS n FROM sessions"}
VIEWS = ("sessions", "Customers")


def code(body: dict[str, Any]) -> str:
    with pytest.raises(Refused) as refused:
        statistics_request(body)
    assert refused.value.hint
    return refused.value.code


@pytest.mark.parametrize(
    ("price", "read"),
    [
        ({"rho": "0.002"}, {"rho": "0.002"}),
        ({"epsilon": ".5", "rho": None}, {"epsilon": ".5"}),
        ({"accuracy": "5%", "size": "2000"}, {"accuracy": "5%", "size": "2000"}),
        ({"accuracy": {"n": "10", "m": "1e2"}}, {"accuracy": {"n": "10", "m": "1e2"}}),
    ],
)
def test_a_price_is_read_in_each_way_it_can_be_named(price: dict[str, Any], read: dict[str, Any]) -> None:
    assert statistics_request(SQL | price) == StatisticsRequest(SQL["sql"], **read)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "PRICE_MISSING"),
        ({"rho": None}, "PRICE_MISSING"),
        ({"rho": "0.1", "epsilon": "1"}, "PRICE_TWICE"),
        ({"rho": 0.1}, "FIELD_TYPE"),
        ({"rho": True}, "FIELD_TYPE"),
        ({"rho": "NaN"}, "RHO"),
        ({"rho": "Infinity"}, "RHO"),
        ({"rho": "٠.١"}, "RHO"),
        ({"rho": "0x1"}, "RHO"),
        ({"rho": " 1"}, "RHO"),
        ({"rho": "1" * 41}, "RHO"),
        ({"rho": "1e99999"}, "RHO"),
        ({"epsilon": "a lot"}, "EPSILON"),
        ({"accuracy": ""}, "ACCURACY"),
        ({"accuracy": {"n": "many"}}, "ACCURACY"),
        ({"accuracy": {}}, "FIELD_TYPE"),
        ({"accuracy": ["5%"]}, "FIELD_TYPE"),
        ({"accuracy": {str(name): "1" for name in range(41)}}, "FIELD_TYPE"),
        ({"accuracy": "1", "size": "big"}, "SIZE"),
        ({"rho": "1", "delta": "0.5"}, "FIELD_UNKNOWN"),
        ({"rho": "1", "seed": 1}, "FIELD_UNKNOWN"),
        ({"rho": "1", "bounds": 5}, "FIELD_TYPE"),
        ({"rho": "1", "bounds": ["rows"]}, "FIELD_TYPE"),
        ({"rho": "1", "tables": []}, "FIELD_TYPE"),
        ({"rho": "1", "tables": {"t": []}}, "FIELD_TYPE"),
        ({"rho": "1", "tables": {"t": {"a": "abc"}}}, "FIELD_TYPE"),
    ],
)
def test_what_is_no_question_is_refused_by_name(body: dict[str, Any], expected: str) -> None:
    assert code(SQL | body) == expected


def test_a_question_has_a_text() -> None:
    assert code({"rho": "1"}) == "FIELD_MISSING"
    assert code({"rho": "1", "sql": ["SELECT 1"]}) == "FIELD_MISSING"


def looked_up(tables: dict[str, Any]) -> Any:
    return lookups(StatisticsRequest("SELECT", rho="1", tables=tables), VIEWS)


def test_a_table_has_the_types_ranges_and_keys_of_its_values() -> None:
    table = looked_up(
        {"regions": {"code": ["a", "b", "c"], "group": [1, 1, None], "weight": [0.25, 2, -1], "near": [True] * 3}}
    )["regions"]
    columns = table.view.columns
    assert {name: column.type for name, column in columns.items()} == {
        "code": "string", "group": "integer", "weight": "number", "near": "boolean",
    }  # fmt: skip
    assert [name for name, column in columns.items() if column.unique] == ["code", "weight"]
    assert [name for name, column in columns.items() if column.nullable] == ["group"]
    assert columns["group"].domain is not None and columns["group"].domain.values == (1, None)
    assert columns["group"].bounds == ValueBounds(Decimal(1), Decimal(2))
    assert columns["weight"].bounds == ValueBounds(Decimal(-1), Decimal(2), Decimal("0.01"))
    assert columns["weight"].domain is None
    assert table.rows == (
        ("a", 1, Decimal("0.25"), True),
        ("b", 1, Decimal("2"), True),
        ("c", None, Decimal("-1"), True),
    )
    assert table.view.unit is None


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({"sessions": {"a": [1]}}, "TABLE_NAME"),
        ({"customers": {"a": [1]}}, "TABLE_NAME"),
        ({"Sessions": {"a": [1]}}, "TABLE_NAME"),
        ({"kai_units": {"a": [1]}}, "TABLE_NAME"),
        ({"duckdb_tables": {"a": [1]}}, "TABLE_NAME"),
        ({'t"; DROP': {"a": [1]}}, "TABLE_NAME"),
        ({"": {"a": [1]}}, "TABLE_NAME"),
        ({"t": {"A": [1]}}, "TABLE_NAME"),
        ({"t": {'a"': [1]}}, "TABLE_NAME"),
        ({"t": {}}, "TABLE_VALUES"),
        ({"t": {"a": []}}, "TABLE_VALUES"),
        ({"t": {"a": [1], "b": [1, 2]}}, "TABLE_VALUES"),
        ({"t": {"a": [None]}}, "TABLE_VALUES"),
        ({"t": {"a": [1, "x"]}}, "TABLE_VALUES"),
        ({"t": {"a": [1, True]}}, "TABLE_VALUES"),
        ({"t": {"a": [[1]]}}, "TABLE_VALUES"),
        ({"t": {"a": [{}]}}, "TABLE_VALUES"),
        ({"t": {"a": ["x" * 201]}}, "TABLE_VALUES"),
        ({"t": {"a": ["\0"]}}, "TABLE_VALUES"),
        ({"t": {"a": [2**53 + 1]}}, "TABLE_VALUES"),
        ({"t": {"a": [float("inf")]}}, "TABLE_VALUES"),
        ({"t": {"a": [1e-300]}}, "TABLE_VALUES"),
        ({f"t{number}": {"a": [1]} for number in range(TABLES_MAX + 1)}, "TABLE_TOO_LARGE"),
        ({"t": {f"c{number}": [1] for number in range(COLUMNS_MAX + 1)}}, "TABLE_TOO_LARGE"),
        ({"t": {"a": [1] * (ROWS_MAX + 1)}}, "TABLE_TOO_LARGE"),
        ({"t": {"a": ["x" * 200] * (BYTES_MAX // 200)}}, "TABLE_TOO_LARGE"),
    ],
)
def test_a_table_that_is_large_odd_or_hides_a_view_is_refused(tables: dict[str, Any], expected: str) -> None:
    with pytest.raises(QueryUnsupported) as refused:
        looked_up(tables)
    assert refused.value.code == expected and refused.value.hint
