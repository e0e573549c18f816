"""Every reason for which a statement is no statistic, each reached by a statement, with its rule and a way on."""

from __future__ import annotations

import pytest
from support.reading_kit import asked, refused

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.reading.functions import UNANSWERED
from kaianalytics.privacy.reading.keys import cells_of
from kaianalytics.privacy.reasons import READING

DEEP = "(" * 45 + "amount" + " + 1)" * 45

REFUSED = {
    # the statement
    "NOT_ONE_SELECT": "WITH RECURSIVE s AS (SELECT 1 UNION ALL SELECT 1 FROM s) SELECT count(*) FROM s",
    "SYNTAX_UNSUPPORTED": "SELECT count(*) FROM shop.orders",
    "PARAMETER_UNSUPPORTED": "SELECT count(*) FROM orders WHERE amount > $1",
    "DISTINCT_UNSUPPORTED": "SELECT DISTINCT channel FROM orders",
    "QUALIFY_UNSUPPORTED": "SELECT count(*) FROM orders QUALIFY row_number() OVER () = 1",
    "SAMPLE_UNSUPPORTED": "SELECT count(*) FROM orders USING SAMPLE 10%",
    "SET_OPERATION_UNSUPPORTED": "SELECT count(*) FROM orders UNION SELECT count(*) FROM orders",
    "GROUPING_SETS_UNSUPPORTED": "SELECT channel, count(*) FROM orders GROUP BY ROLLUP (channel)",
    "WINDOW_UNSUPPORTED": "SELECT sum(count(*)) OVER () FROM orders",
    "STAR_UNSUPPORTED": "SELECT * FROM orders",
    # where rows come from
    "VIEW_MISSING": "SELECT count(*)",
    "VIEW_UNKNOWN": "SELECT count(*) FROM elsewhere",
    "VIEW_PUBLIC": "SELECT count(*) FROM products",
    "TABLE_FUNCTION_UNSUPPORTED": "SELECT count(*) FROM range(5)",
    "VALUES_UNSUPPORTED": "SELECT count(*) FROM (VALUES (1)) AS v(x)",
    "TABLE_NAME_REPEATED": "SELECT count(*) FROM orders JOIN products orders ON 1 = 1",
    "TOO_MANY_RELATIONS": "SELECT count(*) FROM orders"
    + "".join(f" JOIN products p{n} ON p{n}.product = orders.product" for n in range(8)),
    "CTE_UNUSED": "WITH s AS (SELECT 1) SELECT count(*) FROM orders",
    "SUBQUERY_SHAPE": "SELECT count(*) FROM (SELECT city FROM orders GROUP BY city)",
    "SUBQUERY_EXPRESSION": "SELECT count(*) FROM orders WHERE amount > (SELECT 5)",
    "SUBQUERY_TOO_DEEP": "SELECT count(*) FROM " + "(SELECT * FROM " * 30 + "orders" + ")" * 30,
    # joins
    "SELF_JOIN": "SELECT count(*) FROM orders a JOIN orders b USING (customer_id)",
    "JOIN_CROSS": "SELECT count(*) FROM orders, products",
    "JOIN_RIGHT": "SELECT count(*) FROM products RIGHT JOIN orders USING (product)",
    "JOIN_FULL": "SELECT count(*) FROM products FULL JOIN orders USING (product)",
    "IN_UNDECLARED": "SELECT count(*) FROM orders WHERE channel IN (SELECT channel FROM customers)",
    "NOT_IN_NULL": "SELECT count(*) FROM orders WHERE channel NOT IN (SELECT channel FROM labels)",
    "JOIN_NATURAL": "SELECT count(*) FROM orders NATURAL JOIN products",
    "JOIN_ASOF": "SELECT count(*) FROM orders ASOF JOIN products ON orders.product >= products.product",
    "JOIN_NOT_EQUI": "SELECT count(*) FROM orders JOIN products ON orders.product < products.product",
    "JOIN_UNDECLARED": "SELECT count(*) FROM orders JOIN products ON channel = category",
    "JOIN_UNCONNECTED": "SELECT count(*) FROM staff s JOIN (labels l LEFT JOIN products p ON p.product = l.label) "
    "ON s.product = p.product",
    "LEFT_JOIN_NESTED": "SELECT count(*) FROM orders o LEFT JOIN (products p JOIN makers USING (maker)) "
    "ON o.product = p.product",
    "LEFT_JOIN_TO_UNITS": "SELECT count(*) FROM products LEFT JOIN orders USING (product)",
    "LEFT_JOIN_EXPRESSION": "SELECT count(*) FROM orders LEFT JOIN (SELECT product, 1 AS one FROM products) s "
    "USING (product)",
    # columns
    "COLUMN_UNKNOWN": "SELECT sum(nothing) FROM orders",
    "COLUMN_AMBIGUOUS": "SELECT count(channel) FROM orders JOIN customers USING (customer_id)",
    "IDENTIFIER_USED": "SELECT customer_id, count(*) FROM orders GROUP BY 1",
    # the select list
    "NO_AGGREGATE": "SELECT channel FROM orders GROUP BY channel",
    "TOO_MANY_AGGREGATES": "SELECT " + ", ".join(f"sum(amount * {n})" for n in range(41)) + " FROM orders",
    "NAME_REPEATED": "SELECT count(*) AS n, sum(amount) AS N FROM orders",
    "COLUMN_UNGROUPED": "SELECT channel, count(*) FROM orders",
    "KEY_EXPRESSION": "SELECT upper(channel), count(*) FROM orders GROUP BY channel",
    "FIGURE_TYPE": "SELECT count(*) > 5 FROM orders",
    "SEVERAL_FIGURES": "SELECT histogram(amount, [0, 1, 2]) + 1 FROM orders",
    # aggregates
    "AGGREGATE_UNSUPPORTED": "SELECT min(amount) FROM orders",
    "AGGREGATE_MISPLACED": "SELECT count(*) FROM orders WHERE sum(amount) > 5",
    "AGGREGATE_ARGUMENTS": "SELECT sum(amount, 2) FROM orders",
    "ORDER_IN_AGGREGATE": "SELECT sum(amount ORDER BY day) FROM orders",
    "DISTINCT_AGGREGATE": "SELECT sum(DISTINCT amount) FROM orders",
    "COUNT_DISTINCT": "SELECT count(DISTINCT city) FROM orders",
    "SUM_WITHOUT_BOUNDS": "SELECT sum(raw) FROM orders",
    "QUANTILE_FRACTION": "SELECT quantile_cont(amount, 1.5) FROM orders",
    "HISTOGRAM_EDGES": "SELECT histogram(amount) FROM orders",
    "TOP_SIZE": "SELECT approx_top_k(channel, 0) FROM orders",
    "TOP_WITHOUT_DOMAIN": "SELECT approx_top_k(city, 5) FROM orders",
    # keys
    "KEY_NOT_SELECTED": "SELECT count(*) FROM orders GROUP BY channel",
    "GROUP_EXPRESSION": "SELECT channel, count(*) FROM orders GROUP BY 1, 7",
    "GROUP_CONSTANT": "SELECT 'all' AS label, count(*) FROM orders GROUP BY ALL",
    "GROUP_NUMBER": "SELECT raw, count(*) FROM orders GROUP BY raw",
    "TOO_MANY_CELLS": "SELECT wide, wider, count(*) FROM orders GROUP BY ALL",
    "NO_CELLS": "SELECT channel, count(*) FROM orders WHERE channel = 'fax' GROUP BY ALL",
    # expressions
    "EXPRESSION_UNSUPPORTED": "SELECT count(*) FROM orders WHERE [1, 2][1] = 1",
    "EXPRESSION_TYPE": "SELECT sum(city + 1) FROM orders",
    "EXPRESSION_TOO_DEEP": f"SELECT sum({DEEP}) FROM orders",
    "EXPRESSION_TOO_LARGE": "SELECT count(*) FROM orders WHERE "
    + "sent > day"
    + " + INTERVAL 1 MONTH - INTERVAL 1 DAY" * 2,
    "FUNCTION_UNSUPPORTED": "SELECT count(*) FROM orders WHERE regexp_matches(city, 'a')",
    "IN_UNSUPPORTED": "SELECT count(*) FROM orders WHERE city IN (channel)",
    "CAST_UNSUPPORTED": "SELECT count(*) FROM orders WHERE CAST(amount AS DECIMAL(5, 1)) > 5",
    "INTERVAL_UNSUPPORTED": "SELECT count(*) FROM orders WHERE day + INTERVAL (quantity) DAY > sent",
    "LITERAL_UNREADABLE": "SELECT count(*) FROM orders WHERE amount > 1e999",
    "FILTER_TYPE": "SELECT count(*) FROM orders WHERE quantity = 'five'",
    "FILTER_NULL": "SELECT count(*) FROM orders WHERE quantity = NULL",
    # after the noise
    "AFTER_UNSUPPORTED": "SELECT exp(count(*)) FROM orders",
    "AFTER_TYPE": "SELECT channel, count(*) FROM orders GROUP BY ALL HAVING channel > 5",
    "LIMIT_UNSUPPORTED": "SELECT count(*) FROM orders LIMIT 10%",
    "ORDER_BY_CONSTANT": "SELECT count(*) FROM orders ORDER BY 5",
}


