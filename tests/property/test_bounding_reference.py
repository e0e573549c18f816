"""The compiled SQL in the real engine against a few lines of Python, and against its own promise of sensitivity.

Tables, contracts, bounds and questions are random, joins, windows and unknown keys among them; questions are texts,
read by DuckDB's parser and lowered by the engine's own rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, event, given, settings
from support.bounding_world import World, asked_bounds, compiled, exact_of, questions, worlds
from support.privacy_kit import counted, expected

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
