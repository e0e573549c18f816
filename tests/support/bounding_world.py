"""A small random world for tests of bounding: tables as a builder would store them, contracts, and questions as text.

Four tables: `events` and `visits` about units, `people` (one row each), and `shops`, which is public. What a store
promises holds here as well: no more rows of a unit than the contract bounds, ranked from 1; windows where declared.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
from hypothesis import assume, event
from hypothesis import strategies as st
from support.privacy_kit import Row, parsed

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.bounding.assembling import assemble
from kaianalytics.privacy.bounding.choosing import Facts, choose
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.bounding.forms import Bounding
from kaianalytics.privacy.bounding.windows import start_of
from kaianalytics.privacy.plan import Exact, Plan
from kaianalytics.privacy.query import Relation
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import (
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
    Windows,
)

TYPES: Mapping[str, Mapping[str, str]] = {
    "events": {
        "who": "VARCHAR",
        "place": "VARCHAR",
        "day": "DATE",
        "clock": "TIMESTAMP",
        "flag": "BOOLEAN",
        "level": "SMALLINT",
        "whole": "BIGINT",
        "real": "DOUBLE",
        "money": "DECIMAL(9,2)",
        "shop": "VARCHAR",
    },
    "visits": {"who": "VARCHAR", "day": "DATE", "minutes": "INTEGER"},
    "people": {"who": "VARCHAR", "kind": "VARCHAR", "age": "INTEGER"},
    "shops": {"shop": "VARCHAR", "region": "VARCHAR"},
}
STORED = {"kai_unit": "UBIGINT", "kai_rank": "INTEGER", "kai_window": "DATE"}
DAYS = (date(2026, 1, 5), date(2026, 1, 12), date(2026, 2, 2))
WHO = ("u1", "u2", "u3", "u|4")


# --- tables

texts = st.sampled_from(["a", "b", "ä%", "", "undeclared", None])
reals = st.one_of(
    st.sampled_from([None, math.nan, math.inf, -math.inf, 1e308, 0.005, 0.015, 0.285, -0.005, 5e-324, -0.0]),
    st.floats(-3, 3),
)
events = st.fixed_dictionaries(
    {
        "who": st.sampled_from([*WHO, "u1", "u1", "u2", None]),
        "place": texts,
        "day": st.sampled_from([*DAYS, date(1999, 1, 1), None]),
        "clock": st.sampled_from([*(datetime(d.year, d.month, d.day, 13) for d in DAYS), None]),
        "flag": st.sampled_from([True, False, None]),
        "level": st.sampled_from([1, 2, 3, -32768, None]),
        "whole": st.one_of(st.integers(-5, 5), st.sampled_from([None, 2**63 - 1, -(2**63)])),
        "real": reals,
        "money": st.one_of(st.none(), st.decimals(-9999999, 9999999, places=2)),
        "shop": st.sampled_from(["s1", "s2", "gone", None]),
    }
)
visits = st.fixed_dictionaries(
    {
        "who": st.sampled_from([*WHO, None]),
        "day": st.sampled_from(DAYS),
        "minutes": st.one_of(st.none(), st.integers(-9, 99)),
    }
)
people = st.fixed_dictionaries(
    {"who": st.sampled_from([*WHO]), "kind": st.sampled_from(["x", "y", None]), "age": st.integers(0, 120)}
)
SHOPS: list[Row] = [
    {"shop": "s1", "region": "north"},
    {"shop": "s2", "region": None},
    {"shop": "s3", "region": "south"},
]

Tables = dict[str, list[Row]]


@dataclass(frozen=True)
class World:
    """Views, and tables that keep what the views promise."""

    views: Mapping[str, StatisticsView]
    tables: Tables

    def without(self, unit: str, window: date | None = None) -> World:
        """The neighbouring world that lacks one unit: all of its rows in every table, where windows are, in one."""
        return World(self.views, {name: self._others(name, unit, window) for name in self.tables})

    def _others(self, name: str, unit: str, window: date | None) -> list[Row]:
        def gone(row: Row) -> bool:
            ours = row.get("who") == unit
            return ours and (window is None or ("kai_window" in row and row["kai_window"] == window))

        return [row for row in self.tables[name] if not gone(row)]

    @property
    def units(self) -> list[tuple[str, date | None]]:
        """Every unit, one by one."""
        rows = [row for table in self.tables.values() for row in table if row.get("who") is not None]
        windowed = self.views["events"].windows is not None
        found = {(row["who"], row.get("kai_window") if windowed else None) for row in rows}
        return sorted((unit for unit in found if not windowed or unit[1] is not None), key=str)

    def load(self, engine: duckdb.DuckDBPyConnection) -> None:
        """The tables in the engine."""
        for name, rows in self.tables.items():
            types = {**TYPES[name], **({} if name == "shops" else STORED)}
            columns = ", ".join(f'unnest(?::{type_}[]) AS "{column}"' for column, type_ in types.items())
            values = [[row.get(column) for row in rows] for column in types]
            engine.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT {columns}", values)

    def rows(self, relations: Sequence[Relation]) -> list[list[Row]]:
        """The rows of relations, by name or their own."""
        return [self.tables[r.view.name] if r.rows is None else _own_rows(r) for r in relations]


def _own_rows(relation: Relation) -> list[Row]:
    return [dict(zip(relation.view.columns, row, strict=True)) for row in relation.rows or ()]


def stored(view: StatisticsView, rows: list[Row]) -> list[Row]:
    """The rows as a builder keeps them: numbered, in their windows, no more of a unit than the contract bounds."""
    kept: list[Row] = []
    seen: dict[Any, int] = defaultdict(int)
    for row in rows:
        window = None
        if view.windows is not None:
            when = row[view.windows.column]
            day = when.date() if isinstance(when, datetime) else when
            late = timedelta(days=30 if row.get("level") == 3 else 0)  # some rows arrive in a later window
            window = None if day is None else start_of(day + late, view.windows.span)
        number = seen[row["who"], window] = seen[row["who"], window] + 1
        most = view.contribution.rows if view.contribution else None
        if most is None or number <= most:
            key = None if row["who"] is None else int(hashlib.md5(row["who"].encode()).hexdigest()[:16], 16)
            kept.append({**row, "kai_unit": key, "kai_rank": number, "kai_window": window})
    return kept


# --- contracts


def value_bounds(step: str, most: int = 300) -> st.SearchStrategy[ValueBounds]:
    def bounds(low: int, wide: int) -> ValueBounds:
        return ValueBounds(low * Decimal(step), (low + wide) * Decimal(step), Decimal(step))

    return st.builds(bounds, st.integers(-most, most), st.integers(1, most))


def domain(name: str, type_: Any, values: tuple[Any, ...]) -> st.SearchStrategy[KeyDomain | None]:
    some = st.lists(st.sampled_from(values), min_size=1, unique=True)
    return some.map(lambda chosen: KeyDomain(name, type_, tuple(chosen)))


contributions = st.one_of(
    st.builds(ContributionBounds, rows=st.integers(1, 5)),
    st.builds(ContributionBounds, st.integers(1, 4), st.integers(1, 3)),
    st.builds(ContributionBounds, st.integers(1, 4), st.integers(1, 3), st.integers(1, 6)),
)


@st.composite
def views(draw: st.DrawFn) -> dict[str, StatisticsView]:
    unit = PrivacyUnit("who", "people", draw(st.sampled_from(["", "kai_unit"])))
    who = StatisticsColumn("who", "string", identifier=True, references=("people.who", "events.who"))
    windows = draw(st.sampled_from([None, None, *(Windows("day", s, DAYS[0], DAYS[2]) for s in ("week", "month"))]))
    keyed = {
        "place": draw(domain("place", "string", ("a", "b", "ä%", "", None))),
        "day": draw(domain("day", "date", (*DAYS, None))),
        "flag": KeyDomain("flag", "boolean", (True, False, None)),
        "level": draw(domain("level", "integer", (1, 2, 3, None))),
    }
    known = {name: found for name, found in keyed.items() if name not in ("place", "level") or draw(st.booleans())}
    columns = (
        replace(who, nullable=draw(st.sampled_from([False, False, True]))),
        StatisticsColumn("place", "string", domain=known.get("place")),
        StatisticsColumn("day", "date", domain=known.get("day")),
        StatisticsColumn("clock", "timestamp"),
        StatisticsColumn("flag", "boolean", domain=known.get("flag"), bounds=ValueBounds(Decimal(0), Decimal(1))),
        StatisticsColumn("level", "integer", domain=known.get("level"), bounds=ValueBounds(Decimal(0), Decimal(3))),
        StatisticsColumn("whole", "integer", bounds=draw(value_bounds("1"))),
        StatisticsColumn("real", "number", bounds=draw(st.sampled_from(["0.01", "0.5", "3"]).flatmap(value_bounds))),
        StatisticsColumn("money", "number", bounds=draw(value_bounds("0.01"))),
        StatisticsColumn("shop", "string", references=("shops.shop",)),
    )
    of = {"events": columns}
    of["visits"] = (who, StatisticsColumn("day", "date"), _minutes(draw(value_bounds("1", 60))))
    of["people"] = (
        replace(who, unique=True, nullable=False),
        StatisticsColumn("kind", "string", domain=KeyDomain("kind", "string", ("x", "y", None))),
        StatisticsColumn("age", "integer", bounds=ValueBounds(Decimal(0), Decimal(99))),
    )
    rank = draw(st.sampled_from(["", "kai_rank"]))
    found = {
        name: StatisticsView(
            name,
            unit,
            draw(contributions) if name != "people" else ContributionBounds(rows=1),
            {column.name: column for column in own},
            rank=rank,
            windows=windows if name != "people" else None,
        )
        for name, own in of.items()
    }
    shop = StatisticsColumn("shop", "string", nullable=False, unique=True)
    region = StatisticsColumn("region", "string", domain=KeyDomain("region", "string", ("north", "south", None)))
    return {**found, "shops": StatisticsView("shops", None, None, {"shop": shop, "region": region})}


def _minutes(bounds: ValueBounds) -> StatisticsColumn:
    return StatisticsColumn("minutes", "integer", bounds=bounds)


@st.composite
def worlds(draw: st.DrawFn, most: int = 20) -> World:
    declared = draw(views())
    persons = {row["who"]: row for row in draw(st.lists(people, max_size=4))}
    tables = {
        "events": draw(st.lists(events, max_size=most)),
        "visits": draw(st.lists(visits, max_size=6)),
        "people": list(persons.values()),
    }
    return World(declared, {**{name: stored(declared[name], rows) for name, rows in tables.items()}, "shops": SHOPS})


# --- questions, as the analyst's text

TESTS = [
    "place = 'a'",
    "place <> 'a'",
    "place IN ('a', 'b', 'x')",
    "place LIKE '_%'",
    "place IS NULL",
    "e.day >= '2026-01-12'",
    "e.day < '2026-02-01' AND e.day >= '2026-01-05'",
    "e.day BETWEEN '2026-01-05' AND '2026-01-11'",
    "clock < '2026-02-01 00:00:00'",
    "flag",
    "flag IS NOT TRUE",
    "level BETWEEN 2 AND 3",
    "level IN (1, 3)",
    "whole > 0",
    "real < 0.285",
    "money BETWEEN -1.5 AND 100",
]
SOURCES = [
    "events e",
    "events e",
    "events e",
    "events e JOIN people p ON e.who = p.who",
    "events e LEFT JOIN people p ON e.who = p.who",
    "events e JOIN shops s ON e.shop = s.shop",
    "events e LEFT JOIN shops s ON e.shop = s.shop AND s.region = 'north'",
    "events e JOIN visits v ON e.who = v.who",
    "visits v JOIN events e ON v.who = e.who",
    "events e JOIN visits v ON e.who = v.who JOIN people p ON v.who = p.who",
    "visits v LEFT JOIN events e ON v.who = e.who JOIN people p ON e.who = p.who",
    "events e SEMI JOIN visits v ON e.who = v.who AND v.minutes > 3",
    "events e ANTI JOIN visits v ON e.who = v.who",
    "people p JOIN events e ON e.who = p.who ANTI JOIN shops s ON e.shop = s.shop AND s.region = 'north'",
    "people p LEFT JOIN visits v ON v.who = p.who AND v.minutes > 3 LEFT JOIN events e ON e.who = v.who",
]
KEYS = ["place", "e.day", "flag", "level", "coalesce(level, 1)", "date_trunc('month', e.day)", "left(place, 1)"]
AGGREGATES = [
    "count(*)",
    "count(*) FILTER (WHERE whole > 0)",
    "count(real)",
    "count(DISTINCT e.who)",
    "count(DISTINCT e.who) FILTER (WHERE flag)",
    "sum(whole)",
    "sum(real)",
    "sum(money) FILTER (WHERE level > 1)",
    "sum(level * 2 + 1)",
    "sum(CASE WHEN flag THEN money ELSE 0 END)",
    "avg(whole)",
    "avg(real)",
    "stddev(money)",
    "median(real)",
    "quantile_cont(whole, [0.25, 0.75])",
    "histogram(money, [-1, 0, 2.5, 100])",
    "approx_top_k(coalesce(level, 9), 2)",
]
MORE = {"people": ["kind"], "shops": ["region"]}
MORE_AGGREGATES = {"people": ["sum(age)", "avg(age)"], "visits": ["sum(minutes)", "avg(minutes * 2)"]}


@st.composite
def questions(draw: st.DrawFn) -> str:
    source = draw(st.sampled_from(SOURCES))
    keys = [*KEYS, *(key for name, own in MORE.items() if f" {name} " in source for key in own)]
    figures = [*AGGREGATES, *(f for name, own in MORE_AGGREGATES.items() if f"{name} " in source for f in own)]
    grouped = draw(st.lists(st.sampled_from(keys), unique=True, max_size=2))
    shown = draw(st.lists(st.sampled_from(figures), min_size=1, max_size=4, unique=True))
    where = " AND ".join(f"({test})" for test in draw(st.lists(st.sampled_from(TESTS), max_size=2, unique=True)))
    select = ", ".join(draw(st.permutations([*grouped, *shown])))
    return f"SELECT {select} FROM {source}{f' WHERE {where}' if where else ''} GROUP BY ALL"


asked_bounds = st.one_of(
    st.none(),
    st.builds(lambda n: {"rows": n}, st.integers(1, 6)),
    st.builds(lambda g, q: {"groups": g, "rows_per_group": q}, st.integers(1, 4), st.integers(1, 3)),
    st.builds(lambda n: {"norm": n}, st.sampled_from(["0.7", 1, "1.5", 2, 3])),
)


# --- answers


def compiled(world: World, question: str, asked: Mapping[str, Any] | None = None) -> tuple[Plan, Bounding]:
    """The plan of a question, and the form that it rests on; discarded where the question can't be answered."""
    bounds = BoundsAsked.of(asked)
    try:
        plan = compile_query(lower(parsed(question), world.views), bounds)
    except QueryUnsupported as refusal:
        event(f"refused {refusal.code}")
        assume(False)
        raise
    cells = None if plan.cells is None else len(plan.cells)
    return plan, choose(Facts(plan.query, cells, bounds, None, None))


def exact_of(engine: duckdb.DuckDBPyConnection, plan: Plan) -> Exact:
    """The exact figures, as the engine gives them."""
    return assemble(plan, [engine.execute(statement.sql).fetchall() for statement in plan.statements])
