"""Whole questions, with bounds that never bind and no noise, are answered as plain DuckDB answers the analyst's text.

The way is the engine's own from the parse tree to the figures; only the noise between is left out.
"""

from __future__ import annotations

import math

import duckdb
import pytest
from support.plain_answers import by_keys, engines_answer, plain_shop
from support.reading_kit import asked


@pytest.fixture(scope="module")
def shop() -> duckdb.DuckDBPyConnection:
    return plain_shop()


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
