"""Bounds found from the data: the buckets hold what plain Python counts, no unit moves them by more than one, and what
they tell bounds well enough.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, assume, given, settings
from support.bounding_world import World, questions, worlds
from support.privacy_kit import counted, parsed

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.bounding.assembling import assemble
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.bounding.counting import parts_of
from kaianalytics.privacy.bounding.forms import Bounding
from kaianalytics.privacy.bounding.found_bounds import profile_from, profile_plan
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.plan import Exact, Form, Noisy, Plan
from kaianalytics.privacy.query import StatisticsQuery
from kaianalytics.privacy.reading.keys import cells_of
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import ContributionBounds, PrivacyUnit, StatisticsColumn, StatisticsView, ValueBounds

RELAXED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def asked_of(world: World, question: str) -> tuple[StatisticsQuery, Plan]:
    try:
        query = lower(parsed(question), world.views)
        assume(any(measure.kind != "units" for measure in query.measures))
        return query, profile_plan(query)
    except QueryUnsupported:
        assume(False)
        raise


def exact_of(engine: duckdb.DuckDBPyConnection, plan: Plan) -> Exact:
    return assemble(plan, [engine.execute(statement.sql).fetchall() for statement in plan.statements])


@RELAXED
@given(worlds(most=12), questions())
def test_no_unit_moves_the_buckets_by_more_than_one(
    engine: duckdb.DuckDBPyConnection, world: World, question: str
) -> None:
    _, plan = asked_of(world, question)
    world.load(engine)
    full = exact_of(engine, plan)
    for unit, window in world.units:
        world.without(unit, window).load(engine)
        others = exact_of(engine, plan)
        for vector, ours, theirs in zip(plan.vectors, full.vectors, others.vectors, strict=True):
            moved = [a - b for a, b in zip(ours, theirs, strict=True)]
            assert sum(map(abs, moved)) <= 1 == vector.l2 == vector.linf == vector.l0


@RELAXED
@given(worlds(), questions())
def test_the_buckets_count_units_by_the_length_of_their_vectors(
    engine: duckdb.DuckDBPyConnection, world: World, question: str
) -> None:
    query, plan = asked_of(world, question)
    cells = cells_of(query)
    assume(cells is not None)
    world.load(engine)
    exact = exact_of(engine, plan)
    limit = query.source.view.contribution.l2(len(cells or ()))  # type: ignore[union-attr]  # a view about units
    parts = parts_of(query, len(cells or ()), (Fraction(limit),) * len(query.measures))
    bounding = Bounding(Form("whole", rows=1), parts, len(cells or ()), "direct")
    whole = compile_query(query)
    rows = counted(whole, bounding, world.rows(query.source.relations))
    for vector, numbers in zip(plan.vectors, exact.vectors, strict=True):
        part = parts[vector.measure]
        units: dict[Any, dict[Any, int]] = defaultdict(lambda: defaultdict(int))
        for row in rows:
            added = row.adds[vector.measure]
            if added is not None and row.cell in (cells or ()):
                units[row.customer, row.window][row.cell] += 1 if part.item else added
        squares = [sum(n * n for n in own.values()) for own in units.values()]
        edges = [(limit * (1 if part.item else part.most)) ** 2 >> i for i in range(200)]
        rising = sorted(edge for edge in edges if edge)
        places = Counter(sum(edge < square for edge in rising) for square in squares if square)
        if part.kind not in ("top", "histogram"):  # whose rows of other values are counted as well: never fewer
            assert [places[i] for i in range(vector.width)] == list(numbers)


# --- what they tell

VIEW = StatisticsView(
    "events",
    PrivacyUnit("who", "people"),
    ContributionBounds(rows=1000),
    {
        "who": StatisticsColumn("who", "string", False, identifier=True),
        "x": StatisticsColumn("x", "integer", False, bounds=ValueBounds(Decimal(0), Decimal(100))),
    },
)


def told(counts: dict[int, int], question: str, deviation: float = 0.0) -> Any:
    """The profile that the buckets tell which hold so many units."""
    query = lower(parsed(question), {"events": VIEW})
    width = profile_plan(query).vectors[0].width
    noisy = Noisy(((),), (tuple(counts.get(i, 0) for i in range(width)),))
    return query, profile_from(query, noisy, deviation)


def test_buckets_become_quantiles_in_the_measure_s_own_units() -> None:
    _, profile = told({0: 60, 6: 40}, "SELECT count(*) FROM events")
    # The limit's square, a million, halved until it is one: the first edge is 1 row, the seventh √(10⁶ / 2¹³).
    assert profile.units == 100
    assert profile.rows == ((Decimal("0.600000000"), Decimal(1)), (Decimal(1), Decimal("11.0454")))
    _, sums = told({0: 1}, "SELECT sum(x) FROM events")
    assert sums.norms[0][-1][0] == 1


def test_counts_that_may_be_noise_are_no_units() -> None:
    _, profile = told({0: 5000, 3: 900, 9: 12, 19: -30, 20: 25}, "SELECT count(*) FROM events", deviation=15.0)
    assert profile.units < 6000
    assert profile.rows[0] == (pytest.approx(Decimal("0.84"), abs=Decimal("0.01")), Decimal(1))


def test_where_nothing_is_seen_few_units_of_few_rows_are_supposed() -> None:
    query, profile = told({4: 3, 9: -8}, "SELECT count(*) FROM events", deviation=15.0)
    assert 1 < profile.units < 200
    assert profile.rows[0][1] == 1
    plan = compile_query(query, None, PrivacyLoss.of("0.001"), profile)
    assert plan.vectors[0].l2 * plan.vectors[0].step < 50  # and not the contract's 1000


def test_phantoms_far_from_the_mode_are_no_units_but_a_crowd_is() -> None:
    hump = {i: int(1000 * 0.6 ** abs(i - 5)) for i in range(12)}
    bounds = []
    for far in (0, 60, 200):
        query, profile = told(hump | {18: far}, "SELECT count(*) FROM events", deviation=20.0)
        vector = compile_query(query, None, PrivacyLoss.of("0.001"), profile).vectors[0]
        bounds.append(vector.l2 * vector.step)
    assert bounds[0] == bounds[1] < bounds[2]


def test_a_tail_is_not_taken_to_end_where_noise_hides_it() -> None:
    falling = {i: int(100_000 * 0.5**i) for i in range(20)}
    _, profile = told(falling, "SELECT count(*) FROM events", deviation=50.0)
    assert profile.rows[-1][1] > 100
    assert profile.units == pytest.approx(200_000, rel=0.01)


def test_what_was_found_bounds_below_the_contract_s_limit() -> None:
    query, profile = told({0: 90_000, 5: 9_000, 9: 1_000}, "SELECT count(*) FROM events")
    plan = compile_query(query, None, PrivacyLoss.of("0.01"), profile)
    bound = plan.vectors[0].l2 * plan.vectors[0].step
    assert 10 < bound < 100
    assert plan.clipping[0].bound == pytest.approx(bound, rel=Decimal("0.001"))
