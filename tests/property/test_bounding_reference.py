"""The compiled SQL in the real engine against a few lines of Python, and against its own promise of sensitivity.

Tables, contracts, bounds and questions are random, joins, windows and unknown keys among them; questions are texts,
read by DuckDB's parser and lowered by the engine's own rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from support.bounding_world import World, asked_bounds, compiled, exact_of, questions, worlds
from support.privacy_kit import counted, expected

from kaianalytics.privacy.plan import Cell, Exact, Plan

RELAXED = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


@RELAXED
@given(worlds(), questions(), asked_bounds)
def test_the_engine_s_answer_is_the_reference_s(
    engine: duckdb.DuckDBPyConnection, world: World, question: str, asked: dict[str, Any] | None
) -> None:
    plan, bounding = compiled(world, question, asked)
    event(f"{plan.form.kind}, {bounding.way}, {'known' if plan.cells else 'unknown'} cells")
    event(f"{len(plan.windows)} windows, {len(plan.query.source.joins)} joins, {len(plan.statements)} statements")
    world.load(engine)
    exact = exact_of(engine, plan)
    rows = counted(plan, bounding, world.rows(plan.query.source.relations))
    assert list(exact.vectors) == expected(plan, bounding, rows, exact.cells)


@RELAXED
@given(worlds(), questions(), asked_bounds)
def test_which_units_are_looked_at_changes_nothing(
    engine: duckdb.DuckDBPyConnection, world: World, question: str, asked: dict[str, Any] | None
) -> None:
    """Units that may be over their bound are found first; to look at all of them gives the same figures."""
    plan, _ = compiled(world, question, asked)
    all_units = "JOIN (SELECT u FROM r) AS heavy USING"
    looked = tuple(replace(s, sql=s.sql.replace("JOIN heavy USING", all_units)) for s in plan.statements)
    assume(looked != plan.statements)
    world.load(engine)
    found = [exact_of(engine, each) for each in (replace(plan, statements=looked), plan)]
    assert by_cell(plan, found[0]) == by_cell(plan, found[1])  # cells that were found come in no order


def by_cell(plan: Plan, exact: Exact) -> dict[Cell, tuple[tuple[int, ...], ...]]:
    """The figures of each cell, vector by vector."""
    widths = [vector.width for vector in plan.vectors]
    return {
        cell: tuple(
            figures[place * width : (place + 1) * width] for figures, width in zip(exact.vectors, widths, strict=True)
        )
        for place, cell in enumerate(exact.cells)
    }