@pytest.mark.parametrize("code", READING)
def test_every_reason_is_reached_and_says_a_rule_and_a_way_on(code: str) -> None:
    with pytest.raises(QueryUnsupported) as caught:
        cells_of(asked(REFUSED[code]))
    refusal = caught.value
    assert refusal.code == code
    assert refusal.message and refusal.rule and refusal.hint
    assert not any(brace in refusal.message + refusal.rule for brace in "{}")


def test_every_case_belongs_to_a_reason() -> None:
    assert set(REFUSED) == set(READING)


@pytest.mark.parametrize("name", UNANSWERED)
def test_every_other_aggregate_is_refused_with_what_to_ask_instead(name: str) -> None:
    for call in (f"{name}(amount)", f"{name}(amount, 2)", f"{name}(DISTINCT amount) FILTER (WHERE gift)"):
        refusal = refused(f"SELECT {call} FROM orders")
        assert (refusal.code, refusal.hint) == ("AGGREGATE_UNSUPPORTED", UNANSWERED[name])


@pytest.mark.parametrize(
    ("sql", "hint"),
    [
        ("SELECT min(amount) FROM orders", "QUANTILE_CONT(x, 0.01)"),
        ("SELECT approx_quantile(amount, 0.5) FROM orders", "QUANTILE_CONT"),
        ("SELECT sum(raw) FROM orders", "SUM(LEAST(GREATEST(x, 0), 100))"),
        ("SELECT avg(seconds) FROM orders", "AVG(LEAST(GREATEST(x, 0), 100))"),
        ("SELECT count(DISTINCT city) FROM orders", "COUNT(DISTINCT customer_id)"),
        ("SELECT raw, count(*) FROM orders GROUP BY 1", 'width_bucket("raw", low, high, buckets)'),
        ("SELECT count(*) FROM orders WHERE amount > random()", "no chance and no clock"),
        ("SELECT count(*) FROM orders WHERE day < now()", "no chance and no clock"),
        ("SELECT sum(nothing) FROM orders", "change, quantity"),
        ("SELECT count(*) FROM elsewhere", "orders, customers"),
        ("SELECT sum(city) FROM orders", "a number"),
    ],
)
def test_a_refusal_says_what_to_write(sql: str, hint: str) -> None:
    assert hint in refused(sql).hint


