"""The norm of a unit's part is at most T, exactly, for whole numbers of any size; and hardly less where it was cut."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from math import sqrt

import duckdb
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.privacy_kit import parsed

from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.bounding.assembling import assemble
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import (
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)

LARGEST = 2**31 - 1
VIEW = StatisticsView(
    "events",
    PrivacyUnit("who", "people"),
    ContributionBounds(rows=10**6),
    {
        "who": StatisticsColumn("who", "string", False, identifier=True),
        "k": StatisticsColumn("k", "integer", False, domain=KeyDomain("k", "integer", tuple(range(8)))),
        "x": StatisticsColumn("x", "integer", False, bounds=ValueBounds(Decimal(-LARGEST), Decimal(LARGEST))),
    },
)
sizes = st.one_of(st.integers(-LARGEST, LARGEST), st.integers(-9, 9), st.sampled_from([0, 1, -1, LARGEST, -LARGEST]))


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 7), sizes), min_size=1, max_size=30), st.decimals("0.001", "1", places=6))
def test_a_norm_is_kept_to_the_last_digit(
    engine: duckdb.DuckDBPyConnection, rows: list[tuple[int, int]], norm: Decimal
) -> None:
    query = lower(parsed("SELECT k, sum(x) FROM events GROUP BY k"), {"events": VIEW})
    plan = compile_query(query, BoundsAsked.of({"norm": str(norm)}))
    keys, values = zip(*rows, strict=True)
    columns = "'u' AS who, unnest(?::INTEGER[]) AS k, unnest(?::BIGINT[]) AS x"
    engine.execute(f"CREATE OR REPLACE TABLE events AS SELECT {columns}", [keys, values])
    ((*figures,),) = assemble(plan, [engine.execute(plan.statements[0].sql).fetchall()]).vectors
    (vector,) = plan.vectors
    totals = [sum(value for key, value in rows if key == k) / vector.step for k in range(8)]
    square = sum(total**2 for total in totals)
    assert sum(figure**2 for figure in figures) <= vector.l2**2
    if square <= vector.l2**2:
        assert figures == totals
    elif max(map(abs, totals)) < 3 * 10**9:  # a larger part is capped before its norm is taken
        assume(square)
        scaled = [float(total) * vector.l2 / sqrt(float(square)) for total in totals]
        assert all(abs(a - b) <= 2 for a, b in zip(figures, scaled, strict=True))
