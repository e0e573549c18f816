"""The compiled SQL in the real engine against a few lines of Python, and against its own promise of sensitivity.

Tables, contracts, bounds and questions are random, joins, windows and unknown keys among them; questions are texts,
read by DuckDB's parser and lowered by the engine's own rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from support.bounding_world import World, asked_bounds, questions, worlds
from support.privacy_kit import counted, expected, parsed

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.asked import BoundsAsked
from kaianalytics.privacy.assembling import assemble
from kaianalytics.privacy.bounding import compile_query
from kaianalytics.privacy.choosing import Facts, choose
from kaianalytics.privacy.forms import Bounding
from kaianalytics.privacy.lowering import lower
from kaianalytics.privacy.plan import Exact, Plan

RELAXED = settings(
    max_examples=2500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
ANSWERABLE = {"NO_CELLS", "BOUNDS_LOOSER", "BOUNDS_FORM", "WINDOWS_NONE", "BOUNDS_TOO_WIDE"}


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


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


def answer(engine: duckdb.DuckDBPyConnection, plan: Plan) -> Exact:
    return assemble(plan, [engine.execute(statement.sql).fetchall() for statement in plan.statements])


@RELAXED
@given(worlds(), questions(), asked_bounds)
def test_the_engine_s_answer_is_the_reference_s(
    engine: duckdb.DuckDBPyConnection, world: World, question: str, asked: dict[str, Any] | None
) -> None:
    plan, bounding = compiled(world, question, asked)
    event(f"{plan.form.kind}, {bounding.way}, {'known' if plan.cells else 'unknown'} cells")
    event(f"{len(plan.windows)} windows, {len(plan.query.source.joins)} joins, {len(plan.statements)} statements")
    world.load(engine)
    exact = answer(engine, plan)
    rows = counted(plan, bounding, world.rows(plan.query.source.relations))
    assert list(exact.vectors) == expected(plan, bounding, rows, exact.cells)
