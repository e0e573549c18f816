"""Whole questions, with bounds that never bind and no noise, are answered as plain DuckDB answers the analyst's text.

The way is the engine's own from the parse tree to the figures; only the noise between is left out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

import duckdb
import numpy as np
import pytest
from support.reading_kit import CUSTOMERS, JANUARY, LABELS, MAKERS, ORDERS, PRODUCTS, RETURNS, asked

from kaianalytics.privacy.bounding.assembling import assemble
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.expressions.writing import PHYSICAL
from kaianalytics.privacy.measuring.evaluating import Evaluation
from kaianalytics.privacy.measuring.propagation import Estimates
from kaianalytics.privacy.plan import Exact, Plan
from kaianalytics.privacy.query import KeyColumn, KeyOf, Of, QuantileOf, StatisticsQuery, TopOf
from kaianalytics.privacy.unit import StatisticsView

Row = tuple[Any, ...]
MIDNIGHT = time()


@dataclass(frozen=True)
class WithoutNoise:
    """The exact figures of a plan, as the evaluation of answers wants its noisy ones."""

    plan: Plan
    exact: Exact

    @property
    def count(self) -> int:
        return len(self.exact.cells)

    def measure(self, of: Of) -> Estimates:
        place = next(i for i, vector in enumerate(self.plan.vectors) if vector.measure == of.measure)
        vector, numbers = self.plan.vectors[place], self.exact.vectors[place]
        values = [float(numbers[cell * vector.width + of.item] * vector.step) for cell in range(self.count)]
        return Estimates(np.array(values))

    def key(self, of: KeyOf) -> list[Any]:
        return [cell[of.key] for cell in self.exact.cells]

    def quantile(self, of: QuantileOf) -> Estimates:
        raise NotImplementedError

    def top(self, of: TopOf) -> list[Any]:
        raise NotImplementedError


def orders() -> Iterator[dict[str, Any]]:
    """Orders of 60 customers, at most a few of one, and values within all bounds."""
    chance = random.Random(7)

    def missing(value: Any) -> Any:
        return None if chance.random() < 0.2 else value

    for number in range(300):
        yield {
            "customer_id": f"c{chance.randrange(60)}",
            "order_id": f"o{number}",
            "courier_id": "k",
            "product": chance.choice(["p1", "p2", "p3"]),
            "channel": missing(chance.choice(["web", "store"])),
            "wide": "w1",
            "wider": "w2",
            "city": missing(chance.choice(["Kyoto", "Nara"])),
            "amount": chance.randrange(100_000) / 100,
            "change": missing(chance.randrange(-5, 6)),
            "quantity": chance.randrange(51),
            "raw": missing(chance.randrange(400) / 8),
            "seconds": missing(chance.randrange(100)),
            "gift": chance.random() < 0.4,
            "day": chance.choice(JANUARY),
            "sent": missing(chance.choice(JANUARY) + timedelta(days=chance.randrange(300))),
            "ordered_at": missing(datetime(2026, 1, 5, chance.randrange(24), 1)),
            "A b": "z",
        }


@pytest.fixture(scope="module")
def shop() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    fill(connection, ORDERS, list(orders()))
    regions = [{"customer_id": f"c{n}", "age": n or None, "region": ["north", "south"][n % 2]} for n in range(50)]
    fill(connection, CUSTOMERS, regions)
    refunds = [{"customer_id": f"c{n % 60}", "order_id": f"o{n}", "reason": "late", "refund": n} for n in range(20)]
    fill(connection, RETURNS, refunds)
    products = [("p1", "toys", 2.5, "m1"), ("p2", "books", 0.5, None)]
    fill(connection, PRODUCTS, [dict(zip(PRODUCTS.columns, row, strict=True)) for row in products])
    fill(connection, MAKERS, [{"maker": "m1", "country": "JP"}])
    fill(connection, LABELS.view, [dict(zip(LABELS.view.columns, row, strict=True)) for row in LABELS.rows or ()])
    return connection


def fill(connection: duckdb.DuckDBPyConnection, view: StatisticsView, rows: list[dict[str, Any]]) -> None:
    columns = ", ".join(f'"{column.name}" {PHYSICAL[column.type]}' for column in view.columns.values())
    connection.execute(f"CREATE TABLE {view.name} ({columns})")
    for row in rows:
        places = ", ".join("?" * len(view.columns))
        connection.execute(f"INSERT INTO {view.name} VALUES ({places})", [row.get(name) for name in view.columns])


def engines_answer(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[Row, Row]:
    """The figures of each group by its keys, without noise."""
    query = asked(sql)
    plan = compile_query(query)
    exact = assemble(plan, [connection.execute(statement.sql).fetchall() for statement in plan.statements])
    evaluation = Evaluation(WithoutNoise(plan, exact))
    columns = []
    for item in query.select:
        column = evaluation.column(KeyOf(item.key) if isinstance(item, KeyColumn) else item.value)
        columns.append(list(column.values) if isinstance(column, Estimates) else column)
    return by_keys(query, list(zip(*columns, strict=True)))


def by_keys(query: StatisticsQuery, rows: list[Row]) -> dict[Row, Row]:
    keyed = [isinstance(item, KeyColumn) for item in query.select]
    return {
        tuple(_day(value) for value, key in zip(row, keyed, strict=True) if key): tuple(
            value for value, key in zip(row, keyed, strict=True) if not key
        )
        for row in rows
    }


def _day(value: Any) -> Any:
    # To the engine the month of a date is a date; to DuckDB it is the midnight of one.
    return value.date() if isinstance(value, datetime) and value.time() == MIDNIGHT else value


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT channel, count(*), count(city), sum(amount), avg(quantity), avg(change), count(DISTINCT customer_id) "
        "FROM orders GROUP BY channel",
        "SELECT gift, stddev(amount), stddev_pop(quantity), variance(amount), var_pop(change) FROM orders GROUP BY 1",
        "SELECT date_trunc('month', day) AS m, gift, sum(amount * quantity), count(*) FILTER (WHERE city = 'Nara'), "
        "sum(amount) FILTER (WHERE city IS NULL) FROM orders WHERE raw > 10 OR raw IS NULL GROUP BY ALL",
        "SELECT category, sum(amount * weight), avg(weight) FROM orders JOIN products USING (product) GROUP BY ALL",
        "SELECT country, count(*), sum(p.weight), count(p.weight) FROM orders LEFT JOIN "
        "(SELECT product, maker, weight FROM products WHERE weight > 1) AS p USING (product) "
        "LEFT JOIN makers ON makers.maker = p.maker GROUP BY country",
        "SELECT label, count(*), sum(labels.weight) FROM orders JOIN labels ON orders.channel = labels.channel "
        "GROUP BY label",
        "SELECT region, count(*), sum(amount), avg(age) FROM customers c JOIN orders o USING (customer_id) GROUP BY 1",
        "SELECT reason, count(*), sum(refund), sum(o.amount) FROM orders o JOIN returns r ON r.order_id = o.order_id "
        "AND r.customer_id = o.customer_id GROUP BY reason",
        "SELECT reason, count(*), count(o.amount), sum(o.amount) FROM returns r LEFT JOIN (SELECT * FROM customers "
        "WHERE age > 20) c ON c.customer_id = r.customer_id LEFT JOIN orders o ON o.customer_id = c.customer_id "
        "GROUP BY reason",
        "SELECT region, category, country, count(*), sum(amount) FROM orders o, customers c, (SELECT p.*, country "
        "FROM products p, makers m WHERE m.maker = p.maker AND weight > 1) p WHERE age > 5 AND "
        "o.product = p.product AND c.customer_id = o.customer_id AND amount > 10 GROUP BY ALL",
        "SELECT region, category, count(*), sum(amount) FROM products p CROSS JOIN orders o JOIN customers c "
        "USING (customer_id) WHERE o.product = p.product AND age > 5 GROUP BY ALL",
        "SELECT channel, count(*), sum(amount), count(DISTINCT customer_id) FROM orders WHERE quantity > 5 AND "
        "customer_id IN (SELECT customer_id FROM returns WHERE refund > 3) GROUP BY channel",
        "SELECT channel, count(*), sum(amount) FROM orders WHERE customer_id NOT IN (SELECT customer_id FROM returns) "
        "AND product IN (SELECT product FROM products WHERE category = 'toys') GROUP BY channel",
        "SELECT region, count(*), sum(amount) FROM orders o SEMI JOIN returns r ON r.customer_id = o.customer_id AND "
        "r.refund > 4 JOIN customers c ON c.customer_id = o.customer_id ANTI JOIN labels l ON l.channel = "
        "o.channel AND l.label = 'offline' GROUP BY region",
        "SELECT month(sent) AS m, hour(ordered_at) // 6 AS h, count(*) FROM orders GROUP BY ALL",
        "SELECT quantity // 10 AS q, sum(CASE WHEN gift THEN 1 ELSE 0 END), sum(least(greatest(raw, 0), 20)), "
        "sum(amount) / count(*), round(100.0 * count(*) FILTER (WHERE gift) / count(*), 1) FROM orders GROUP BY q",
        "SELECT city, count(*), sum(amount) FROM orders WHERE day BETWEEN '2026-01-05' "
        "AND DATE '2026-01-05' + INTERVAL 10 DAYS AND city LIKE '%a%' GROUP BY city",
        "WITH o AS (SELECT *, amount * 2 AS twice FROM orders WHERE NOT gift) "
        "SELECT channel, sum(twice), avg(twice + quantity) FROM o WHERE quantity > 5 GROUP BY channel",
        "SELECT CASE WHEN amount > 500 THEN 'big' WHEN gift THEN 'gift' END AS k, count(*), count(raw), "
        "count_if(raw > 5) FROM orders GROUP BY 1",
        "SELECT CASE WHEN gift THEN day WHEN quantity > 25 THEN CAST(day AS TIMESTAMP) END AS k, count(*), sum(amount) "
        "FROM orders GROUP BY k",
        "SELECT channel AS c, upper(c) AS d, count(*) AS n, sum(amount) AS s, s / N AS mean, round(mean * 2, 1) "
        "FROM orders GROUP BY ALL HAVING n > 3",
        "SELECT channel AS city, city AS c, count(*) AS n, n + 1 FROM orders GROUP BY ALL",
        "SELECT upper(channel) AS k, sum(change), sum(-change), sum(abs(change)) FROM orders GROUP BY k",
        "SELECT dayofweek(day) AS k, sum(date_diff('day', day, day + INTERVAL 1 MONTH) % 2) FROM orders GROUP BY k",
        "SELECT count(*) AS n, coalesce(sum(amount) FILTER (WHERE amount > 5000), 0) FROM orders",
    ],
)
def test_a_question_without_noise_is_what_the_analyst_asked(shop: duckdb.DuckDBPyConnection, sql: str) -> None:
    ours = engines_answer(shop, sql)
    theirs = by_keys(asked(sql), shop.execute(sql).fetchall())
    assert theirs.keys() <= ours.keys()
    for keys, figures in theirs.items():
        for mine, plain in zip(ours[keys], figures, strict=True):
            # A sum over nothing, which DuckDB calls NULL, is nothing here.
            assert math.isclose(mine, float(plain or 0), rel_tol=1e-4, abs_tol=1e-3), (keys, mine, plain)
    for keys in ours.keys() - theirs.keys():  # declared, and of no row: its counts and sums are zero
        assert all(figure is None or figure == 0 or math.isnan(figure) for figure in ours[keys][:1])


def test_a_histogram_counts_what_lies_between_its_edges(shop: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT gift, histogram(quantity, [0, 10, 25.5, 50]) AS h FROM orders GROUP BY gift"
    plain = shop.execute(
        "SELECT gift, count_if(quantity < 10), count_if(quantity >= 10 AND quantity < 25.5), "
        "count_if(quantity >= 25.5 AND quantity <= 50) FROM orders GROUP BY gift"
    ).fetchall()
    assert engines_answer(shop, sql) == by_keys(asked(sql), plain)
