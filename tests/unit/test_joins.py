"""FROM and WITH: joins along declared relationships, subqueries put in their place, and every other join by name."""

from __future__ import annotations

import pytest
from support.reading_kit import asked, refused, shown

from kaianalytics.privacy.query import Join, StatisticsQuery
from kaianalytics.privacy.reading.sources import MAX_NESTING, MAX_RELATIONS


def source(from_clause: str) -> StatisticsQuery:
    return asked(f"SELECT count(*) FROM {from_clause}")


def relations(query: StatisticsQuery) -> list[str]:
    return [relation.view.name for relation in query.source.relations]


def said(join: Join) -> str:
    pairs = " ".join(f"{shown(one)}={shown(two)}" for one, two in join.on)
    condition = "" if join.where is None else f" if {shown(join.where)}"
    return f"{join.kind} {pairs}{condition}{'' if join.unique else ' (many)'}"


@pytest.mark.parametrize(
    ("from_clause", "names", "joins"),
    [
        ("orders", ["orders"], []),
        ("orders o JOIN products p ON o.product = p.product", ["orders", "products"], ["inner product=1.product"]),
        ("orders o JOIN products USING (product)", ["orders", "products"], ["inner product=1.product"]),
        ("products p JOIN orders o ON o.product = p.product", ["orders", "products"], ["inner product=1.product"]),
        (
            "orders JOIN products USING (product) LEFT JOIN makers ON makers.maker = products.maker",
            ["orders", "products", "makers"],
            ["inner product=1.product", "left 1.maker=2.maker"],
        ),
        (
            "orders JOIN (products p JOIN makers m ON p.maker = m.maker) ON orders.product = p.product",
            ["orders", "products", "makers"],
            ["inner product=1.product", "inner 1.maker=2.maker"],
        ),
        # a unit's rows are on the side of the many, whatever stands first
        (
            "customers c JOIN orders o USING (customer_id)",
            ["orders", "customers"],
            ["inner customer_id=1.customer_id"],
        ),
        (
            "customers c LEFT JOIN orders o USING (customer_id)",
            ["customers", "orders"],
            ["left customer_id=1.customer_id (many)"],
        ),
        (
            "orders o JOIN returns r ON o.order_id = r.order_id",
            ["returns", "orders"],
            ["inner order_id=1.order_id"],
        ),
        (
            "orders o LEFT JOIN returns r ON r.order_id = o.order_id AND r.refund > 5 AND o.gift",
            ["orders", "returns"],
            ["left order_id=1.order_id if (and (> 1.refund 5) gift) (many)"],
        ),
        # the analyst's own tables
        ("orders JOIN labels ON orders.channel = labels.channel", ["orders", "labels"], ["inner channel=1.channel"]),
        ("orders JOIN labels ON orders.city = label", ["orders", "labels"], ["inner city=1.label (many)"]),
        # public tables may stand in a question more than once
        (
            "orders JOIN products a USING (product) JOIN products b ON b.product = orders.product",
            ["orders", "products", "products"],
            ["inner product=1.product", "inner product=2.product"],
        ),
    ],
)
def test_joins_along_declared_relationships(from_clause: str, names: list[str], joins: list[str]) -> None:
    query = source(from_clause)
    assert relations(query) == names
    assert list(map(said, query.source.joins)) == joins
    assert query.source.multiplies is any("many" in join for join in joins)
    assert query.source.view.name == names[0]


def test_an_undeclared_equality_beside_a_declared_one_is_a_filter() -> None:
    query = source("orders o JOIN customers c ON o.customer_id = c.customer_id AND o.channel = c.channel AND age > 18")
    assert shown(query.where) == "(and (= channel 1.channel) (> 1.age 18))"
    assert said(query.source.joins[0]) == "inner customer_id=1.customer_id"


