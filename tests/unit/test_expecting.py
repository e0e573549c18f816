"""What bounds are expected to cost: profiles become typical units, filters a share, and choices near the best one."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from support.privacy_kit import parsed

from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.bounding.predicting import Spread, capped, excess, seen, shortened
from kaianalytics.privacy.bounding.selecting import selected
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import (
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    Profile,
    Quantiles,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)

SKEWED: Quantiles = tuple((Decimal(s), Decimal(v)) for s, v in (("0.5", 40), ("0.9", 210), ("0.99", 700), ("1", 8000)))
EVEN: Quantiles = ((Decimal(1), Decimal(100)),)


def view(rows: Quantiles = (), **totals: Quantiles) -> StatisticsView:
    columns = (
        StatisticsColumn("who", "string", identifier=True),
        StatisticsColumn("place", "string", False, domain=KeyDomain("place", "string", ("a", "b", "c", "d"))),
        StatisticsColumn("flag", "boolean", False),
        StatisticsColumn("word", "string"),
        StatisticsColumn("paid", "integer", False, bounds=ValueBounds(Decimal(0), Decimal(100))),
    )
    profile = Profile(4000, rows, totals) if rows or totals else None
    named = {column.name: column for column in columns}
    return StatisticsView(
        "visits", PrivacyUnit("who", "people"), ContributionBounds(rows=8000), named, rank="", profile=profile
    )


def test_typical_units_have_the_mean_of_their_quantiles() -> None:
    assert Spread.of(EVEN, 1000).mean() == pytest.approx(50, rel=0.02)
    assert Spread.of(SKEWED, 4000).shares.sum() == pytest.approx(1)
    # Evenly spread, the last hundredth alone would add (700 + 8000) / 2 / 100 = 43 rows to the mean.
    tail = excess(Spread.of(SKEWED, 4000), 700)
    assert 3 < tail < 15


def test_cutting_never_leaves_more_than_there_was() -> None:
    for total in (0.5, 1.0, 3.0, 40.0, 5000.0):
        for bound in (1, 5, 1000):
            assert 0 <= shortened(total, bound, 8) <= total
            assert 0 <= capped(total, bound, 3, 8) <= total
            assert 0 <= seen(total, bound, 8) <= max(min(total, 8), 1)


def test_a_unit_over_several_cells_loses_less_to_a_norm_than_to_a_bound_on_rows() -> None:
    assert shortened(100, 50, 1) == pytest.approx(50)
    assert shortened(100, 50, 16) > 50


def test_thinning_keeps_the_mean() -> None:
    spread = Spread.of(SKEWED, 4000)
    assert spread.thinned(0.01).mean() == pytest.approx(spread.mean() * 0.01)
    assert spread.thinned(0.01).totals.min() >= 1


@pytest.mark.parametrize(
    ("condition", "share"),
    [
        ("place = 'a'", 0.25),
        ("place <> 'a'", 0.75),
        ("place IN ('a', 'b')", 0.5),
        ("flag", 0.5),
        ("flag AND place = 'a'", 0.125),
        ("flag OR place = 'a'", 0.625),
        ("NOT place = 'a'", 0.75),
        ("paid >= 75", 0.25),
        ("25 > paid", 0.25),
        ("paid + 1 > 5", 1 / 3),
    ],
)
def test_a_filter_is_guessed_from_public_facts(condition: str, share: float) -> None:
    query = lower(parsed(f"SELECT count(*) FROM visits WHERE {condition}"), {"visits": view()})
    assert selected(query) == pytest.approx(share)


def chosen(sql: str, asked: StatisticsView, rho: str = "0.01") -> list[float]:
    plan = compile_query(lower(parsed(sql), {"visits": asked}), loss=PrivacyLoss.of(rho))
    return [float(vector.l2 * vector.step) for vector in plan.vectors]


def test_without_a_profile_nothing_is_cut_below_the_contract() -> None:
    assert chosen("SELECT count(*) FROM visits", view()) == [8000]


def test_with_a_profile_a_bound_near_the_best_one_is_chosen() -> None:
    (bound,) = chosen("SELECT count(*) FROM visits", view(SKEWED))
    spread, rho = Spread.of(SKEWED, 4000), 0.01

    def off(bound: float) -> float:
        return math.hypot(bound / math.sqrt(2 * rho), 4000 * excess(spread, bound))

    assert off(bound) <= 1.1 * min(off(limit) for limit in range(50, 8001, 10))
    assert off(bound) < off(8000) / 2


def test_a_narrow_filter_and_more_cells_lower_the_bound() -> None:
    (whole,) = chosen("SELECT count(*) FROM visits", view(SKEWED))
    (filtered,) = chosen("SELECT count(*) FROM visits WHERE place = 'a' AND flag", view(SKEWED))
    by_place = chosen("SELECT place, count(*) FROM visits GROUP BY place", view(SKEWED))[0]
    assert filtered < whole / 3
    assert by_place < whole


def test_rows_that_a_store_numbers_are_not_cut_to_as_few_as_a_filter_leaves() -> None:
    """Their ranks were given before the filter: of the first ten rows it leaves no more than of all."""
    question = "SELECT word, count(*) FROM visits WHERE place = 'a' AND flag GROUP BY word"  # keys that nobody knows
    own, stored = (chosen(question, replace(view(SKEWED), rank=rank), "1")[0] for rank in ("", "kai_rank"))
    whole = chosen("SELECT word, count(*) FROM visits GROUP BY word", replace(view(SKEWED), rank="kai_rank"), "1")[0]
    assert own < whole / 2 < whole <= stored


def test_the_parts_of_a_mean_are_bounded_for_the_mean_and_not_for_a_count() -> None:
    count = chosen("SELECT count(paid) FROM visits", view(SKEWED))[0]
    mean = chosen("SELECT avg(paid) FROM visits", view(SKEWED))
    both = chosen("SELECT count(paid), avg(paid) FROM visits", view(SKEWED))
    assert max(mean[0], mean[1] / 50) < count / 4
    assert min(mean) < min(both)
