"""A question as it is sent: one price, numbers as they print, and small tables from whatever frame they are in."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest

from kaianalytics.client.asking import Asking
from kaianalytics.errors import QueryUnsupported, Refused
from kaianalytics.gateway.door.asking import statistics_request
from kaianalytics.gateway.statistics.lookups import lookups
from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.protocol import StatisticsRequest

SQL = "SELECT COUNT(*) AS n FROM sessions"


def code_of(**asked: Any) -> str:
    """The code that the analyst's side refuses with."""
    with pytest.raises(Refused) as refused:
        Asking(**asked).request(SQL)
    assert refused.value.hint
    return refused.value.code


def gateway_code_of(body: dict[str, Any]) -> str:
    """The code that the gateway refuses the same with."""
    with pytest.raises(QueryUnsupported) as refused:
        statistics_request({"sql": SQL, **body})
    return refused.value.code


def test_no_price_has_a_default_and_no_question_has_two_on_either_side_of_the_wall() -> None:
    assert code_of() == gateway_code_of({}) == "PRICE_MISSING"
    assert code_of(size=100, bounds="private") == "PRICE_MISSING"
    assert code_of(rho="0.1", epsilon="1") == gateway_code_of({"rho": "0.1", "epsilon": "1"}) == "PRICE_TWICE"
    assert code_of(rho="0.1", accuracy=50) == "PRICE_TWICE"


@pytest.mark.parametrize("name", ["rho", "epsilon", "accuracy"])
@pytest.mark.parametrize(
    ("given", "text"),
    [("0.002", "0.002"), (" 0.1 ", "0.1"), (Decimal("1E-3"), "0.001"), (1, "1"), (0.1, "0.1"), (1e-7, "0.0000001")],
)
def test_a_price_crosses_as_a_plain_decimal(name: str, given: Any, text: str) -> None:
    assert Asking(**{name: given}).request(SQL) == {"sql": SQL, name: text}
    assert statistics_request(Asking(**{name: given}).request(SQL)) == StatisticsRequest(SQL, **{name: text})


@pytest.mark.parametrize("name", ["rho", "epsilon", "accuracy"])
@pytest.mark.parametrize("given", ["", "a lot", "0", "-1", "inf", "nan", float("nan"), True])
def test_a_price_that_is_none_is_refused(name: str, given: Any) -> None:
    assert code_of(**{name: given}) == name.upper()


def test_an_accuracy_may_be_a_percentage_of_a_stated_size_and_differ_by_figure() -> None:
    assert Asking(accuracy="5%", size=20_000).request(SQL) == {"sql": SQL, "accuracy": "5%", "size": "20000"}
    asked = Asking(accuracy={"n": 50, "pages": "2.5%"}, size="1e3").request(SQL)
    assert asked["accuracy"] == {"n": "50", "pages": "2.5%"} and asked["size"] == "1000"
    assert statistics_request(asked).accuracy == asked["accuracy"]
    assert code_of(accuracy="5%") == code_of(accuracy={"n": "5%"}) == "SIZE_MISSING"
    assert code_of(accuracy="%", size=5) == "ACCURACY"
    assert code_of(accuracy=50, size=0) == "SIZE"


def test_bounds_cross_as_they_are_meant() -> None:
    given = {"rows": np.int64(20), "values": {"amount": (0, 30_000.5), "cost": [Decimal("0.10"), 2]}}
    asked = Asking(rho=1, bounds=given).request(SQL)
    assert asked["bounds"] == {"rows": 20, "values": {"amount": [0, "30000.5"], "cost": ["0.10", 2]}}
    assert statistics_request(asked).bounds == asked["bounds"]
    assert Asking(rho=1, bounds="private").request(SQL)["bounds"] == "private"
    read = BoundsAsked.of(asked["bounds"])
    assert read.rows == 20 and read.values == {"amount": (0, Decimal("30000.5")), "cost": (Decimal("0.1"), 2)}
    assert code_of(rho=1, bounds=5) == "BOUNDS_UNREADABLE"


# --- tables of one's own


def sent(table: Any) -> Any:
    """The columns that cross for a table."""
    return Asking(rho=1, tables={"own": table}).request(SQL)["tables"]["own"]


POLARS = pl.DataFrame({"service": ["news", None], "weight": [1.5, None], "size": [3, 4], "open": [True, False]})
COLUMNS = {"service": ["news", None], "weight": [1.5, None], "size": [3, 4], "open": [True, False]}


def test_polars_pandas_and_plain_columns_cross_alike_and_the_gateway_reads_them() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(COLUMNS, index=[7, 9])
    assert sent(POLARS) == sent(frame) == sent(COLUMNS) == COLUMNS
    relation = lookups(StatisticsRequest(SQL, rho="1", tables={"own": sent(frame)}), ["sessions"])["own"]
    assert relation.rows == (("news", Decimal("1.5"), 3, True), (None, None, 4, False))


def test_dates_and_categories_cross_as_text_and_what_is_no_number_as_missing() -> None:
    frame = pl.DataFrame({"day": [date(2026, 10, 5), None], "kind": ["a", "b"], "x": [float("nan"), 2.0]})
    assert sent(frame.with_columns(pl.col("kind").cast(pl.Categorical))) == {
        "day": ["2026-10-05", None],
        "kind": ["a", "b"],
        "x": [None, 2.0],
    }


@pytest.mark.parametrize(
    ("tables", "code"),
    [
        ({"own": {"a": range(1001)}}, "TABLE_TOO_LARGE"),
        ({"own": {f"c{n}": [1] for n in range(21)}}, "TABLE_TOO_LARGE"),
        ({f"t{n}": {"a": [1]} for n in range(11)}, "TABLE_TOO_LARGE"),
        ({"own": {f"c{n}": ["x" * 190] * 100 for n in range(5)}}, "TABLE_TOO_LARGE"),
        ({"Own": {"a": [1]}}, "TABLE_NAME"),
        ({"own": {"My column": [1]}}, "TABLE_NAME"),
        ({"own": {}}, "TABLE_VALUES"),
        ({"own": {"a": []}}, "TABLE_VALUES"),
        ({"own": {"a": [1], "b": [1, 2]}}, "TABLE_VALUES"),
        ({"own": {"a": [1, "x"]}}, "TABLE_VALUES"),
        ({"own": {"a": [[1], [2]]}}, "TABLE_VALUES"),
        ({"own": {"a": [float("inf")]}}, "TABLE_VALUES"),
        ({"own": 5}, "TABLE_VALUES"),
        ([1], "TABLE_VALUES"),
    ],
)
def test_a_table_that_can_not_cross_is_refused_before_it_is_sent(tables: Any, code: str) -> None:
    assert code_of(rho=1, tables=tables) == code


def test_the_gateway_takes_what_is_just_small_enough() -> None:
    asked = Asking(rho=1, tables={"own": {"a": range(1000), "b": ["x"] * 1000}}).request(SQL)
    assert len(lookups(statistics_request(asked), [])["own"].rows or ()) == 1000