def test_two_views_about_units_are_joined_on_the_unit() -> None:
    query = source("orders o JOIN returns r USING (customer_id)")
    assert query.source.multiplies
    assert said(query.source.joins[0]) == "inner customer_id=1.customer_id (many)"


def test_a_view_is_public_or_about_a_population() -> None:
    assert refused("SELECT count(*) FROM products").code == "VIEW_PUBLIC"
    assert refused("SELECT count(*) FROM labels").code == "VIEW_PUBLIC"
    both = "orders JOIN products p USING (product) JOIN staff ON staff.product = p.product"
    assert refused(f"SELECT count(*) FROM {both}").code == "POPULATIONS_DIFFER"


@pytest.mark.parametrize(
    ("code", "from_clause"),
    [
        ("SELF_JOIN", "orders a JOIN orders b ON a.customer_id = b.customer_id"),
        ("SELF_JOIN", "orders a JOIN (SELECT customer_id FROM orders) b ON a.customer_id = b.customer_id"),
        ("JOIN_CROSS", "orders, products"),
        ("JOIN_CROSS", "orders CROSS JOIN products"),
        ("JOIN_CROSS", "orders, products WHERE orders.product = products.product OR gift"),
        ("JOIN_CROSS", "orders, products WHERE orders.channel = products.category"),
        ("JOIN_CROSS", "orders, products, makers WHERE orders.product = products.product"),
        ("JOIN_CROSS", "orders, customers WHERE orders.order_id = customers.customer_id"),
        ("LEFT_JOIN_NESTED", "orders o LEFT JOIN (products p CROSS JOIN makers) ON o.product = p.product"),
        ("JOIN_RIGHT", "orders RIGHT JOIN products USING (product)"),
        ("JOIN_FULL", "orders FULL JOIN products USING (product)"),
        ("JOIN_NOT_EQUI", "orders SEMI JOIN products ON orders.product < products.product"),
        ("JOIN_UNDECLARED", "orders ANTI JOIN customers ON orders.channel = customers.channel"),
        ("LEFT_JOIN_NESTED", "orders o SEMI JOIN (products p JOIN makers USING (maker)) ON o.product = p.product"),
        ("LEFT_JOIN_TO_UNITS", "products SEMI JOIN orders ON orders.product = products.product"),
        ("LEFT_JOIN_TO_UNITS", "products WHERE product IN (SELECT product FROM orders)"),
        ("SELF_JOIN", "orders SEMI JOIN orders b ON orders.customer_id = b.customer_id"),
        ("SELF_JOIN", "orders WHERE customer_id IN (SELECT customer_id FROM orders)"),
        ("COLUMN_UNKNOWN", "orders SEMI JOIN returns r USING (customer_id) WHERE r.refund > 1"),
        ("COLUMN_UNKNOWN", "orders WHERE order_id IN (SELECT order_id FROM returns WHERE refund > amount)"),
        ("IN_UNDECLARED", "orders WHERE channel IN (SELECT channel FROM customers)"),
        ("IN_UNDECLARED", "orders WHERE customer_id IN (SELECT order_id FROM returns)"),
        ("IN_UNDECLARED", "orders WHERE order_id IN (SELECT order_id, customer_id FROM returns)"),
        ("NOT_IN_NULL", "orders JOIN products p USING (product) WHERE p.maker NOT IN (SELECT maker FROM makers)"),
        ("NOT_IN_NULL", "orders WHERE channel NOT IN (SELECT channel FROM labels)"),
        ("SUBQUERY_SHAPE", "orders WHERE order_id IN (SELECT order_id FROM returns LIMIT 5)"),
        ("SUBQUERY_EXPRESSION", "orders WHERE gift OR order_id IN (SELECT order_id FROM returns)"),
        ("SUBQUERY_EXPRESSION", "orders WHERE (order_id IN (SELECT order_id FROM returns)) = gift"),
        ("SUBQUERY_EXPRESSION", "orders WHERE EXISTS (SELECT 1 FROM returns)"),
        ("SUBQUERY_EXPRESSION", "orders WHERE order_id = ANY (SELECT order_id FROM returns) IS NULL"),
        ("JOIN_NATURAL", "orders NATURAL JOIN products"),
        ("JOIN_ASOF", "orders ASOF JOIN products ON orders.product >= products.product"),
        ("JOIN_NOT_EQUI", "orders JOIN products ON orders.product < products.product"),
        ("JOIN_NOT_EQUI", "orders JOIN products ON true"),
        ("JOIN_NOT_EQUI", "orders JOIN products ON orders.product = products.product OR gift"),
        ("JOIN_UNDECLARED", "orders JOIN products ON orders.channel = products.category"),
        ("JOIN_UNDECLARED", "orders JOIN products ON orders.product = products.product AND order_id = category"),
        ("JOIN_UNDECLARED", "orders JOIN customers ON orders.channel = customers.channel"),
        ("JOIN_UNDECLARED", "orders JOIN customers ON orders.order_id = customers.customer_id"),
        ("JOIN_UNDECLARED", "orders JOIN chosen USING (customer_id)"),
        ("JOIN_UNDECLARED", "orders JOIN labels ON orders.amount = labels.label"),
        (
            "LEFT_JOIN_NESTED",
            "orders o LEFT JOIN (products p JOIN makers USING (maker)) ON o.product = p.product",
        ),
        ("LEFT_JOIN_TO_UNITS", "products LEFT JOIN orders ON orders.product = products.product"),
        ("TABLE_NAME_REPEATED", "orders JOIN products orders ON 1 = 1"),
        ("COLUMN_AMBIGUOUS", "orders JOIN products ON product = product"),
        ("VIEW_UNKNOWN", "elsewhere"),
        ("VIEW_MISSING", "(SELECT 1)"),
        ("TABLE_FUNCTION_UNSUPPORTED", "range(5)"),
        ("VALUES_UNSUPPORTED", "(VALUES (1)) AS v(x)"),
        ("SAMPLE_UNSUPPORTED", "orders TABLESAMPLE 10%"),
    ],
)
def test_other_joins_are_refused_by_name(code: str, from_clause: str) -> None:
    assert refused(f"SELECT count(*) FROM {from_clause}").code == code