IDENTIFYING = (
    "SELECT customer_id, count(*) FROM orders GROUP BY 1",
    "SELECT order_id, count(*) FROM orders GROUP BY ALL",
    "SELECT upper(customer_id), count(*) FROM orders GROUP BY ALL",
    "SELECT count(*) FROM orders WHERE customer_id = 'c1'",
    "SELECT count(*) FROM orders WHERE customer_id IS NULL",
    "SELECT count(*) FILTER (WHERE length(order_id) > 5) FROM orders",
    "SELECT sum(length(customer_id)) FROM orders",
    "SELECT count(courier_id) FROM orders",
    "SELECT approx_top_k(courier_id, 5) FROM orders",
    "SELECT count(*) FROM orders HAVING customer_id = 'c1'",
    "SELECT count(*) FROM orders ORDER BY customer_id",
    "SELECT customer_id || '', count(*) FROM orders GROUP BY ALL",
    "SELECT c, count(*) FROM (SELECT customer_id AS c FROM orders) GROUP BY c",
    "SELECT c.customer_id, count(*) FROM orders o JOIN customers c USING (customer_id) GROUP BY 1",
    "SELECT count(*) FROM orders o JOIN customers c USING (customer_id) WHERE customer_id = 'c1'",
    "SELECT count(*) FROM orders o JOIN customers c ON o.customer_id = c.customer_id AND c.customer_id <> 'c1'",
)


@pytest.mark.parametrize("sql", IDENTIFYING)
def test_no_identifier_is_read_but_to_join(sql: str) -> None:
    assert refused(sql).code == "IDENTIFIER_USED"


def test_a_refusal_repeats_a_name_shortened_and_on_one_line() -> None:
    name = "x\n" * 500
    refusal = refused(f'SELECT sum("{name}") FROM orders')
    assert "\n" not in refusal.message
    assert len(refusal.message) < 200
