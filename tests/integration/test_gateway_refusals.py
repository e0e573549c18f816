"""Bad input at the statistics door: each is refused by its own code, recorded once, charged nothing, and shows nothing.

The plan's door refuses the same, with the same code: nobody learns the price of what can't be asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from support.real_world import AS_OF, Asker, Gateway, World, refusal

from kaianalytics.protocol import API

COUNT = "SELECT COUNT(*) AS n FROM sessions"
PRICED = {"rho": "0.001"}


@pytest.fixture(scope="module")
def asker(gateway: Gateway) -> Iterator[Asker]:
    """A session that still answers when all of this is over."""
    session = gateway.session()
    yield session
    assert session.stats(COUNT, "0.0001")["release"]


def account(asker: Asker) -> str:
    lines = asker.door.request_json("GET", f"{API}/budget")["lines"]
    return str(next(line["spent"] for line in lines if line["name"] == "account"))


def refused(gateway: Gateway, asker: Asker, body: dict[str, Any]) -> str:
    """The one code of both doors, once it is sure that it was recorded and cost nothing."""
    before, spent, codes = gateway.world.last_event(), account(asker), []
    for door in ("statistics", "statistics/plan"):
        error = refusal(lambda door=door: asker.door.request_json("POST", f"{API}/{door}", body))
        assert error.hint or error.rule
        codes.append(error.code)
    events = gateway.world.events(after=before)
    assert [event.facts().get("code") for event in events] == codes
    assert all(event.kind.endswith(".refused") and event.actor == "aiko" for event in events)
    assert account(asker) == spent
    assert codes[0] == codes[1]
    return codes[0]


PRICES = [
    ({}, "PRICE_MISSING"),
    ({"rho": "0.1", "accuracy": "5"}, "PRICE_TWICE"),
    *(({"rho": wrong}, "RHO") for wrong in ("0", "-1", "NaN", "Infinity", "-inf", "1000001", "1e9999", "a lot", "")),
    ({"rho": "11"}, "LOSS_OUT_OF_RANGE"),
    *(({"epsilon": wrong}, "EPSILON") for wrong in ("0", "-0.5", "NaN", "inf", "1e30", "0.00000000000000000001")),
    *(({"accuracy": wrong}, "ACCURACY") for wrong in ("0", "-5", "0%", "NaN", "inf", "1e30", "%")),
    ({"accuracy": "5%"}, "SIZE_MISSING"),
    ({"accuracy": "0.0001"}, "LOSS_OUT_OF_RANGE"),
    ({"accuracy": {"m": "5"}}, "ACCURACY_FIGURE"),
    ({"accuracy": "5%", "size": "-3"}, "SIZE"),
    ({"rho": 0.001}, "FIELD_TYPE"),
    ({"rho": "0.001", "delta": "0.5"}, "FIELD_UNKNOWN"),  # δ is the contract's, and nobody's to name
    ({"rho": "0.001", "seed": 7}, "FIELD_UNKNOWN"),
]


@pytest.mark.parametrize(("price", "code"), PRICES, ids=[str(price)[:50] for price, _ in PRICES])
def test_a_price_that_is_none_or_out_of_all_reason(
    gateway: Gateway, asker: Asker, price: dict[str, Any], code: str
) -> None:
    assert refused(gateway, asker, {"sql": COUNT, **price}) == code


QUESTIONS = {
    "an unknown column": ("SELECT nothing, COUNT(*) FROM sessions GROUP BY nothing", "COLUMN_UNKNOWN"),
    "an unknown column in a sum": ("SELECT SUM(nothing) FROM sessions", "COLUMN_UNKNOWN"),
    "a column that was dropped": ("SELECT referrer, COUNT(*) FROM sessions GROUP BY referrer", "COLUMN_UNKNOWN"),
    "the column of units numbered in the store": (
        "SELECT kai_unit, COUNT(*) FROM sessions GROUP BY 1",
        "COLUMN_UNKNOWN",
    ),
    "grouping by the unit": ("SELECT customer_id, COUNT(*) FROM sessions GROUP BY customer_id", "IDENTIFIER_USED"),
    "grouping by a function of it": (
        "SELECT upper(customer_id) AS c, COUNT(*) FROM sessions GROUP BY c",
        "IDENTIFIER_USED",
    ),
    "grouping by an identifier": ("SELECT session_id, COUNT(*) FROM sessions GROUP BY session_id", "IDENTIFIER_USED"),
    "grouping by a pseudonym of another product": (
        "SELECT order_id, COUNT(*) FROM orders GROUP BY order_id",
        "IDENTIFIER_USED",
    ),
    "the unit in the output": ("SELECT customer_id, COUNT(*) FROM sessions", "IDENTIFIER_USED"),
    "the unit in the output alone": ("SELECT customer_id FROM sessions", "NO_AGGREGATE"),
    "a filter on the unit": ("SELECT COUNT(*) FROM sessions WHERE customer_id = 'x'", "IDENTIFIER_USED"),
    "a window function": ("SELECT COUNT(*) OVER () AS n FROM sessions", "WINDOW_UNSUPPORTED"),
    "a rank": (
        "SELECT row_number() OVER (ORDER BY pages), COUNT(*) FROM sessions GROUP BY pages",
        "WINDOW_UNSUPPORTED",
    ),
    "a self-join": (
        "SELECT COUNT(*) FROM sessions AS a JOIN sessions AS b ON a.customer_id = b.customer_id",
        "SELF_JOIN",
    ),
    "a cross join": ("SELECT COUNT(*) FROM sessions, orders", "JOIN_CROSS"),
    "sampling": ("SELECT COUNT(*) FROM sessions USING SAMPLE 10%", "NOT_ADMITTED"),
    "sampling a table": ("SELECT COUNT(*) FROM sessions TABLESAMPLE 10%", "NOT_ADMITTED"),
    "chance": ("SELECT COUNT(*) FROM sessions WHERE random() < 0.5", "FUNCTION_NOT_ADMITTED"),
    "the clock": ("SELECT COUNT(*) FROM sessions WHERE started_at < now()", "FUNCTION_NOT_ADMITTED"),
    "a fresh id": ("SELECT COUNT(*) FROM sessions WHERE uuid() = 'x'", "FUNCTION_NOT_ADMITTED"),
    "a billion groups": (
        "SELECT width_bucket(pages, 0, 20, 10000) AS a, width_bucket(seconds, 0, 3600, 10000) AS b, "
        "width_bucket(pages, 0, 19, 10000) AS c, COUNT(*) FROM sessions GROUP BY a, b, c",
        "TOO_MANY_CELLS",
    ),
    "nesting, deep": (f"SELECT COUNT(*) FROM sessions WHERE {'NOT ' * 50} pages > 1", "EXPRESSION_TOO_DEEP"),
    "nesting, deeper": (f"SELECT COUNT(*) FROM sessions WHERE {'(' * 70}pages > 1{')' * 70}", "TOO_DEEP"),
    "subqueries, deep": (
        f"SELECT COUNT(*) FROM {'(SELECT * FROM ' * 55} sessions {')' * 55}",
        "SUBQUERY_TOO_DEEP",
    ),
    "an extreme": ("SELECT MIN(pages) FROM sessions", "AGGREGATE_UNSUPPORTED"),
    "no view": ("SELECT COUNT(*)", "NO_VIEW"),
    "a view of another purpose": ("SELECT COUNT(*) FROM ad_impressions", "NOT_FOR_PURPOSE"),
}


@pytest.mark.parametrize("what", QUESTIONS)
def test_a_question_that_can_not_be_proved(gateway: Gateway, asker: Asker, what: str) -> None:
    sql, code = QUESTIONS[what]
    assert refused(gateway, asker, {"sql": sql, **PRICED}) == code


BOUNDS = [
    ({"rows": 0}, "BOUNDS_UNREADABLE"),
    ({"rows": True}, "BOUNDS_UNREADABLE"),
    ({"off": True}, "BOUNDS_UNREADABLE"),
    ("none", "BOUNDS_UNREADABLE"),
    ({"rows": 10**6}, "BOUNDS_LOOSER"),
    ({"norm": "1e6"}, "BOUNDS_LOOSER"),
    ({"values": {"pages": [0, 10**6]}}, "BOUNDS_LOOSER"),
    ({"values": {"nothing": [0, 1]}}, "BOUNDS_COLUMN"),
]


@pytest.mark.parametrize(("bounds", "code"), BOUNDS, ids=[str(bounds) for bounds, _ in BOUNDS])
def test_bounds_that_are_none_or_looser_than_the_contracts(
    gateway: Gateway, asker: Asker, bounds: Any, code: str
) -> None:
    sql = "SELECT SUM(pages) AS n FROM sessions"
    assert refused(gateway, asker, {"sql": sql, "bounds": bounds, **PRICED}) == code


def test_bounds_are_found_at_a_part_of_a_loss_and_where_there_are_any(gateway: Gateway, asker: Asker) -> None:
    private = {"bounds": "private"}
    assert refused(gateway, asker, {"sql": COUNT, "accuracy": "500", **private}) == "BOUNDS_PRIVATE_PRICE"
    people = "SELECT COUNT(DISTINCT customer_id) AS n FROM sessions"
    assert refused(gateway, asker, {"sql": people, **PRICED, **private}) == "BOUNDS_PRIVATE_NONE"
    assert refused(gateway, asker, {"sql": COUNT, "rho": "0.000000000001", **private}) == "LOSS_OUT_OF_RANGE"


TABLES = [
    ({"sessions": {"a": ["x"]}}, "TABLE_NAME"),
    ({"t": {"a": ["x"] * 1001}}, "TABLE_TOO_LARGE"),
    ({"t": {"a": ["x", 1]}}, "TABLE_VALUES"),
]


@pytest.mark.parametrize(("tables", "code"), TABLES, ids=[code for _, code in TABLES])
def test_tables_that_are_large_odd_or_hide_a_view(gateway: Gateway, asker: Asker, tables: Any, code: str) -> None:
    sql = "SELECT COUNT(*) AS n FROM sessions JOIN t ON device = a"
    assert refused(gateway, asker, {"sql": sql, "tables": tables, **PRICED}) == code


def test_a_table_of_ones_own_is_no_way_to_ask_of_nobody(gateway: Gateway, asker: Asker) -> None:
    tables = {"t": {"a": ["x"]}}
    assert refused(gateway, asker, {"sql": "SELECT COUNT(*) AS n FROM t", "tables": tables, **PRICED}) == "NO_VIEW"


# δ is the contract's


def test_unknown_keys_without_a_delta_are_refused(world: World) -> None:
    world.edit("purposes.yaml", 'question_delta: "0.00000001"', "# no question_delta")
    world.kai("build", "--as-of", AS_OF)
    with world.gateway() as gateway:
        body = {"sql": "SELECT seconds // 600 AS tens, COUNT(*) AS n FROM sessions GROUP BY 1", "rho": "0.01"}
        assert refused(gateway, gateway.session(), body) == "KEYS_NEED_DELTA"


def test_a_delta_past_all_reason_is_a_fault_of_the_contract_with_its_line(world: World) -> None:
    world.edit("purposes.yaml", 'question_delta: "0.00000001"', 'question_delta: "0.5"')
    checked = world.type("contracts", "check", world.contracts)
    assert (checked.code, built := world.type("build", "--as-of", AS_OF).code) == (1, 2), built
    assert re.search(r"purposes\.yaml:\d+: .*δ", checked.said)


def test_a_delta_that_is_spent_refuses_and_what_costs_none_goes_on(world: World) -> None:
    cap = 'service-improvement: {rho: "0.4", delta: '
    world.edit("purposes.yaml", f'{cap}"0.000001"}}', f'{cap}"0.00000001"}}')
    world.kai("build", "--as-of", AS_OF)
    with world.gateway() as gateway:
        asker = gateway.session()
        asker.stats("SELECT seconds // 600 AS tens, COUNT(*) AS n FROM sessions GROUP BY 1", "0.01")
        over = asker.refused("SELECT seconds // 300 AS fives, COUNT(*) AS n FROM sessions GROUP BY 1", "0.01")
        assert over.code == "PURPOSE_CAP" and "δ" in over.message
        assert asker.stats(COUNT, "0.001")["charged"]
