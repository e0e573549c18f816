"""Our sensitivities beside OpenDP's own, on tiny cases.

OpenDP's Polars path is no part of this environment: opendp 0.16.0 reads the plans of polars 1.36.1 and no other
("Installed python polars version != expected version"), and the project uses a newer one. So what its `Context` says
stands here as it was told in an environment with opendp[polars] == 0.16.0, by `opendp_context.py` beside this file,
which tells it again. OpenDP's core transformations are asked at once.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from opendp.domains import atom_domain, vector_domain
from opendp.metrics import symmetric_distance
from opendp.mod import enable_features
from opendp.transformations import make_count_by_categories, make_sum
from support.privacy_kit import parsed

from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.plan import Vector
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import (
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)

CASES = json.loads(Path(__file__).with_name("opendp_context.json").read_text(encoding="utf-8"))
CELLS = 50  # more than any bound on groups: where there are fewer cells, ours are tighter


def vector_of(bounds: dict[str, int], values: list[int] | None, asked: dict[str, int] | None = None) -> Vector:
    """The vector of a count, or of a sum of values between two, in 50 cells."""
    low, high = values or (0, 1)
    columns = (
        StatisticsColumn("who", "string", False, identifier=True),
        StatisticsColumn("k", "integer", False, domain=KeyDomain("k", "integer", tuple(range(CELLS)))),
        StatisticsColumn("v", "integer", True, bounds=ValueBounds(Decimal(low), Decimal(high))),
    )
    contribution = ContributionBounds(**bounds)
    view = StatisticsView("events", PrivacyUnit("who", "people"), contribution, {c.name: c for c in columns})
    figure = "count(*)" if values is None else "sum(v)"
    query = lower(parsed(f"SELECT k, {figure} FROM events GROUP BY k"), {"events": view})
    return compile_query(query, BoundsAsked.of(asked)).vectors[0]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_unit_moves_our_vectors_as_far_as_opendp_says_it_does(case: dict[str, Any]) -> None:
    vector = vector_of(case["bounds"], case["values"])
    assert float(vector.l2 * vector.step) == pytest.approx(case["l2"], rel=2e-3, abs=5e-4)


@pytest.mark.parametrize("values", [(0, 5), (-3, 5), (-9, 2), (2, 5)])
@pytest.mark.parametrize("rows", [1, 7, 100])
def test_rows_move_a_sum_and_counts_as_opendp_s_transformations_say(rows: int, values: tuple[int, int]) -> None:
    enable_features("contrib")
    total = make_sum(vector_domain(atom_domain(T="i32", bounds=values)), symmetric_distance())
    assert vector_of({"rows": rows}, list(values)).l2 == total.map(rows)
    counts = make_count_by_categories(
        vector_domain(atom_domain(T="i32")), symmetric_distance(), list(range(CELLS)), MO="L2Distance<f64>"
    )
    assert vector_of({"rows": rows}, None).l2 == counts.map(rows)
