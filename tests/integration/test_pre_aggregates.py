"""Pre-aggregates: built with the store, within the contract's bounds, and the same figures as the rows would give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support import small_world
from support.small_world import PEOPLE, World, names, visit

from kaianalytics.errors import BuildFault
from kaianalytics.gateway.workers.worker import open_store, set_stops
from kaianalytics.policy.contract import PreAggregateRule
from kaianalytics.policy.secure_views import views_sql
from kaianalytics.policy.views import TablePlan
from kaianalytics.privacy.bounding.compiling import BoundsAsked, compile_query
from kaianalytics.privacy.expression import ColumnOf
from kaianalytics.privacy.query import Figure, Key, KeyColumn, Measure, Of, Relation, Source, StatisticsQuery
from kaianalytics.privacy.unit import ContributionBounds, StatisticsView
from kaianalytics.warehouse.builder import build
from kaianalytics.warehouse.published import current
from kaianalytics.warehouse.verification import verify
from kaianalytics.warehouse.workshop import Room, opened_workshop

TABLE = "kai_pre_paid_by_page"
# Sensitivities that are whole numbers, so that no other form is predicted to be more exact than the table.
BOUNDS = {
    "rows": ContributionBounds(rows=9),
    "groups": ContributionBounds(4, 2),
    "both": ContributionBounds(4, 2, rows=7),
    "nothing binds": ContributionBounds(9, 99),
}


def paying_visits() -> list[dict[str, Any]]:
    """Many visits of some, few of others, on declared pages and on one that no contract declares."""
    return [
        {**visit(f"V-{place:03d}-{turn}", unit, minutes=turn), "page": page, "paid": Decimal(f"{turn * 3}.50")}
        for place, (unit, *_) in enumerate(PEOPLE)
        for turn in range(0, 3 + 9 * (place % 4), 2)
        for page in [("home", "shop", None, "undeclared")[(turn + place) % 4]]
    ]


def world_of(root: Path, bounds: ContributionBounds) -> World:
    world = World.create(root)
    columns = [
        replace(each, minimum="0", maximum="20") if each.name == "paid" else each
        for each in world.contracts["visits"].columns
    ]
    rule = PreAggregateRule("paid_by_page", ("page", "minutes"), ("paid",))
    world.change("visits", columns=tuple(columns), contribution=bounds, pre_aggregates=(rule,))
    world.write("visits", paying_visits())
    build(world.order())
    return world


def table_plan(world: World) -> TablePlan:
    plan = next(plan for plan in world.order().plans if (plan.purpose, plan.access) == ("ads", "statistics"))
    return plan.tables["visits"]


def view_of(world: World) -> StatisticsView:
    view = table_plan(world).statistics
    assert view is not None
    return view


def question(view: StatisticsView) -> StatisticsQuery:
    """SELECT page, minutes, COUNT(*), SUM(paid), COUNT(DISTINCT person) FROM visits GROUP BY page, minutes."""
    page, minutes, paid = (view.columns[name] for name in ("page", "minutes", "paid"))
    keys = tuple(
        Key(ColumnOf(0, each.name, each.type, each.nullable), each.domain.values if each.domain else None)
        for each in (page, minutes)
    )
    measures = (Measure("rows"), Measure("sum", ColumnOf(0, "paid", "number", True), paid.bounds), Measure("units"))
    figures = (Figure("n", "count", Of(0)), Figure("paid", "sum", Of(1)), Figure("people", "count", Of(2)))
    select = (KeyColumn("page", 0), KeyColumn("minutes", 1), *figures)
    return StatisticsQuery(Source((Relation(view),), (), 0), None, keys, measures, select)


def worker_on(world: World) -> duckdb.DuckDBPyConnection:
    plan = next(plan for plan in world.order().plans if (plan.purpose, plan.access) == ("ads", "statistics"))
    start = {"views": views_sql(plan), "stops": [], "memory_limit": "256MiB", "threads": 2}
    return open_store({**start, "store": str(current(world.stores).store_path("ads", "statistics"))})


def answers(
    con: duckdb.DuckDBPyConnection, view: StatisticsView, asked: BoundsAsked | None = None
) -> tuple[str, list[tuple[Any, ...]]]:
    """The SQL of the question, and its figures by cell, in rows, dollars and people, whatever their steps are."""
    plan = compile_query(question(view), asked)
    [statement] = plan.statements
    steps = [plan.vectors[place].step for place in statement.vectors]
    rows = con.execute(statement.sql).fetchall()
    return statement.sql, sorted(
        ((*row[:2], *(step * figure for step, figure in zip(steps, row[2:], strict=True))) for row in rows), key=str
    )


@pytest.mark.parametrize("bounds", BOUNDS)
def test_it_gives_the_same_figures_as_the_rows_and_is_read_instead_of_them(tmp_path: Path, bounds: str) -> None:
    world, contract = world_of(tmp_path, BOUNDS[bounds]), BOUNDS[bounds]
    asked = BoundsAsked(groups=contract.groups, rows_per_group=contract.rows_per_group)
    with worker_on(world) as con:
        from_rows, expected = answers(con, replace(view_of(world), pre_aggregates=()), asked)
        from_table, found = answers(con, view_of(world))
    assert TABLE in from_table and TABLE not in from_rows
    assert len(found) == len(expected) > 5
    for row, other in zip(found, expected, strict=True):
        assert (*row[:3], row[4]) == (*other[:3], other[4])
        # Where rows are left out of a cell, the table's sum is scaled down with them, and the other one is capped.
        assert row[3] == other[3] if contract.rows_per_group != 2 else 0 <= row[3] <= other[3]


@pytest.mark.parametrize("bounds", BOUNDS)
def test_it_holds_declared_cells_and_no_cell_without_a_row(tmp_path: Path, bounds: str) -> None:
    world = world_of(tmp_path, BOUNDS[bounds])
    with worker_on(world) as con:
        assert con.execute(f"SELECT DISTINCT page FROM {TABLE} ORDER BY ALL").fetchall() == [
            ("home",),
            ("shop",),
            (None,),
        ]
        assert con.execute(f"SELECT min(kai_rows) FROM {TABLE}").fetchone() == (1,)
        units = [unit for (unit,) in con.execute(f"SELECT kai_unit FROM {TABLE}").fetchall()]
    assert units == sorted(units)


def test_a_stop_holds_in_it_at_once(tmp_path: Path) -> None:
    world = world_of(tmp_path, BOUNDS["groups"])
    (stopped,) = names("ads", "person", ["P-000001"])
    plan = next(plan for plan in world.order().plans if (plan.purpose, plan.access) == ("ads", "statistics"))
    with worker_on(world) as con:
        before = con.execute(f"SELECT count(DISTINCT kai_unit) FROM {TABLE}").fetchall()[0][0]
        set_stops(con, views_sql(plan), [stopped])
        units = {unit for (unit,) in con.execute(f"SELECT kai_unit FROM {TABLE}").fetchall()}
        assert len(units) == before - 1 and int(stopped[:16], 16) not in units
        assert sum(row[4] for row in answers(con, view_of(world))[1]) == cells_held(con)


def cells_held(con: duckdb.DuckDBPyConnection) -> int:
    return int(con.execute(f"SELECT count(*) FROM {TABLE}").fetchall()[0][0])


def test_no_rows_store_has_one(tmp_path: Path) -> None:
    world = world_of(tmp_path, BOUNDS["rows"])
    file = current(world.stores).store_path("ads", "rows")
    assert not small_world.read(file, "SELECT 1 FROM duckdb_tables() WHERE table_name LIKE 'kai_pre%'")


# --- faults -----------------------------------------------------------------------------------------------------------


class Bench:
    """A statistics store with a pre-aggregate, which is verified again after it was harmed."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder

    def findings(self, harm: str) -> str:
        order = self.world.order()
        plans = order.by_purpose["ads"]
        plan = next(plan for plan in plans if plan.access == "statistics")
        with opened_workshop(
            order.products, order.purposes, order.sources, order.as_of, order.pseudonym_key, self.folder / "s", Room()
        ) as shop:
            shop.open_sources(order.plans)
            recipes = {p: r for (access, p), r in shop.recipes("ads", plans).items() if access == "statistics"}
            rows = {product: shop.count(recipe)[None] for product, recipe in recipes.items()}
            file = self.folder / "store.duckdb"
            shop.write_store(file, recipes, lambda product: None)
            verify(shop.con, file, expected := shop.expectation(plan, recipes, rows))
            with duckdb.connect(str(file)) as con:
                con.execute(harm)
            file.chmod(0o600)
            with pytest.raises(BuildFault) as caught:
                verify(shop.con, file, expected)
        return caught.value.message


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield Bench(world_of(tmp_path / "world", BOUNDS["groups"]), tmp_path)


