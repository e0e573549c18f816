"""Error bars hold what they say: real noise, thousands of draws of one true answer, and how often the bar reaches it.

5,000 cells with the same true figures are 5,000 independent draws. A bar that covers 95% covers less than 93.4% of them
about once in a million runs; to be of use, it may not cover nearly all either, where the formula should be tight.
"""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from support.plan_kit import figure, mean, plan_of, vector

from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.answer import AnswerTable, answer
from kaianalytics.privacy.measuring.measurement import plan_noise
from kaianalytics.privacy.plan import Exact
from kaianalytics.privacy.query import After, Apply, Number, Of

DRAWS = 5_000
ROWS, SUM, SQUARES = 0, 1, 2
RATIO = Apply("/", (Of(SUM), Of(ROWS)))
VARIANCE = Apply("-", (Apply("/", (Of(SQUARES), Of(ROWS))), Apply("*", (RATIO, RATIO))))


def drawn(after: After, rows: int, total: int, squares: int, rho: str = "0.03") -> AnswerTable:
    """One figure in 5,000 cells; one unit moves rows by 1, sums of values in ±50 by 50, of squares by 2,500."""
    vectors = vector(), vector("sum", l2=50), vector("sum", l2=2_500)
    plan = plan_of(*vectors, count=DRAWS, select=[figure("f", after, "ratio")])
    exact = Exact(plan.cells or (), ((rows,) * DRAWS, (total,) * DRAWS, (squares,) * DRAWS))
    measurement = plan_noise(plan, PrivacyLoss.of(rho))
    return answer(plan, measurement, measurement.release(exact))


def covered(table: AnswerTable, true: float) -> float:
    found = [(row[1], margin[1]) for row, margin in zip(table.rows, table.margins, strict=True) if row[1] is not None]
    assert len(found) > 0.98 * DRAWS
    return sum(abs(float(value) - true) <= margin for value, margin in found) / len(found)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [60, 200, 5_000])
@pytest.mark.parametrize("average", [-35, 0, 45])
def test_means(rows: int, average: int) -> None:
    table = drawn(mean(SUM, ROWS, "50"), rows, average * rows, 0)
    assert 0.934 <= covered(table, 50 + average) <= 0.985


@pytest.mark.parametrize(
    ("after", "true", "most"),
    [
        (Of(ROWS), 300, 0.985),
        (Apply("+", (Of(ROWS), Of(ROWS))), 600, 0.985),
        (Apply("-", (Of(SUM), Apply("*", (Of(ROWS), Number(Decimal(20)))))), 0, 0.985),
        (Apply("/", (Of(SUM), Apply("+", (Of(SUM), Of(ROWS))))), 20 / 21, 0.985),  # the noise in both is shared
        (VARIANCE, 225, 0.995),
        (Apply("sqrt", (VARIANCE,)), 15, 0.998),
        (Apply("sqrt", (Of(ROWS),)), math.sqrt(300), 0.985),
        (Apply("*", (Of(ROWS), Of(SUM))), 300 * 6_000, 0.99),
        (Apply("greatest", (Of(SUM), Number(Decimal(0)))), 6_000, 0.985),
        (Apply("round", (RATIO, Number(Decimal(0)))), 20, 1.0),
        (Apply("abs", (Of(SUM),)), 6_000, 0.985),
    ],
)
def test_arithmetic(after: After, true: float, most: float) -> None:
    table = drawn(after, 300, 20 * 300, (225 + 400) * 300)
    assert 0.934 <= covered(table, true) <= most


@pytest.mark.parametrize("rho", ["10", "3", "0.8"])
def test_where_the_noise_is_a_few_whole_steps(rho: str) -> None:
    for after in (Of(ROWS), Apply("+", (Of(ROWS), Number(Decimal(1))))):
        true = 300 + (after != Of(ROWS))
        assert covered(drawn(after, 300, 0, 0, rho), true) >= 0.934


def test_a_clamp_is_no_more_certain_than_what_it_clamps() -> None:
    table = drawn(Apply("greatest", (Of(SUM), Number(Decimal(0)))), 300, 0, 0)
    assert covered(table, 0) >= 0.934
    assert all(margin[1] > 100 for margin in table.margins)  # type: ignore[operator]


def test_with_few_rows_behind_it_a_mean_is_missing_or_its_bar_still_holds() -> None:
    table = drawn(mean(SUM, ROWS), 27, 30 * 27, 0)
    found = [(row[1], margin[1]) for row, margin in zip(table.rows, table.margins, strict=True) if row[1] is not None]
    assert 0.2 * DRAWS < len(found) < 0.9 * DRAWS
    missed = sum(abs(value - 30) > margin for value, margin in found)  # type: ignore[operator]
    assert missed < 0.066 * DRAWS


def test_a_planted_fault_is_seen_a_bar_without_the_noise_of_the_denominator() -> None:
    table = drawn(mean(SUM, ROWS), 200, 45 * 200, 0)
    deviation = plan_noise(plan_of(vector("sum", l2=50)), PrivacyLoss.of("0.01")).noises[0].bar.deviation
    short = sum(abs(row[1] - 45) <= 1.96 * deviation / 200 for row in table.rows)  # type: ignore[operator]
    assert short < 0.90 * DRAWS