def test_a_refused_join_names_what_is_declared() -> None:
    hint = refused("SELECT count(*) FROM orders JOIN products ON channel = category").hint
    assert hint == "declared between these: orders.product = products.product"


def test_an_inner_join_after_a_left_join_may_go_on_from_its_side() -> None:
    query = source("orders LEFT JOIN products USING (product) JOIN makers ON makers.maker = products.maker")
    assert list(map(said, query.source.joins)) == ["left product=1.product", "inner 1.maker=2.maker"]


def test_a_membership_joins_and_multiplies_nothing() -> None:
    semi = source("orders o SEMI JOIN returns r ON r.order_id = o.order_id AND r.refund > 5")
    assert list(map(said, semi.source.joins)) == ["semi order_id=1.order_id if (> 1.refund 5)"]
    assert not semi.source.multiplies
    where = "order_id IN (SELECT order_id FROM returns WHERE refund > 5)"
    assert source(f"orders WHERE gift AND {where}").source == semi.source
    anti = source("orders o ANTI JOIN returns r ON r.order_id = o.order_id AND r.refund > 5")
    assert source(f"orders WHERE {where.replace('IN', 'NOT IN', 1)}").source == anti.source
    chain = "customer_id IN (SELECT customer_id FROM customers WHERE region = 'north') AND channel = 'web'"
    both = source(f"orders WHERE {chain} AND product IN (SELECT product FROM products)")
    assert [join.kind for join in both.source.joins] == ["semi", "semi"]
    assert shown(both.where) == "(= channel 'web')"