ONE = f"rowid = (SELECT min(rowid) FROM {TABLE})"
FULL = f"rowid = (SELECT min(rowid) FROM {TABLE} WHERE kai_rows = 2)"
TWICE = f"INSERT INTO {TABLE} SELECT * FROM {TABLE} LIMIT 1"
FAULTS = {
    "a row too many in a cell": (f"UPDATE {TABLE} SET kai_rows = 3 WHERE {FULL}", "numbers of rows"),
    "a row too few": (f"UPDATE {TABLE} SET kai_rows = 1 WHERE {FULL}", "numbers of rows"),
    "no bound on rows in a group": (
        f"UPDATE {TABLE} AS p SET kai_rows = (SELECT count(*) FROM visits v WHERE v.kai_unit = p.kai_unit"
        " AND v.page IS NOT DISTINCT FROM p.page AND v.minutes IS NOT DISTINCT FROM p.minutes)",
        "numbers of rows",
    ),
    "no bound on groups": (
        f"CREATE OR REPLACE TABLE {TABLE} AS SELECT kai_unit, page, minutes, least(count(*), 2) AS kai_rows,"
        " 100::BIGINT AS sum_paid FROM visits WHERE page IN ('home', 'shop') OR page IS NULL GROUP BY ALL",
        "other cells of its units",
    ),
    "a cell gone": (f"DELETE FROM {TABLE} WHERE {ONE}", "other cells of its units"),
    "a cell twice": (TWICE, "cells that no unit has"),
    "a cell of an undeclared key": (f"UPDATE {TABLE} SET page = 'undeclared' WHERE {ONE}", "cells that no unit has"),
    "another unit's cell": (
        f"UPDATE {TABLE} SET kai_unit = (SELECT max(kai_unit) FROM {TABLE}) + 1 WHERE {ONE}", "cells that no unit has",
    ),
    "a sum beyond its bounds": (f"UPDATE {TABLE} SET sum_paid = 4001 WHERE {FULL}", "sums of `paid`"),
    "a sum that is not that of its rows": (
        f"UPDATE {TABLE} SET sum_paid = sum_paid + 200 WHERE kai_rows = 1", "sums of `paid`",
    ),
    "a sum that is missing": (f"UPDATE {TABLE} SET sum_paid = NULL WHERE {ONE}", "sums of `paid`"),
    "a table gone": (f"DROP TABLE {TABLE}", f"`{TABLE}` has other columns than its plan"),
    "a column too many": (f"ALTER TABLE {TABLE} ADD COLUMN visit UBIGINT", "has other columns than its plan"),
    "a table too many": ("CREATE TABLE kai_pre_more AS FROM visits", "`kai_pre_more` has other columns"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_it_is_found(bench: Bench, fault: str) -> None:
    harm, finding = FAULTS[fault]
    assert finding in bench.findings(harm)
