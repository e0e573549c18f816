"""From DuckDB's parse tree to a question: keys, measures, and what is made of them; all else fails closed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest
from support.reading_kit import ORDERS, VIEWS, asked, parsed, refused, said, shown

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.query import Figure, KeyColumn, Measure, StatisticsQuery
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import ValueBounds


def columns(query: StatisticsQuery) -> list[str]:
    """The columns of the answer: their names, what they are, and for figures their role."""
    return [
        f"{item.name}: k{item.key}" if isinstance(item, KeyColumn) else f"{item.name}: {said(item.value)} {item.role}"
        for item in query.select
    ]


def measured(query: StatisticsQuery) -> list[str]:
    return [_measure(measure) for measure in query.measures]


def _measure(measure: Measure) -> str:
    parts = [measure.kind, shown(measure.expression)]
    if measure.bounds is not None:
        parts.append(f"[{measure.bounds.lower}, {measure.bounds.upper}]")
    parts += [f"less {measure.centre}"] if measure.centre else []
    parts += [f"if {shown(measure.where)}"] if measure.where is not None else []
    parts += [f"with {measure.weighed_by}"] if measure.weighed_by is not None else []
    parts += [f"{measure.size} of {measure.domain}"] if measure.domain else []
    parts += [f"edges {' '.join(map(str, measure.edges))}"] if measure.edges else []
    return " ".join(part for part in parts if part)


def figure(sql: str) -> Figure:
    """The one figure of a question."""
    (found,) = asked(sql).figures
    return found


# --- the shape of a question


def test_the_order_and_the_names_of_the_select_are_kept() -> None:
    query = asked(
        "SELECT count(*), channel AS c, sum(quantity) AS q, day, sum(amount) FROM orders GROUP BY channel, day"
    )
    assert columns(query) == ["count_star(): m0 count", "c: k0", "q: m1 sum", "day: k1", "sum(amount): m2 sum"]
    assert [shown(key.expression) for key in query.keys] == ["channel", "day"]
    assert query.source.view is ORDERS
    assert query.where is None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT channel AS s, COUNT(*) AS n FROM orders GROUP BY channel",
        "select channel s, count() n from orders group by s",
        "select CHANNEL as s, Count(*) as n from ORDERS group by ALL",
        "SELECT x.channel AS s, count(*) AS n FROM orders AS x GROUP BY x.channel",
        "SELECT orders.channel AS s, count(*) AS n FROM orders GROUP BY 1",
        "FROM orders SELECT s: channel, n: count(*) GROUP BY (channel);",
        "SELECT channel AS s, count(*) AS n FROM orders GROUP BY channel, channel",
        "SELECT channel AS s, count(1) AS n FROM orders GROUP BY ALL",
        "SELECT channel AS s, count(order_id) AS n FROM orders GROUP BY ALL",
        "SELECT channel AS s, count(amount) AS n FROM orders GROUP BY ALL",
        "WITH o AS (SELECT channel AS s FROM orders) SELECT s, count(*) AS n FROM o GROUP BY s",
    ],
)
def test_one_question_in_its_many_spellings(sql: str) -> None:
    assert asked(sql) == asked("SELECT channel AS s, count(*) AS n FROM orders GROUP BY channel")


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ("count(*)", "count_star()"),
        ("sum(orders.amount)", "sum(orders.amount)"),
        ("avg(amount) FILTER (WHERE gift)", "avg(amount) FILTER (WHERE gift)"),
        ("count(DISTINCT customer_id)", "count(DISTINCT customer_id)"),
        ("sum(amount) / count(*)", "(sum(amount) / count_star())"),
        ("sum(CASE WHEN gift THEN 1 ELSE 0 END)", "sum(CASE WHEN gift THEN 1 ELSE 0 END)"),
        ("quantile_cont(amount, 0.5)", "quantile_cont(amount, 0.5)"),
        ("count(*) FILTER (WHERE city = 'a\nb')", "count_star() FILTER (WHERE (city = 'a�b'))"),
        ("sum(quantity + quantity + quantity + quantity + quantity + quantity)", 59),
    ],
)
def test_a_column_without_an_alias_is_called_by_its_text(item: str, name: str | int) -> None:
    found = figure(f"SELECT {item} FROM orders").name
    assert found == name if isinstance(name, str) else len(found) == name + 1 and found.endswith("…")


# --- keys


@pytest.mark.parametrize(
    ("key", "expression"),
    [
        ("channel", "channel"),
        ("date_trunc('month', day)", "(date_trunc 'month' day)"),
        ("width_bucket(amount, 0, 100, 10)", "(width_bucket amount 0 100 10)"),
        ("CASE WHEN amount > 10 THEN 'big' ELSE 'small' END", "(case (> amount 10) 'big' 'small')"),
        ("gift", "gift"),
        ("amount > 10", "(> amount 10)"),
        ("month(ordered_at)", "(date_part 'month' ordered_at)"),
        ("quantity // 10", "(// quantity 10)"),
        ("upper(city)", "(upper city)"),
        ("ordered_at::DATE", "(to_date ordered_at)"),
        ("CAST(floor(raw) AS INTEGER)", "(to_integer (floor raw))"),
    ],
)
def test_rows_are_grouped_by_expressions(key: str, expression: str) -> None:
    for grouping in ("1", "k", "ALL", key):
        query = asked(f"SELECT {key} AS k, count(*) FROM orders GROUP BY {grouping}")
        assert [shown(key.expression) for key in query.keys] == [expression]
        assert query.select[0] == KeyColumn("k", 0)


def test_group_by_prefers_a_column_to_an_alias() -> None:
    refusal = refused("SELECT day AS channel, count(*) FROM orders GROUP BY channel")
    assert (refusal.code, refusal.message) == ("COLUMN_UNGROUPED", '"channel" is selected but not grouped by.')


def test_where_and_group_by_know_the_aliases_of_rows_after_the_columns() -> None:
    sql = "SELECT amount * 2 AS twice, amount > 5 AS big, count(*) AS n FROM orders WHERE twice > 10 GROUP BY ALL"
    query = asked(sql.replace("amount * 2 AS twice", "quantity * 2 AS twice"))
    assert shown(query.where) == "(> (* quantity 2) 10)"
    assert shown(asked("SELECT city AS day, count(*) FROM orders WHERE day > '2026-01-01' GROUP BY city").where) == (
        "(> day 2026-01-01)"
    )
    for clause in ("WHERE n > 5", "GROUP BY n"):
        assert refused(f"SELECT count(*) AS n FROM orders {clause}").code == "AGGREGATE_MISPLACED"


# --- aggregates


@pytest.mark.parametrize(
    ("item", "measures", "value", "role"),
    [
        ("count(*)", ["rows"], "m0", "count"),
        ("count(city)", ["rows if (present city)"], "m0", "count"),
        ("count(raw / 2)", ["rows if (present (/ raw 2))"], "m0", "count"),
        ("count(amount / 2)", ["rows if (present (/ amount 2))"], "m0", "count"),
        ("count(amount * 2)", ["rows"], "m0", "count"),
        ("count(*) FILTER (WHERE gift)", ["rows if gift"], "m0", "count"),
        ("count(city) FILTER (WHERE gift)", ["rows if (and gift (present city))"], "m0", "count"),
        ("count_if(amount > 5)", ["rows if (> amount 5)"], "m0", "count"),
        ("count(DISTINCT customer_id)", ["units"], "m0", "count"),
        ("count(DISTINCT customer_id) FILTER (WHERE gift)", ["units if gift"], "m0", "count"),
        ("sum(amount)", ["sum amount [0, 1000]"], "m0", "sum"),
        ("sum(quantity * 2 - 1)", ["sum (- (* quantity 2) 1) [-1, 99]"], "m0", "sum"),
        ("sum(least(greatest(raw, 0), 100))", ["sum (least (greatest raw 0) 100) [0, 100]"], "m0", "sum"),
        ("sum(gift)", ["sum gift [0, 1]"], "m0", "sum"),
        ("sum(1)", ["sum 1 [0, 1]"], "m0", "sum"),
        (
            "avg(quantity)",
            ["rows", "sum quantity [0, 50] less 25 with 0"],
            "(+ 25 (/ m1 m0))",
            "mean",
        ),
        (
            "avg(change) FILTER (WHERE gift)",
            ["rows if (and gift (present change))", "sum change [-5, 5] if gift with 0"],
            "(+ 0 (/ m1 m0))",
            "mean",
        ),
        (
            "var_pop(quantity)",
            [
                "rows",
                "sum quantity [0, 50] less 25 with 0",
                "sum (* (- quantity 25) (- quantity 25)) [0, 625] less 312.5 with 0",
            ],
            "(- (+ 312.5 (/ m2 m0)) (* (/ m1 m0) (/ m1 m0)))",
            "variance",
        ),
        ("median(amount)", ["tree amount [0, 1000]"], "q0@0.5", "quantile"),
        ("quantile_cont(amount, 0.9)", ["tree amount [0, 1000]"], "q0@0.9", "quantile"),
        ("quantile(quantity, 0.25)", ["tree quantity [0, 50]"], "q0@0.25", "quantile"),
        (
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY amount)",
            ["tree amount [0, 1000]"],
            "q0@0.5",
            "quantile",
        ),
        ("approx_top_k(channel, 1)", ["top channel 1 of ('web', 'store')"], "t0#0", "top"),
    ],
)
def test_what_an_aggregate_measures(item: str, measures: list[str], value: str, role: str) -> None:
    query = asked(f"SELECT {item} AS x FROM orders")
    assert measured(query) == measures
    assert columns(query) == [f"x: {value} {role}"]


def test_a_variance_is_one_of_a_sample_and_a_deviation_its_root() -> None:
    population = said(figure("SELECT var_pop(quantity) FROM orders").value)
    sample = f"(/ (* {population} m0) (- m0 1))"
    for name in ("variance", "var_samp"):
        assert said(figure(f"SELECT {name}(quantity) FROM orders").value) == sample
    for name in ("stddev", "stddev_samp"):
        assert said(figure(f"SELECT {name}(quantity) FROM orders").value) == f"(sqrt {sample})"
    assert said(figure("SELECT stddev_pop(quantity) FROM orders").value) == f"(sqrt {population})"


def test_what_has_several_figures_is_spread_over_columns() -> None:
    query = asked(
        "SELECT quantile_cont(amount, [0.25, 0.75]) AS q, histogram(quantity, [0, 10, 20.5]) AS h, "
        "approx_top_k(channel, 9) AS t FROM orders"
    )
    assert columns(query) == [
        "q_1: q0@0.25 quantile",
        "q_2: q0@0.75 quantile",
        "h_1: m1 count",
        "h_2: m1[1] count",
        "t_1: t2#0 top",
        "t_2: t2#1 top",
    ]
    assert measured(query)[1:] == ["histogram quantity edges 0 10 20.5", "top channel 2 of ('web', 'store')"]


def test_units_are_counted_of_every_view_that_names_those_of_all_rows() -> None:
    joined = "orders o JOIN customers c USING (customer_id) LEFT JOIN returns r ON r.order_id = o.order_id"
    for unit in ("customer_id", "o.customer_id", "c.customer_id"):
        assert measured(asked(f"SELECT count(DISTINCT {unit}) FROM {joined}")) == ["units"]
        assert measured(asked(f"SELECT count({unit}) FROM {joined}")) == ["rows"]
    assert refused(f"SELECT count(DISTINCT r.customer_id) FROM {joined}").code == "COUNT_DISTINCT"
    assert refused(f"SELECT count(r.customer_id) FROM {joined}").code == "IDENTIFIER_USED"


def test_equal_measures_are_measured_once() -> None:
    query = asked(
        "SELECT count(*), avg(amount), stddev(amount), variance(amount), median(amount), "
        "quantile_cont(amount, [0.1, 0.9]), sum(amount), "
        "sum(amount) FILTER (WHERE gift), count(*) FILTER (WHERE gift), sum(amount) / count(*) AS ratio "
        "FROM orders HAVING count(*) > 10 ORDER BY sum(amount)"
    )
    assert [measure.kind for measure in query.measures] == ["rows", "sum", "sum", "tree", "sum", "sum", "rows"]


def test_what_is_known_of_a_figure() -> None:
    query = asked(
        "SELECT count(*) AS n, sum(quantity) AS q, sum(amount) AS a, sum(change) AS c, avg(amount) AS m, "
        "avg(change) AS d, median(amount) AS h, sum(amount) - sum(quantity) AS s, sum(amount) / count(*) AS r "
        "FROM orders"
    )
    known = {one.name: (one.support, one.whole, one.negative) for one in query.figures}
    assert known == {
        "n": (0, True, False),
        "q": (0, True, False),  # the rows it rests on are counted anyway
        "a": (0, False, False),
        "c": (0, True, True),
        "m": (0, False, False),
        "d": (5, False, True),
        "h": (7, False, False),  # its tree, whose first level counts them
        "s": (None, False, True),
        "r": (0, False, False),
    }


def test_bounds_of_expressions_are_whole_steps() -> None:
    (measure,) = asked("SELECT sum(amount * 3.333) FROM orders").measures
    assert measure.bounds == ValueBounds(Decimal(0), Decimal(3333), Decimal("0.0001"))
    joined = "SELECT sum(labels.weight * quantity) FROM orders JOIN labels USING (channel)"
    (measure,) = asked(joined).measures
    assert measure.bounds == ValueBounds(Decimal(0), Decimal(150), Decimal("0.00001"))


# --- after the noise


@pytest.mark.parametrize(
    ("item", "value", "role"),
    [
        ("sum(amount) / count(*)", "(/ m0 m1)", "ratio"),
        ("100.0 * count(*) FILTER (WHERE gift) / count(*)", "(/ (* 100.0 m0) m1)", "ratio"),
        ("round(avg(quantity), 1)", "(round (+ 25 (/ m1 m0)) 1)", "mean"),
        ("-sum(amount)", "(negate m0)", "sum"),
        ("sum(amount) - sum(quantity)", "(- m0 m1)", "sum"),
        ("count(*) + 1", "(+ m0 1)", "ratio"),
        ("abs(sum(change)) + sqrt(count(*))", "(+ (abs m0) (sqrt m1))", "ratio"),
        ("floor(sum(amount)) + ceiling(sum(amount))", "(+ (floor m0) (ceil m0))", "sum"),
        ("coalesce(sum(amount) / nullif(count(*), 0), 0)", "(coalesce (/ m0 (nullif m1 0)) 0)", "ratio"),
        ("greatest(count(*), 0)", "(greatest m0 0)", "count"),
        ("CASE WHEN count(*) > 10 THEN sum(amount) END", "(case (> m0 10) m1 None)", "sum"),
        ("if(count(*) > 10, 1, 0)", "(case (> m0 10) 1 0)", "ratio"),
        ("CAST(count(*) AS DOUBLE) / 2", "(/ m0 2)", "ratio"),
        ("CASE WHEN channel = 'web' THEN count(*) ELSE 2 * count(*) END", "(case (= k0 'web') m0 (* 2 m0))", "ratio"),
        ("count(*) / (1 + month(day))", "(/ m0 (+ 1 k1))", "ratio"),
    ],
)
def test_arithmetic_of_figures(item: str, value: str, role: str) -> None:
    query = asked(f"SELECT channel, month(day), {item} AS x FROM orders GROUP BY channel, month(day)")
    assert columns(query)[2] == f"x: {value} {role}"


@pytest.mark.parametrize(
    ("having", "condition"),
    [
        ("count(*) > 10", "(> m0 10)"),
        ("n > 10", "(> m0 10)"),
        ("N BETWEEN 1 AND 5", "(and (>= m0 1) (<= m0 5))"),
        ("sum(amount) > 5 * n", "(> m1 (* 5 m0))"),
        ("channel = 'web' OR NOT n < 5", "(or (= k0 'web') (not (< m0 5)))"),
        ("channel IN ('web', 'store')", "(or (= k0 'web') (= k0 'store'))"),
        ("channel IS NOT NULL", "(not (is_null k0))"),
        ("day >= '2026-01-10'", "(>= k1 datetime.date(2026, 1, 10))"),
        ("day < DATE '2026-01-10'", "(< k1 datetime.date(2026, 1, 10))"),
        ("true", "True"),
    ],
)
def test_having_is_a_condition_on_figures_and_keys(having: str, condition: str) -> None:
    query = asked(f"SELECT channel, day, count(*) AS n FROM orders GROUP BY ALL HAVING {having}")
    assert query.having is not None
    assert said(query.having) == condition


@pytest.mark.parametrize(
    ("order", "terms"),
    [
        ("n", ["m0 up"]),
        ("n DESC", ["m0 down"]),
        ("2 DESC NULLS FIRST, channel", ["m0 down first", "k0 up"]),
        ("sum(amount) / n", ["(/ m1 m0) up"]),
        ("ALL", ["k0 up", "m0 up"]),
        ("upper(channel)", []),
    ],
)
def test_rows_are_ordered_after_the_noise(order: str, terms: list[str]) -> None:
    sql = f"SELECT channel, count(*) AS n FROM orders GROUP BY channel ORDER BY {order} LIMIT 5 OFFSET 2"
    if not terms:
        assert refused(sql).code == "AFTER_UNSUPPORTED"
        return
    query = asked(sql)
    assert [_term(one.value, one.descending, one.nulls_first) for one in query.order] == terms
    assert (query.limit, query.offset) == (5, 2)


def _term(value: Any, descending: bool, nulls_first: bool) -> str:
    return f"{said(value)} {'down' if descending else 'up'}{' first' if nulls_first else ''}"


def test_limits_are_whole_numbers() -> None:
    assert asked("SELECT count(*) FROM orders LIMIT 2 + 3").limit == 5
    assert asked("SELECT count(*) FROM orders").limit is None
    for limit in ("-1", "2.5", "10%", "NULL", "9999999999"):
        assert refused(f"SELECT count(*) FROM orders LIMIT {limit}").code == "LIMIT_UNSUPPORTED"


# --- an unanswerable question can't be built


def test_different_questions_differ_in_their_fields_alone() -> None:
    """A free repeat is found by a digest over fields: AND and OR of the same parts must not be one question."""
    conditions = [
        "gift AND quantity = 1",
        "gift OR quantity = 1",
        "gift",
        "NOT gift",
        "gift IS NULL",
        "city = 'a'",
        "city LIKE 'a'",
        "city IN ('a')",
        "city = '1'",
        "seconds = 1",
        "raw = 1",
        "day = '2026-01-01'",
        "ordered_at = '2026-01-01'",
    ]
    fields = [asdict(asked(f"SELECT count(*) FROM orders WHERE {condition}")) for condition in conditions]
    assert all(one != other for one, other in combinations(fields, 2))


# --- fail closed

FULL = (
    "WITH o AS (SELECT s.*, amount + quantity AS total FROM orders AS s WHERE (s.quantity > 1 OR NOT gift)) "
    "SELECT o.channel AS k, count(*) AS n, sum(total) FILTER (WHERE gift), quantile_cont(amount, [0.5]) AS q, "
    "CASE WHEN count(city) > 5 THEN round(avg(amount), 1) ELSE 0 END AS c, count(DISTINCT o.customer_id) "
    "FROM o JOIN products AS p USING (product) LEFT JOIN makers ON makers.maker = p.maker AND country IS NOT NULL "
    "WHERE city LIKE 'n%' AND day = DATE '2026-01-01' AND quantity BETWEEN 1 AND 5 AND amount IN (1, 2) "
    "AND gift IS TRUE AND coalesce(city, 'x') = lower('Y') AND ordered_at > day + INTERVAL 2 DAYS "
    "AND order_id NOT IN (SELECT order_id FROM returns) "
    "GROUP BY 1 HAVING n > 5 OR k IS NULL ORDER BY n DESC NULLS LAST, 1 LIMIT 10 OFFSET 1"
)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(node, dict | list):
        for step, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from places(child, (*path, step))


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def test_an_unknown_field_anywhere_is_refused() -> None:
    tree = parsed(FULL)
    assert lower(tree, VIEWS).measures
    objects = [path for path in places(tree) if isinstance(at(tree, path), dict)]
    assert len(objects) > 150
    for path in objects:
        changed = copy.deepcopy(tree)
        at(changed, path)["novelty"] = None
        with pytest.raises(QueryUnsupported):
            lower(changed, VIEWS)


@pytest.mark.parametrize("other", [None, 0, True, "", "x", [], ["x"], {"x": 1}])
def test_no_changed_tree_does_anything_but_ask_or_refuse(other: Any) -> None:
    tree = parsed(FULL)
    ignored = ("query_location", "query_location_length")
    refusals, asked_about = 0, set()
    for path in places(tree):
        if not path or path[-1] in ignored or at(tree, path) == other:
            continue
        changed = copy.deepcopy(tree)
        at(changed, path[:-1])[path[-1]] = other
        try:
            lower(changed, VIEWS)
            asked_about.add(next(step for step in reversed(path) if isinstance(step, str)))
        except QueryUnsupported:
            refusals += 1
    # Other literals are other questions, as is one without an optional clause; all the rest is refused.
    assert refusals > 700
    same = {"alias", "is_operator", "try_cast", "column_name_alias"}
    clauses = {"where_clause", "having", "limit", "offset", "filter", "orders", "modifiers"}
    assert asked_about <= {"text", "relation_name", "children", "arguments"} | same | clauses


def test_an_alias_stands_for_what_was_selected_before_it_and_a_column_comes_first() -> None:
    plain = asked("SELECT count(*) AS n, sum(amount) AS s, sum(amount) / count(*) AS m FROM orders")
    assert asked("SELECT count(*) AS n, sum(amount) AS s, s / n AS m FROM orders") == plain
    assert asked("SELECT count(*) AS amount, sum(amount) AS s FROM orders").measures[1].kind == "sum"
    assert asked("SELECT count(*) AS n, n + 1 FROM orders").figures[1].name == "(n + 1)"
    for sql in ("SELECT n + 1, count(*) AS n FROM orders", "SELECT count(*) AS n, o.n FROM orders o"):
        assert refused(sql).code == "COLUMN_UNKNOWN"
    assert refused("SELECT count(*) AS n, sum(n) FROM orders").code == "AGGREGATE_MISPLACED"


def test_aliases_of_aliases_are_bounded_before_they_are_read() -> None:
    doubled = ", ".join(f"a{n} + a{n} AS a{n + 1}" for n in range(40))
    assert refused(f"SELECT count(*) AS a0, {doubled} FROM orders").code == "EXPRESSION_TOO_LARGE"
    wide = "greatest(" + ", ".join(["a10"] * 500) + ")"
    ten = ", ".join(f"a{n} + a{n} AS a{n + 1}" for n in range(10))
    assert refused(f"SELECT count(*) AS a0, {ten}, {wide} FROM orders").code == "EXPRESSION_TOO_LARGE"