def test_what_a_comma_puts_together_is_joined_by_where() -> None:
    query = source("orders o, products p WHERE p.product = o.product AND gift AND amount > 1")
    assert list(map(said, query.source.joins)) == ["inner product=1.product"]
    assert shown(query.where) == "(and gift (> amount 1))"
    joined = source("orders o JOIN customers c USING (customer_id) JOIN returns r ON r.order_id = o.order_id")
    where = "c.customer_id = o.customer_id AND r.order_id = o.order_id"
    assert source(f"orders o, customers c CROSS JOIN returns r WHERE {where}").source == joined.source


def test_a_join_that_meets_the_optional_side_of_a_nested_join_is_refused() -> None:
    nested = "orders o JOIN (products p LEFT JOIN makers m USING (maker)) ON o.product = p.product"
    assert list(map(said, source(nested).source.joins)) == ["inner product=1.product", "left 1.maker=2.maker"]
    staff = "staff s JOIN (labels l LEFT JOIN products p ON p.product = l.label) ON s.product = p.product"
    assert refused(f"SELECT count(*) FROM {staff}").code == "JOIN_UNCONNECTED"


# --- subqueries and WITH


@pytest.mark.parametrize(
    ("sql", "condition"),
    [
        ("SELECT count(*) FROM (SELECT * FROM orders WHERE gift) s WHERE s.amount > 5", "(and gift (> amount 5))"),
        ("SELECT count(*) FROM (SELECT amount * 2 AS a FROM orders) WHERE a > 5", "(> (* amount 2) 5)"),
        ("SELECT count(*) FROM (SELECT amount * 2 FROM orders) AS s(a) WHERE s.a > 5", "(> (* amount 2) 5)"),
        ("WITH s AS (SELECT city, amount FROM orders) SELECT count(*) FROM s WHERE city = 'Y'", "(= city 'Y')"),
        ("WITH s(x) AS (SELECT city FROM orders) SELECT count(*) FROM s AS t(y) WHERE t.y = 'Y'", "(= city 'Y')"),
        (
            "WITH s AS (SELECT * FROM orders WHERE gift), t AS (SELECT * FROM s WHERE amount > 5) "
            "SELECT count(*) FROM t WHERE city = 'Y'",
            "(and gift (> amount 5) (= city 'Y'))",
        ),
        (
            "SELECT count(*) FROM (SELECT o.*, category FROM orders o JOIN products USING (product)) "
            "WHERE category = 'toys'",
            "(= 1.category 'toys')",
        ),
        (
            "WITH big AS (SELECT product AS p FROM products WHERE weight > 5) "
            "SELECT count(*) FROM orders JOIN big ON orders.product = big.p",
            "(> 1.weight 5)",
        ),
    ],
)
def test_a_subquery_is_put_in_its_place(sql: str, condition: str) -> None:
    assert shown(asked(sql).where) == condition


def test_the_filter_of_a_subquery_under_a_left_join_belongs_to_the_join() -> None:
    query = source(
        "orders LEFT JOIN (SELECT product, weight * 2 AS w FROM products WHERE weight > 5) s USING (product)"
    )
    assert query.where is None
    assert said(query.source.joins[0]) == "left product=1.product if (> 1.weight 5)"
    optional = asked(
        "SELECT category, count(*) FROM orders LEFT JOIN products USING (product) WHERE weight > 1 GROUP BY category"
    )
    assert optional.keys[0].domain == ("toys", "books", None)  # where nothing is joined, all of the right is missing
    never_missing = "(SELECT product, coalesce(maker, 'x') AS m FROM products)"
    refusal = refused(f"SELECT count(*) FROM orders LEFT JOIN {never_missing} s USING (product)")
    assert refusal.code == "LEFT_JOIN_EXPRESSION"


