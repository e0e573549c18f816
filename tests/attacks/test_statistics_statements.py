"""Whole statements against the reading of statistics: whatever they say, it asks within its laws or refuses by name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reading_kit import LOOKUPS, VIEWS, bounded, parsed

from kaianalytics.attack.corpus import hostile_statements, ordinary_selects
from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.expression import ColumnOf, columns_of
from kaianalytics.privacy.query import StatisticsQuery
from kaianalytics.privacy.reading.joining import related
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.reading.scope import identifies
from kaianalytics.privacy.unit import (
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
)


def corpus() -> Iterator[str]:
    """Every statement of the guard's corpora, hostile or not, that DuckDB's parser reads as a SELECT."""
    yield from (one.sql.lstrip() for one in hostile_statements() if one.sql.strip())
    yield from ordinary_selects()


def readable(sql: str) -> bool:
    try:
        parsed(sql)
    except (AssertionError, duckdb.Error, UnicodeError):
        return False
    return True


def of_the_guard() -> dict[str, StatisticsView]:
    """The views that the corpora speak of, with everything declared that can be."""
    columns = [
        StatisticsColumn("customer_id", "string", nullable=False),
        StatisticsColumn("session_id", "string", nullable=False, identifier=True),
        StatisticsColumn("device", "string", domain=KeyDomain("device", "string", ("phone", "tablet"))),
        StatisticsColumn("pages", "integer", bounds=bounded("0", "100")),
        StatisticsColumn("referred", "boolean"),
        StatisticsColumn("day", "date"),
        StatisticsColumn("started_at", "timestamp"),
    ]
    unit, bounds = PrivacyUnit("customer_id", "customers"), ContributionBounds(rows=10)
    shared = {column.name: column for column in columns}
    return {name: StatisticsView(name, unit, bounds, shared) for name in ("sessions", "orders", "customers")}


def check_laws(query: StatisticsQuery) -> None:
    """No identifier but in joins, every join declared, every view about units once, every sum bounded."""
    relations = query.source.relations
    read: set[ColumnOf] = set(columns_of(query.where))
    for key in query.keys:
        read |= columns_of(key.expression)
    for measure in query.measures:
        read |= columns_of(measure.expression) | columns_of(measure.where)
        assert (measure.kind in ("sum", "tree")) == (measure.bounds is not None)
    for join in query.source.joins:
        read |= columns_of(join.where)
        assert join.on
        assert all(related(one, two, relations) for one, two in join.on)
    for column in read:
        view = relations[column.relation].view
        assert not identifies(view, view.columns[column.name])
    units = [relation.view.name for relation in relations if relation.view.unit is not None]
    assert len(set(units)) == len(units)
    assert relations[0].view.unit is not None


@pytest.mark.parametrize("sql", [sql for sql in dict.fromkeys(corpus()) if readable(sql)], ids=lambda sql: sql[:60])
def test_any_statement_asks_within_the_laws_or_is_refused_by_name(sql: str) -> None:
    try:
        query = lower(parsed(sql), of_the_guard())
    except QueryUnsupported as refusal:
        assert refusal.code and refusal.rule and refusal.hint
    else:
        check_laws(query)


def test_the_corpus_has_statements_of_both_kinds() -> None:
    asked = 0
    statements = [sql for sql in dict.fromkeys(corpus()) if readable(sql)]
    for sql in statements:
        try:
            lower(parsed(sql), of_the_guard())
            asked += 1
        except QueryUnsupported:
            pass
    assert len(statements) > 300
    assert 5 < asked < len(statements) / 2


SOURCES = [
    "orders",
    "orders JOIN customers c USING (customer_id)",
    "customers c LEFT JOIN orders o ON o.customer_id = c.customer_id AND {p}",
    "orders o JOIN products p ON o.product = p.product AND {p}",
    "orders LEFT JOIN returns r ON r.order_id = orders.order_id",
    "(SELECT *, {v} AS v FROM orders WHERE {p}) AS orders",
    "orders JOIN labels ON orders.channel = labels.channel",
    "orders JOIN chosen USING (customer_id)",
    "orders a JOIN orders b USING (customer_id)",
]
ITEMS = [
    "count(*)",
    "count({v})",
    "sum({v})",
    "avg({v}) FILTER (WHERE {p})",
    "stddev({v})",
    "count(DISTINCT {v})",
    "median({v})",
    "min({v})",
    "approx_top_k({v}, 3)",
    "histogram({v}, [0, 5, 10])",
    "{v}",
    "sum({v}) / count(*)",
    "*",
]
VALUES = [
    "amount",
    "orders.quantity",
    "o.amount * 2",
    "customer_id",
    "o.order_id",
    "upper(channel)",
    "city",
    "length(customer_id)",
    "CASE WHEN {p} THEN amount ELSE 0 END",
    "coalesce(order_id, channel)",
    "least(greatest(raw, 0), 10)",
    "date_trunc('month', day)",
    "NULL",
    "count(*)",
    "(SELECT 1)",
    "random()",
]
PREDICATES = [
    "amount > 5",
    "customer_id = 'c1'",
    "o.order_id IS NOT NULL",
    "gift AND day > '2026-01-10'",
    "channel LIKE 'w%'",
    "sum(amount) > 5",
    "1 / quantity > 1",
    "c.customer_id = o.customer_id",
    "row_number() OVER () = 1",
]


@st.composite
def statements(draw: st.DrawFn) -> str:
    """A statement put together from parts that are asked, refused, or both."""
    items = draw(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=3))
    keys = draw(st.lists(st.sampled_from(VALUES), max_size=2))
    selected = ", ".join(f"{item} AS c{number}" if item != "*" else item for number, item in enumerate([*keys, *items]))
    where = draw(st.sampled_from(["", " WHERE {p}"]))
    group = draw(st.sampled_from(["", " GROUP BY ALL", " GROUP BY 1", " GROUP BY {v}"]))
    tail = draw(st.sampled_from(["", " HAVING {p}", " ORDER BY {v}", " HAVING count(*) > 5 ORDER BY ALL LIMIT 3"]))
    text = f"SELECT {selected} FROM {draw(st.sampled_from(SOURCES))}{where}{group}{tail}"
    while "{" in text:
        parts = {"{v}": VALUES, "{p}": PREDICATES}
        found = min((place, part) for part in parts if (place := text.find(part)) >= 0)[1]
        text = text.replace(found, draw(st.sampled_from(parts[found])), 1)
    return text


@settings(max_examples=400, deadline=None)
@given(sql=statements())
def test_statements_made_of_all_sorts_of_parts_keep_the_laws(sql: str) -> None:
    try:
        query = lower(parsed(sql), VIEWS, LOOKUPS)
    except QueryUnsupported as refusal:
        assert refusal.code and refusal.rule and refusal.hint
    else:
        check_laws(query)


def test_nothing_is_too_deep_or_too_large_for_a_refusal() -> None:
    """Each shape, far beyond any limit and just within what the parser reads, is refused or asked, and soon."""
    shapes = ["({} + 1)", "abs({})", "(NOT ({}) IS NULL)", "CASE WHEN gift THEN {} END", "coalesce({}, 1)", "-({})"]
    for shape, depth in product(shapes, (30, 60, 150)):
        text = "quantity"
        for _ in range(depth):
            text = shape.format(text)
        for sql in (
            f"SELECT count(*) FROM orders WHERE ({text}) IS NOT NULL",
            f"SELECT sum({text}) FROM orders",
            f"SELECT {text.replace('quantity', 'count(*)').replace('gift', 'true')} FROM orders",
            f"SELECT {text} AS k, count(*) FROM orders GROUP BY k",
            f"SELECT count(*) AS n FROM orders HAVING ({text.replace('quantity', 'n').replace('gift', 'true')}) > 1",
        ):
            if not readable(sql):
                continue
            try:
                check_laws(lower(parsed(sql), VIEWS, LOOKUPS))
            except QueryUnsupported as refusal:
                assert refusal.code
