"""From text to answer by all the engine's parts, beside plain DuckDB on the same statement.

Bounds never bind and ρ is large, so that what remains between the two is noise: each figure lies within three of its
half-widths of the exact one, and rows, keys, order and limits are the same wherever noise can't have moved them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from support.privacy_kit import parsed

from kaianalytics.privacy.bounding.assembling import assemble
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.answer import AnswerTable, answer
from kaianalytics.privacy.measuring.foreseeing import half_widths
from kaianalytics.privacy.measuring.measurement import plan_noise
from kaianalytics.privacy.query import Figure
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import (
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)

PLACES = ("east", "north", "south", "west")
VIEW = StatisticsView(
    "visits",
    PrivacyUnit("customer", "customers"),
    ContributionBounds(rows=1),
    {
        "customer": StatisticsColumn("customer", "string", False, identifier=True),
        "place": StatisticsColumn("place", "string", domain=KeyDomain("place", "string", (*PLACES, None))),
        "town": StatisticsColumn("town", "string"),
        "level": StatisticsColumn("level", "integer", domain=KeyDomain("level", "integer", (1, 2, 3))),
        "day": StatisticsColumn("day", "date", False),
        "spent": StatisticsColumn("spent", "number", bounds=ValueBounds(Decimal(-20), Decimal(80), Decimal("0.01"))),
    },
)
DELTA = Decimal("1e-6")


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute(
            """CREATE TABLE visits AS
            SELECT format('c{:05}', i) AS customer,
                   CASE WHEN i % 11 > 0 THEN list_value('east', 'north', 'south', 'west')[1 + i % 4] END AS place,
                   format('town {:02}', CAST(floor(sqrt(i % 100)) AS INTEGER)) AS town,
                   CAST(1 + i % 3 AS INTEGER) AS level,
                   DATE '2026-01-01' + CAST(i % 50 AS INTEGER) AS day,
                   CASE WHEN i % 13 = 0 THEN NULL ELSE round(((i * 7919) % 9000) / 100.0 - 15 + i % 4, 2) END AS spent
            FROM range(20000) AS t(i)"""
        )
        yield opened


def asked(connection: duckdb.DuckDBPyConnection, sql: str, rho: str = "8") -> tuple[AnswerTable, list[tuple[Any, ...]]]:
    plan = compile_query(lower(parsed(sql), {"visits": VIEW}))
    measurement = plan_noise(plan, PrivacyLoss.of(rho), None, DELTA)
    exact = assemble(plan, [connection.execute(statement.sql).fetchall() for statement in plan.statements])
    table = answer(plan, measurement, measurement.release(exact))
    foreseen = {figure.name: figure.half_width for figure in half_widths(plan, measurement)}
    for row in table.margins:  # what was told beforehand is what is told afterwards
        for item, margin in zip(plan.query.select, row, strict=True):
            if isinstance(item, Figure) and foreseen[item.name] is not None:
                assert margin == pytest.approx(foreseen[item.name])
    return table, connection.execute(sql).fetchall()


def agree(table: AnswerTable, exact: list[tuple[Any, ...]]) -> None:
    assert len(table.rows) == len(exact)
    for ours, margins, theirs in zip(table.rows, table.margins, exact, strict=True):
        for value, margin, true in zip(ours, margins, theirs, strict=True):
            if margin is None:
                assert value == (true.date() if isinstance(true, datetime) else true)  # the engine keeps days as days
            else:
                assert value is not None
                assert abs(float(value) - float(true)) <= 3 * margin + 1e-6  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) AS n FROM visits",
        "SELECT COUNT(*) AS n, COUNT(spent) AS p, COUNT(DISTINCT customer) AS u, SUM(spent) AS s FROM visits",
        "SELECT AVG(spent) AS m, VAR_SAMP(spent) AS v, STDDEV(spent) AS d, STDDEV_POP(spent) AS dp FROM visits",
        "SELECT place, COUNT(*) AS n, AVG(spent) AS m FROM visits GROUP BY place ORDER BY place",
        "SELECT place, level, SUM(spent) AS s FROM visits GROUP BY ALL ORDER BY level DESC, place NULLS FIRST",
        "SELECT level, AVG(spent) FILTER (WHERE place = 'east') AS e FROM visits GROUP BY level ORDER BY level",
        "SELECT level, SUM(spent) / COUNT(*) AS r, ROUND(AVG(spent), 1) AS a FROM visits GROUP BY level ORDER BY level",
        "SELECT level + 1 AS next, COUNT(*) * 100.0 / 20000 AS share FROM visits GROUP BY level + 1 ORDER BY next",
        "SELECT place, COUNT(*) AS n FROM visits GROUP BY place HAVING COUNT(*) > 3000 ORDER BY COUNT(*) DESC, place",
        "SELECT place, COUNT(*) AS n FROM visits WHERE level = 2 GROUP BY place ORDER BY place LIMIT 2 OFFSET 1",
        "SELECT place, CASE WHEN COUNT(*) > 3000 THEN 2 ELSE 1 END AS c FROM visits GROUP BY place ORDER BY place",
        "SELECT SUM(CASE WHEN spent > 30 THEN 1 ELSE 0 END) AS n, GREATEST(COUNT(*), 5) AS g FROM visits",
        "SELECT ABS(SUM(spent)) AS a, SQRT(COUNT(*)) AS r, NULLIF(COUNT(*), 3) AS o FROM visits",
        "SELECT MEDIAN(spent) AS q FROM visits",
        "SELECT QUANTILE_CONT(spent, 0.1) AS low, QUANTILE_CONT(spent, 0.9) AS high FROM visits WHERE level = 1",
        "SELECT MEDIAN(spent) - QUANTILE_CONT(spent, 0.25) AS spread FROM visits",
        "SELECT town, COUNT(*) AS n, AVG(spent) AS m FROM visits GROUP BY town ORDER BY town",
        "SELECT town, COUNT(*) AS n FROM visits GROUP BY town HAVING COUNT(*) > 1000 ORDER BY n DESC LIMIT 3",
        "SELECT date_trunc('month', day) AS month, COUNT(*) AS n FROM visits GROUP BY month ORDER BY month",
    ],
)
def test_answers_are_duckdb_s_but_for_the_noise(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    agree(*asked(connection, sql))


def test_several_figures_of_one_call_are_those_of_their_items(connection: duckdb.DuckDBPyConnection) -> None:
    table, _ = asked(connection, "SELECT histogram(spent, [-20, 0, 40, 80]) AS h FROM visits")
    bins = ("spent < 0", "spent >= 0 AND spent < 40", "spent >= 40")
    counts = ", ".join(f"COUNT(*) FILTER ({condition})" for condition in bins)
    agree(table, connection.execute(f"SELECT {counts} FROM visits").fetchall())


def test_small_groups_are_held_back_and_empty_ones_are_answered(connection: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT town, COUNT(*) AS n FROM visits WHERE day = '2026-01-03' AND spent > 60 GROUP BY town"
    table, exact = asked(connection, sql, "0.01")
    assert len(table.rows) < len(exact)
    assert any("held back" in note for note in table.notes)
    nobody = "SELECT place, COUNT(*) AS n, AVG(spent) AS m FROM visits WHERE spent > 79.99 GROUP BY place"
    table, exact = asked(connection, nobody)
    assert exact == []
    assert [row[0] for row in table.rows] == [*PLACES, None]
    assert all(abs(row[1]) < 10 and row[2] is None for row in table.rows)  # type: ignore[arg-type]
    assert any(note.startswith("m: no figure in 5 rows") for note in table.notes)


def test_dates_are_keys_as_they_are(connection: duckdb.DuckDBPyConnection) -> None:
    days = tuple(date(2026, 1, 1) + timedelta(i) for i in range(3))
    columns = {**VIEW.columns, "day": StatisticsColumn("day", "date", False, domain=KeyDomain("day", "date", days))}
    plan = compile_query(
        lower(parsed("SELECT day, COUNT(*) AS n FROM visits GROUP BY day"), {"visits": replace(VIEW, columns=columns)})
    )
    measurement = plan_noise(plan, PrivacyLoss.of("1"))
    exact = assemble(plan, [connection.execute(statement.sql).fetchall() for statement in plan.statements])
    table = answer(plan, measurement, measurement.release(exact))
    assert tuple(row[0] for row in table.rows) == days
    assert table.types == ("date", "integer")