@pytest.mark.parametrize(
    ("code", "sql"),
    [
        ("SUBQUERY_SHAPE", "SELECT count(*) FROM (SELECT city FROM orders GROUP BY city)"),
        ("SUBQUERY_SHAPE", "SELECT count(*) FROM (SELECT city FROM orders GROUP BY ALL)"),
        ("SUBQUERY_SHAPE", "SELECT count(*) FROM (SELECT count(*) FROM orders)"),
        ("SUBQUERY_SHAPE", "SELECT count(*) FROM (SELECT DISTINCT city FROM orders)"),
        ("SUBQUERY_SHAPE", "SELECT count(*) FROM (SELECT city FROM orders LIMIT 5)"),
        ("SUBQUERY_SHAPE", "SELECT count(*) FROM (SELECT city FROM orders ORDER BY 1)"),
        ("SUBQUERY_SHAPE", "SELECT count(*) FROM (SELECT city FROM orders HAVING count(*) > 1)"),
        ("SET_OPERATION_UNSUPPORTED", "SELECT count(*) FROM (SELECT city FROM orders UNION SELECT city FROM orders)"),
        ("QUALIFY_UNSUPPORTED", "SELECT count(*) FROM (SELECT city FROM orders QUALIFY row_number() OVER () = 1)"),
        ("WINDOW_UNSUPPORTED", "SELECT count(*) FROM (SELECT row_number() OVER () FROM orders)"),
        ("SUBQUERY_EXPRESSION", "SELECT count(*) FROM orders WHERE amount > (SELECT 5)"),
        ("SUBQUERY_EXPRESSION", "SELECT count(*) FROM orders WHERE EXISTS (SELECT 1 FROM products)"),
        ("CTE_UNUSED", "WITH s AS (SELECT * FROM orders) SELECT count(*) FROM customers"),
        ("NOT_ONE_SELECT", "WITH RECURSIVE s AS (SELECT 1 UNION ALL SELECT 1 FROM s) SELECT count(*) FROM s"),
        ("STAR_UNSUPPORTED", "SELECT count(*) FROM (SELECT * EXCLUDE (city) FROM orders)"),
        ("STAR_UNSUPPORTED", "SELECT count(*) FROM (SELECT COLUMNS('c.*') FROM orders)"),
        ("COLUMN_UNKNOWN", "SELECT count(*) FROM (SELECT city FROM orders) WHERE amount > 5"),
        ("IDENTIFIER_USED", "SELECT count(*) FROM (SELECT order_id AS o FROM orders) WHERE o = 'x'"),
        ("IDENTIFIER_USED", "SELECT count(*) FROM (SELECT upper(order_id) AS o FROM orders)"),
        ("SYNTAX_UNSUPPORTED", "SELECT count(*) FROM orders AS o(a, a)"),
    ],
)
def test_what_a_subquery_may_not_have(code: str, sql: str) -> None:
    assert refused(sql).code == code


def test_depth_and_number_of_relations_are_limited() -> None:
    def nested(levels: int) -> str:
        return "SELECT * FROM (" * levels + "SELECT * FROM orders" + ")" * levels

    assert asked(f"SELECT count(*) FROM ({nested(MAX_NESTING - 2)})").measures
    assert refused(f"SELECT count(*) FROM ({nested(MAX_NESTING + 1)})").code == "SUBQUERY_TOO_DEEP"

    def joined(number: int) -> str:
        return "orders" + "".join(f" JOIN products p{n} ON p{n}.product = orders.product" for n in range(number))

    assert len(source(joined(MAX_RELATIONS - 1)).source.relations) == MAX_RELATIONS
    assert refused(f"SELECT count(*) FROM {joined(MAX_RELATIONS)}").code == "TOO_MANY_RELATIONS"
    widening = "WITH a0 AS (SELECT p.product FROM products p)"
    for n in range(1, 9):
        last = f"a{n - 1}"
        widening += f", a{n} AS (SELECT x.product FROM {last} x JOIN {last} y ON x.product = y.product)"
    assert refused(f"{widening} SELECT count(*) FROM orders JOIN a8 USING (product)").code == "JOIN_UNDECLARED"
