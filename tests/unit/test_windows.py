"""Which windows a question reads, from the literal bounds of its own text; what is not understood bounds nothing."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.privacy_kit import parsed

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.bounding.windows import start_of
from kaianalytics.privacy.plan import Plan
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import (
    ContributionBounds,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
    Windows,
    WindowSpan,
)

FIRST, LAST = date(2026, 1, 1), date(2026, 6, 30)
MONTHS = [f"2026-{month:02d}-01" for month in range(1, 7)]


def view(name: str, span: WindowSpan | None = "month", column: str = "day", **more: Any) -> StatisticsView:
    columns = [
        StatisticsColumn("who", "string", False, identifier=True, references=("people.who", "visits.who"), **more),
        StatisticsColumn("day", "date", False),
        StatisticsColumn("moment", "timestamp", False),
        StatisticsColumn("x", "integer", False, bounds=ValueBounds(Decimal(0), Decimal(9))),
    ]
    windows = None if span is None else Windows(column, span, FIRST, LAST)
    named = {c.name: c for c in columns}
    return StatisticsView(name, PrivacyUnit("who", "people"), ContributionBounds(rows=5), named, windows=windows)


def plan_of(where: str, source: str = "events e", **views: StatisticsView) -> Plan:
    known = {"events": view("events"), **views}
    return compile_query(lower(parsed(f"SELECT count(*) FROM {source}{f' WHERE {where}' if where else ''}"), known))


@pytest.mark.parametrize(
    ("where", "months"),
    [
        ("", MONTHS),
        ("x > 3", MONTHS),
        ("day >= '2026-03-01' AND day < '2026-05-01'", MONTHS[2:4]),
        ("day >= '2026-03-01' AND day <= '2026-05-01'", MONTHS[2:5]),
        ("day BETWEEN '2026-03-31' AND '2026-04-01' AND x = 1", MONTHS[2:4]),
        ("'2026-05-02' <= day", MONTHS[4:]),
        ("'2026-02-01' > day", MONTHS[:1]),
        ("day = '2026-02-14'", MONTHS[1:2]),
        ("day IN ('2026-02-14', '2026-04-01')", MONTHS[1:4]),
        ("(day = '2026-02-14' OR x = 1)", MONTHS),
        ("NOT day < '2026-05-01'", MONTHS),
        ("day <> '2026-05-01'", MONTHS),
        ("date_trunc('month', day) = '2026-02-01'", MONTHS[1:3]),  # no earlier, and no later than 30 days on
        ("date_trunc('month', day) >= '2026-05-01'", MONTHS[4:]),
        ("date_trunc('week', day) < '2026-02-01'", MONTHS[:2]),
        ("day >= '2025-01-01' AND day < '2099-01-01'", MONTHS),
        ("moment < '2026-02-01 00:00:00'", MONTHS),  # another time is no bound on the event's
        ("day + INTERVAL 1 DAY >= '2026-05-01'", MONTHS),
    ],
)
def test_windows_are_those_that_the_literal_bounds_leave(where: str, months: list[str]) -> None:
    plan = plan_of(where)
    assert list(plan.windows) == months
    for statement in plan.statements:
        assert f"\"kai_window\" BETWEEN CAST('{months[0]}' AS DATE) AND CAST('{months[-1]}' AS DATE)" in statement.sql


@pytest.mark.parametrize(
    ("where", "months"),
    [
        ("moment < '2026-02-01 00:00:00'", MONTHS[:1]),
        ("moment <= '2026-02-01 00:00:00'", MONTHS[:2]),
        ("moment < '2026-02-01 00:00:01'", MONTHS[:2]),
        ("CAST(moment AS DATE) < '2026-02-01'", MONTHS[:1]),
        ("CAST(moment AS DATE) = '2026-02-01'", MONTHS[1:2]),
        ("moment >= '2026-05-31 23:59:59'", MONTHS[4:]),
    ],
)
def test_a_time_of_day_bounds_as_its_day_does(where: str, months: list[str]) -> None:
    assert list(plan_of(where, events=view("events", column="moment")).windows) == months


def test_a_filter_that_leaves_no_declared_window_is_refused() -> None:
    for where in ("day < '2026-01-01'", "day > '2026-06-30'", "day >= '2026-04-01' AND day < '2026-04-01'"):
        with pytest.raises(QueryUnsupported) as caught:
            plan_of(where)
        assert caught.value.code == "WINDOWS_NONE", where


def test_a_view_without_windows_has_whole_customers_for_units() -> None:
    plan = plan_of("", events=view("events", None))
    assert plan.windows == ()
    assert "kai_window" not in plan.statements[0].sql


# --- joins


def test_views_with_windows_are_joined_within_one() -> None:
    source = "events e JOIN visits v ON e.who = v.who"
    plan = plan_of("v.day < '2026-03-01' AND e.day >= '2026-02-01'", source, visits=view("visits"))
    assert plan.windows == ("2026-02-01",)
    assert 't0."kai_window" = t1."kai_window"' in plan.statements[0].sql
    assert "Rows are joined within one month." in plan.sentences


def test_windows_of_different_length_are_not_joined() -> None:
    with pytest.raises(QueryUnsupported) as caught:
        plan_of("", "events e JOIN visits v ON e.who = v.who", visits=view("visits", "week"))
    assert caught.value.code == "WINDOWS_DIFFER"


def test_a_row_that_may_lack_its_window_is_refused() -> None:
    with pytest.raises(QueryUnsupported) as caught:
        plan_of("", "people p LEFT JOIN events e ON p.who = e.who", people=view("people", None, unique=True))
    assert caught.value.code == "WINDOWS_OPTIONAL"
    for joined in ("SEMI", "ANTI"):  # a row that is kept for what it meets in any window would rest on all of them
        with pytest.raises(QueryUnsupported) as caught:
            plan_of("", f"events e {joined} JOIN visits v ON e.who = v.who", visits=view("visits"))
        assert caught.value.code == "WINDOWS_OPTIONAL"
    joined = plan_of("", "events e LEFT JOIN people p ON p.who = e.who", people=view("people", None, unique=True))
    assert list(joined.windows) == MONTHS


# --- spans


@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)), st.sampled_from(["week", "month", "quarter", "year"]))
def test_a_window_begins_where_the_last_one_ended(day: date, span: WindowSpan) -> None:
    start = start_of(day, span)
    assert start <= day
    assert start_of(start, span) == start
    assert start_of(start - timedelta(days=1), span) < start
    days = {"week": 7, "month": 31, "quarter": 92, "year": 366}[span]
    assert start_of(start + timedelta(days=days), span) > start


@pytest.mark.parametrize(
    ("span", "windows"),
    [
        ("week", [date(2025, 12, 29) + timedelta(weeks=week) for week in range(27)]),
        ("quarter", [date(2026, 1, 1), date(2026, 4, 1)]),
        ("year", [date(2026, 1, 1)]),
    ],
)
def test_all_declared_windows_are_read_without_a_bound(span: WindowSpan, windows: list[date]) -> None:
    assert plan_of("", events=view("events", span)).windows == tuple(day.isoformat() for day in windows)
