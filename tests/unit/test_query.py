"""From DuckDB's parse tree to a question: what is understood, what is refused by name, and all else fails closed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest
from support.privacy_kit import parsed

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.bounding import compile_query
from kaianalytics.privacy.filtering import MAX_DEPTH
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measurement import plan
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
)
from kaianalytics.privacy.query import MAX_AGGREGATES, Aggregate, Key, StatisticsQuery, lower
from kaianalytics.privacy.refusals import REASONS
from kaianalytics.privacy.unit import (
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)

WIDE = tuple(f"w{i}" for i in range(200))
COLUMNS = (
    StatisticsColumn("customer_id", "string"),  # not flagged: the unit's column is an identifier by itself
    StatisticsColumn("session_id", "string", identifier=True),
    StatisticsColumn("service", "string", domain=KeyDomain("service", "string", ("news", "shop", "travel", None))),
    StatisticsColumn("wide", "string", domain=KeyDomain("wide", "string", WIDE)),
    StatisticsColumn("wider", "string", domain=KeyDomain("wider", "string", WIDE)),
    StatisticsColumn("day", "date", domain=KeyDomain("day", "date", (date(2026, 1, 1), date(2026, 1, 2)))),
    StatisticsColumn("signed_in", "boolean", bounds=ValueBounds(Decimal(0), Decimal(1))),
    StatisticsColumn("pages", "integer", bounds=ValueBounds(Decimal(0), Decimal(100))),
    StatisticsColumn("seconds", "integer"),
    StatisticsColumn("cost", "number", bounds=ValueBounds(Decimal(0), Decimal(5), Decimal("0.01"))),
    StatisticsColumn("endless", "integer", bounds=ValueBounds(Decimal(0), Decimal(10) ** 12)),
    StatisticsColumn("started_at", "timestamp"),
    StatisticsColumn("A b", "string"),
)
VIEW = StatisticsView(
    "sessions", PrivacyUnit("customer_id", "customers"), ContributionBounds(3, 10), {c.name: c for c in COLUMNS}
)
VIEWS = {"sessions": VIEW, "orders": VIEW}


def asked(sql: str) -> StatisticsQuery:
    return lower(parsed(sql), VIEWS)


def where(condition: str) -> Predicate | None:
    return asked(f"SELECT count(*) FROM sessions WHERE {condition}").where


# --- what is understood


def test_counts_and_sums_keep_the_order_and_the_names_of_the_select() -> None:
    query = asked("SELECT count(*), service AS s, sum(pages) AS p, day, sum(cost) FROM sessions GROUP BY service, day")
    assert query.view is VIEW
    assert query.where is None
    assert query.select == (
        Aggregate("count", "count_star()"),
        Key("service", "s"),
        Aggregate("sum", "p", "pages"),
        Key("day", "day"),
        Aggregate("sum", "sum(cost)", "cost"),
    )
    assert [key.column for key in query.keys] == ["service", "day"]
    assert [aggregate.name for aggregate in query.aggregates] == ["count_star()", "p", "sum(cost)"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT service AS s, COUNT(*) AS n FROM sessions GROUP BY service",
        "select service s, count() n from sessions group by s",
        "select SERVICE as s, Count(*) as n from SESSIONS group by ALL",
        "SELECT x.service AS s, count(*) AS n FROM sessions AS x GROUP BY x.service",
        "SELECT sessions.service AS s, count(*) AS n FROM sessions GROUP BY 1",
        "FROM sessions SELECT s: service, n: count(*) GROUP BY (service);",
        "SELECT service AS s, count(*) AS n FROM sessions GROUP BY service, service",
    ],
)
def test_one_question_in_its_many_spellings(sql: str) -> None:
    assert asked(sql) == StatisticsQuery(VIEW, (Key("service", "s"), Aggregate("count", "n")))


def test_group_by_prefers_a_column_to_an_alias() -> None:
    with pytest.raises(QueryUnsupported, match='"day" is selected but not grouped by'):
        asked("SELECT day AS service, count(*) FROM sessions GROUP BY service")


@pytest.mark.parametrize(
    ("condition", "predicate"),
    [
        ("service = 'news'", Comparison("service", "=", "news")),
        ("'news' <> Service", Comparison("service", "<>", "news")),
        ("5 < pages", Comparison("pages", ">", 5)),
        ("5 >= pages", Comparison("pages", "<=", 5)),
        ("pages == -1_000", Comparison("pages", "=", -1000)),
        ("pages IS DISTINCT FROM 3", Comparison("pages", "is distinct from", 3)),
        ("cost >= 2", Comparison("cost", ">=", Decimal(2))),
        ("cost <= 1.5e1", Comparison("cost", "<=", Decimal(15))),
        ("day = '2026-01-01'", Comparison("day", "=", date(2026, 1, 1))),
        ("day < DATE '2026-01-01'", Comparison("day", "<", date(2026, 1, 1))),
        ("day < CAST('2026-01-01' AS date)", Comparison("day", "<", date(2026, 1, 1))),
        ("started_at < '2026-01-01'", Comparison("started_at", "<", datetime(2026, 1, 1))),
        ("started_at < DATE '2026-01-01'", Comparison("started_at", "<", datetime(2026, 1, 1))),
        (
            "started_at < TIMESTAMP '2026-01-01 10:20:30.5'",
            Comparison("started_at", "<", datetime(2026, 1, 1, 10, 20, 30, 500000)),
        ),
        ("started_at < '2026-01-01T10:20'::TIMESTAMP", Comparison("started_at", "<", datetime(2026, 1, 1, 10, 20))),
        ("signed_in", Flag("signed_in")),
        ("signed_in = false", Comparison("signed_in", "=", False)),
        ("signed_in IS TRUE", Comparison("signed_in", "is not distinct from", True)),
        ("signed_in IS NOT FALSE", Comparison("signed_in", "is distinct from", False)),
        ("true", Constant(True)),
        ("service IN ('news', 'shop')", Membership("service", ("news", "shop"))),
        ("pages NOT IN (1)", Not(Membership("pages", (1,)))),
        ("pages BETWEEN 1 AND 2", All((Comparison("pages", ">=", 1), Comparison("pages", "<=", 2)))),
        ("service IS NULL", Missing("service")),
        ("service IS NOT NULL", Not(Missing("service"))),
        ("service LIKE 'n%'", Pattern("service", "n%")),
        ("service NOT LIKE 'n_'", Not(Pattern("service", "n_"))),
        ("\"A b\" = 'it''s'", Comparison("A b", "=", "it's")),
        (
            "NOT (signed_in OR pages > 1) AND sessions.pages < 3",
            All((Not(Some((Flag("signed_in"), Comparison("pages", ">", 1)))), Comparison("pages", "<", 3))),
        ),
    ],
)
def test_filters_are_read_with_their_column_s_type(condition: str, predicate: Predicate) -> None:
    assert where(condition) == predicate


# --- what is refused, by code

REFUSED = {
    "NOT_ONE_SELECT": ["SELECT count(*) FROM sessions; SELECT count(*) FROM sessions"],
    "SYNTAX_UNSUPPORTED": [
        "SELECT count(*) FROM main.sessions",
        "SELECT count(*) FROM a.main.sessions",
        "SELECT count(*) FROM sessions AS s(a, b)",
        "SELECT count(*) FROM sessions AT (VERSION => 3)",
        "SELECT main.count(*) FROM sessions",
        "SELECT sum(pages ORDER BY pages) FROM sessions",
        "VALUES (1)",
        "DESCRIBE sessions",
        "SELECT sum(x := pages) FROM sessions",
    ],
    "PARAMETER_UNSUPPORTED": ["SELECT count(*) FROM sessions WHERE pages = ?"],
    "ORDER_BY_UNSUPPORTED": ["SELECT count(*) FROM sessions ORDER BY 1"],
    "LIMIT_UNSUPPORTED": [
        "SELECT count(*) FROM sessions LIMIT 3",
        "SELECT count(*) FROM sessions OFFSET 3",
        "SELECT count(*) FROM sessions LIMIT 10%",
    ],
    "DISTINCT_UNSUPPORTED": ["SELECT DISTINCT service, count(*) FROM sessions GROUP BY ALL"],
    "HAVING_UNSUPPORTED": ["SELECT count(*) FROM sessions HAVING count(*) > 3"],
    "QUALIFY_UNSUPPORTED": ["SELECT count(*) FROM sessions QUALIFY true"],
    "SAMPLE_UNSUPPORTED": [
        "SELECT count(*) FROM sessions TABLESAMPLE 10%",
        "SELECT count(*) FROM sessions USING SAMPLE 10 ROWS",
    ],
    "CTE_UNSUPPORTED": ["WITH q AS (SELECT 1) SELECT count(*) FROM sessions"],
    "SET_OPERATION_UNSUPPORTED": [
        "SELECT count(*) FROM sessions UNION ALL SELECT count(*) FROM sessions",
        "SELECT count(*) FROM sessions EXCEPT SELECT 1",
    ],
    "JOIN_UNSUPPORTED": [
        "SELECT count(*) FROM sessions, orders",
        "SELECT count(*) FROM sessions JOIN orders USING (customer_id)",
        "SELECT count(*) FROM sessions ASOF JOIN orders ON sessions.day >= orders.day",
    ],
    "SUBQUERY_UNSUPPORTED": [
        "SELECT count(*) FROM (SELECT * FROM sessions) q",
        "SELECT count(*) FROM sessions WHERE pages IN (SELECT 1)",
        "SELECT count(*) FROM sessions WHERE EXISTS (SELECT 1)",
        "SELECT (SELECT 1), count(*) FROM sessions",
    ],
    "TABLE_FUNCTION_UNSUPPORTED": ["SELECT count(*) FROM range(10)", "SELECT count(*) FROM read_csv('f')"],
    "GROUPING_SETS_UNSUPPORTED": [
        "SELECT service, count(*) FROM sessions GROUP BY ROLLUP (service)",
        "SELECT service, count(*) FROM sessions GROUP BY CUBE (service)",
        "SELECT service, count(*) FROM sessions GROUP BY GROUPING SETS ((service), ())",
        "SELECT count(*) FROM sessions GROUP BY ()",
    ],
    "VIEW_MISSING": ["SELECT count(*)"],
    "VIEW_UNKNOWN": ["SELECT count(*) FROM inquiries", "SELECT count(*) FROM 'file.csv'"],
    "NO_AGGREGATE": ["SELECT service FROM sessions GROUP BY service"],
    "TOO_MANY_AGGREGATES": [
        "SELECT " + ", ".join(f"count(*) AS n{i}" for i in range(MAX_AGGREGATES + 1)) + " FROM sessions"
    ],
    "STAR_UNSUPPORTED": ["SELECT * FROM sessions", "FROM sessions", "SELECT COLUMNS('a'), count(*) FROM sessions"],
    "EXPRESSION_UNSUPPORTED": [
        "SELECT count(*) + 1 FROM sessions",
        "SELECT count(*)::INTEGER FROM sessions",
        "SELECT 1, count(*) FROM sessions",
        "SELECT CASE WHEN true THEN 1 END, count(*) FROM sessions",
    ],
    "AGGREGATE_UNSUPPORTED": [
        "SELECT min(pages) FROM sessions",
        "SELECT max(pages) FROM sessions",
        "SELECT avg(pages) FROM sessions",
        "SELECT median(pages) FROM sessions",
        "SELECT list(pages) FROM sessions",
        "SELECT any_value(service) FROM sessions",
        "SELECT count_if(signed_in) FROM sessions",
        "SELECT lower(service), count(*) FROM sessions GROUP BY ALL",
        'SELECT "+"(pages, 1) FROM sessions',
    ],
    "COUNT_OF_COLUMN": ["SELECT count(pages) FROM sessions", "SELECT count(1) FROM sessions"],
    "DISTINCT_AGGREGATE": ["SELECT count(DISTINCT service) FROM sessions", "SELECT sum(DISTINCT pages) FROM sessions"],
    "FILTER_IN_AGGREGATE": ["SELECT count(*) FILTER (WHERE signed_in) FROM sessions"],
    "WINDOW_UNSUPPORTED": [
        "SELECT sum(pages) OVER () FROM sessions",
        "SELECT row_number() OVER (ORDER BY pages) FROM sessions",
    ],
    "SUM_OF_EXPRESSION": [
        "SELECT sum(-pages) FROM sessions",
        "SELECT sum(1) FROM sessions",
        "SELECT sum(pages + seconds) FROM sessions",
    ],
    "SUM_WITHOUT_BOUNDS": ["SELECT sum(seconds) FROM sessions", "SELECT sum(service) FROM sessions"],
    "NAME_REPEATED": [
        "SELECT count(*), count(*) FROM sessions",
        "SELECT service, service AS again, count(*) FROM sessions GROUP BY ALL",
        "SELECT service, count(*) AS service FROM sessions GROUP BY ALL",
    ],
    "COLUMN_UNKNOWN": [
        "SELECT sum(referrer) FROM sessions",
        "SELECT count(*) FROM sessions WHERE rowid = 1",
        "SELECT count(*) FROM sessions WHERE other.pages = 1",
        "SELECT count(*) FROM sessions AS s WHERE sessions.pages = 1",
        "SELECT count(*) FROM sessions WHERE main.sessions.pages = 1",
        "SELECT region, count(*) FROM sessions GROUP BY region",
    ],
    "IDENTIFIER_USED": [
        "SELECT customer_id, count(*) FROM sessions GROUP BY customer_id",
        "SELECT count(*) FROM sessions GROUP BY Customer_Id",
        "SELECT count(*) FROM sessions WHERE customer_id = 'x'",
        "SELECT count(*) FROM sessions WHERE session_id IS NULL",
        "SELECT sum(session_id) FROM sessions",
    ],
    "COLUMN_UNGROUPED": [
        "SELECT service, count(*) FROM sessions",
        "SELECT service, day, count(*) FROM sessions GROUP BY day",
    ],
    "KEY_NOT_SELECTED": ["SELECT count(*) FROM sessions GROUP BY service"],
    "GROUP_EXPRESSION": [
        "SELECT service, count(*) FROM sessions GROUP BY lower(service)",
        "SELECT service, count(*) FROM sessions GROUP BY 3",
        "SELECT service, count(*) FROM sessions GROUP BY 2",
        "SELECT service, count(*) FROM sessions GROUP BY -1",
        "SELECT service, count(*) FROM sessions GROUP BY '1'",
    ],
    "GROUP_WITHOUT_DOMAIN": ["SELECT pages, count(*) FROM sessions GROUP BY pages"],
    "TOO_MANY_CELLS": ["SELECT wide, wider, count(*) FROM sessions GROUP BY ALL"],
    "NO_CELLS": [
        "SELECT service, count(*) FROM sessions WHERE service = 'newspaper' GROUP BY ALL",
        "SELECT count(*) FROM sessions WHERE false",
    ],
    "FILTER_UNSUPPORTED": [
        f"SELECT count(*) FROM sessions WHERE {condition}"
        for condition in (
            "pages + 1 = 2",
            "pages = 1 + 1",
            "pages = seconds",
            "1 = 1",
            "lower(service) = 'x'",
            "service ILIKE 'a'",
            "service SIMILAR TO 'a'",
            "service LIKE 'a' ESCAPE '\\'",
            'service LIKE "A b"',
            'service IN ("A b")',
            "pages IN [1, 2]",
            "(pages, seconds) = (1, 2)",
            "pages::VARCHAR = '1'",
            "day = TRY_CAST('2026-01-01' AS DATE)",
            "day = CAST(20260101 AS DATE)",
            "cost = CAST(1 AS DECIMAL(5, 2))",
            "CAST(pages AS BOOLEAN) IS NOT DISTINCT FROM TRUE",
            "CASE WHEN signed_in THEN true END",
            "coalesce(signed_in, false)",
            "pages IS NULL IS NULL",
            "1 BETWEEN 0 AND pages",
            "1",
        )
    ],
    "FILTER_TYPE": [
        f"SELECT count(*) FROM sessions WHERE {condition}"
        for condition in (
            "pages",
            "pages = '1'",
            "pages = 1.0",
            "pages = 9223372036854775808",
            "pages = " + "9" * 5000,
            "cost = '1.5'",
            "cost > 1e999",
            "service = 1",
            "service = DATE '2026-01-01'",
            "service > true",
            "pages LIKE '1%'",
            "day = '2026-1-1'",
            "day = '20260101'",
            "day = '2026-02-30'",
            "day = TIMESTAMP '2026-01-01'",
            "day = DATE 'infinity'",
            "started_at = '2026-01-01 10:00:00+09'",
            "started_at = '2026-01-01 10:00:00Z'",
            "started_at = 'now'",
            "started_at = 5",
            "signed_in = 1",
            "signed_in = 'true'",
            "service = X'ab'",
        )
    ],
    "FILTER_NULL": [
        "SELECT count(*) FROM sessions WHERE service = NULL",
        "SELECT count(*) FROM sessions WHERE service IN ('news', NULL)",
        "SELECT count(*) FROM sessions WHERE service IS DISTINCT FROM NULL",
        "SELECT count(*) FROM sessions WHERE NULL",
    ],
    "FILTER_TOO_DEEP": [
        "SELECT count(*) FROM sessions WHERE " + "NOT (" * (MAX_DEPTH + 1) + "signed_in" + ")" * (MAX_DEPTH + 1)
    ],
    "BOUNDS_TOO_WIDE": ["SELECT sum(endless) FROM sessions"],
    "LOSS_OUT_OF_RANGE": ["SELECT count(*), sum(pages) FROM sessions"],
}


@pytest.mark.parametrize(("code", "sql"), [(code, sql) for code, texts in REFUSED.items() for sql in texts])
def test_what_is_not_supported_is_refused_by_its_own_code(code: str, sql: str) -> None:
    with pytest.raises(QueryUnsupported) as caught:
        plan(compile_query(asked(sql), VIEW).columns, PrivacyLoss(1))
    assert caught.value.code == code
    assert caught.value.rule
    assert caught.value.hint
    assert "{" not in str(caught.value)


def test_every_code_of_the_table_has_a_case() -> None:
    assert set(REFUSED) == set(REASONS)


def test_a_refusal_names_what_exists() -> None:
    with pytest.raises(QueryUnsupported) as caught:
        asked("SELECT sum(referrer) FROM sessions")
    assert "service" in caught.value.hint
    assert "session_id" not in caught.value.hint
    with pytest.raises(QueryUnsupported) as caught:
        asked("SELECT count(*) FROM inquiries")
    assert "orders, sessions" in caught.value.hint or "sessions, orders" in caught.value.hint
    with pytest.raises(QueryUnsupported) as caught:
        asked("SELECT seconds, count(*) FROM sessions GROUP BY ALL")
    assert caught.value.hint.startswith("columns with declared keys: service, wide, wider, day;")


def test_a_refusal_repeats_a_name_shortened_and_on_one_line() -> None:
    name = "x\n" * 500
    with pytest.raises(QueryUnsupported) as caught:
        asked(f'SELECT sum("{name}") FROM sessions')
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 200


# --- an unanswerable question can't be built


@pytest.mark.parametrize(
    ("code", "select", "predicate"),
    [
        ("NO_AGGREGATE", (Key("service", "service"),), None),
        ("GROUP_WITHOUT_DOMAIN", (Key("pages", "p"), Aggregate("count", "n")), None),
        ("IDENTIFIER_USED", (Key("session_id", "p"), Aggregate("count", "n")), None),
        ("COLUMN_UNKNOWN", (Key("nowhere", "p"), Aggregate("count", "n")), None),
        ("SUM_WITHOUT_BOUNDS", (Aggregate("sum", "n", "seconds"),), None),
        ("FILTER_TYPE", (Aggregate("count", "n"),), Comparison("pages", "=", True)),
        ("FILTER_TYPE", (Aggregate("count", "n"),), Not(Membership("day", (datetime(2026, 1, 1),)))),
        ("FILTER_TYPE", (Aggregate("count", "n"),), Some((Flag("pages"),))),
        ("FILTER_TYPE", (Aggregate("count", "n"),), Pattern("pages", "%")),
        ("IDENTIFIER_USED", (Aggregate("count", "n"),), All((Missing("customer_id"),))),
    ],
)
def test_a_question_is_checked_where_it_is_born(code: str, select: Any, predicate: Predicate | None) -> None:
    with pytest.raises(QueryUnsupported) as caught:
        StatisticsQuery(VIEW, select, predicate)
    assert caught.value.code == code


def test_different_questions_differ_in_their_fields_alone() -> None:
    """A free repeat is found by a digest over fields: AND and OR of the same parts must not be one question."""
    conditions = [
        "signed_in AND pages = 1",
        "signed_in OR pages = 1",
        "signed_in",
        "NOT signed_in",
        "signed_in IS NULL",
        "service = 'a'",
        "service LIKE 'a'",
        "service IN ('a')",
    ]
    fields = [asdict(asked(f"SELECT count(*) FROM sessions WHERE {condition}")) for condition in conditions]
    assert all(one != other for one, other in combinations(fields, 2))


def test_an_aggregate_has_a_column_if_and_only_if_it_sums() -> None:
    with pytest.raises(ValueError, match="a sum has a column"):
        Aggregate("sum", "n")
    with pytest.raises(ValueError, match="a sum has a column"):
        Aggregate("count", "n", "pages")
    with pytest.raises(ValueError, match="at least one value"):
        Membership("pages", ())


# --- fail closed

FULL = (
    "SELECT s.service AS k, count(*) AS n, sum(s.pages) FROM sessions AS s WHERE (s.pages > 1 OR NOT signed_in) "
    "AND service LIKE 'n%' AND day = DATE '2026-01-01' AND pages BETWEEN 1 AND 5 AND cost IN (1, 2) "
    "AND service IS NULL AND signed_in IS TRUE AND true GROUP BY 1"
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
    objects = [path for path in places(tree) if isinstance(at(tree, path), dict)]
    assert len(objects) > 60
    for path in objects:
        changed = copy.deepcopy(tree)
        at(changed, path)["novelty"] = None
        with pytest.raises(QueryUnsupported):
            lower(changed, VIEWS)


@pytest.mark.parametrize("other", [None, 0, 1, True, "", "x", [], ["x"], {}, {"x": 1}])
def test_no_changed_tree_does_anything_but_ask_or_refuse(other: Any) -> None:
    tree = parsed(FULL)
    ignored = ("query_location", "query_location_length")
    refused, asked_about = 0, set()
    for path in places(tree):
        if not path or path[-1] in ignored or at(tree, path) == other:
            continue
        changed = copy.deepcopy(tree)
        at(changed, path[:-1])[path[-1]] = other
        try:
            lower(changed, VIEWS)
            asked_about.add(next(step for step in reversed(path) if isinstance(step, str)))
        except QueryUnsupported:
            refused += 1
    # Other names and literals are other questions, and WHERE may be absent; all the rest is refused.
    assert refused > 200
    assert asked_about <= {"alias", "text", "where_clause"}
