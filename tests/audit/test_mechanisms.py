"""Every mechanism, drawn on neighbouring figures: no lower bound of ε or δ is above the claim, and none is far below.

A bound far below the claim would mean that the auditor sees nothing, or that noise is wasted.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from audit.auditor import Audit, audited, by_likelihood, probability_at_least
from audit.drawing import copies, found, likelihood
from support.plan_kit import cells, plan_of, tree, tree_counts, vector

from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.measurement import plan_noise
from kaianalytics.privacy.plan import Exact, Plan

DRAWS = 60_000
Figures = Sequence[Sequence[int]]


def hold(audits: list[Audit], part: float) -> None:
    assert not any(audit.violated for audit in audits), audits
    assert any(audit.least > part * audit.claimed for audit in audits), audits


def gaussian(plan: Plan, rho: str, with_unit: Figures, without: Figures, draws: int = DRAWS) -> list[Audit]:
    measurement = plan_noise(plan, PrivacyLoss.of(rho))
    one, two = (Exact(plan.cells or (), tuple(map(tuple, figures))) for figures in (with_unit, without))
    first, second = (likelihood(measurement, copies(measurement, exact, draws), one, two) for exact in (one, two))
    return audited(measurement.account_loss, first, second)


@pytest.mark.parametrize(("rho", "part"), [("0.05", 0.25), ("0.5", 0.45), ("2", 0.45)])
def test_counts(rho: str, part: float) -> None:
    hold(gaussian(plan_of(vector()), rho, [[1_001]], [[1_000]]), part)


def test_sums_at_their_farthest() -> None:
    plan = plan_of(vector("sum", l2=50_000, step="0.01"))
    hold(gaussian(plan, "0.5", [[10**9 - 50_000]], [[10**9]]), 0.45)


def test_two_vectors_over_four_cells_share_their_loss() -> None:
    plan = plan_of(vector(l2=2, linf=1, l0=4), vector("sum", l2=20, linf=10, l0=4), count=4)
    figures = [[5, 5, 6, 0], [70, 80, 80, 9]]
    with_unit = [[figure + more for figure in vector] for vector, more in zip(figures, (1, 10), strict=True)]
    hold(gaussian(plan, "0.5", with_unit, figures, DRAWS // 4), 0.35)


def test_trees_whose_levels_all_move() -> None:
    shape = tree(2, 4)
    plan = plan_of(vector("tree", l2=2, linf=1, l0=4, width=shape.size, tree=shape))
    values = [float(value) for value in range(0, 100, 5)]
    one, two = tree_counts(shape, [*values, 99.0]), tree_counts(shape, values)
    hold(gaussian(plan, "0.5", [one], [two], DRAWS // 12), 0.25)


def test_one_who_is_in_all_windows_loses_what_the_account_is_charged() -> None:
    plan = plan_of(vector(), windows=3)
    measurement = plan_noise(plan, PrivacyLoss.of("0.1"))
    assert measurement.account_loss == PrivacyLoss.of("0.9")
    hold(gaussian(plan, "0.1", [[103]], [[100]]), 0.45)


def test_unknown_keys() -> None:
    """The unit has a group of its own, and is one more in another: both the threshold's δ and ε are looked at."""
    plan = plan_of(vector("units", l2=2, linf=1, l0=2), unknown=True)
    measurement = plan_noise(plan, PrivacyLoss.of("0.5"), delta=Decimal("0.001"))
    one, two = Exact(cells(2), ((30, 1),)), Exact(cells(2)[:1], ((29,),))
    drawn = [found(measurement, exact, DRAWS // 2) for exact in (one, two)]
    alone = int(drawn[0].shown[:, 1].sum())
    least = probability_at_least(alone, DRAWS // 2)
    assert least <= float(measurement.loss.delta)
    first, second = ((np.nan_to_num(each.figures[0][:, 0])) for each in drawn)
    assert not any(audit.violated for audit in audited(measurement.loss, first, second))


def test_top_values() -> None:
    """Scores that differ by the most one unit may add, in one or in several of them."""
    plan = plan_of(vector("top", width=3, linf=2, l2=2))
    measurement = plan_noise(plan, PrivacyLoss.of("0.5"))
    for one, two in (((12, 10, 10), (10, 10, 10)), ((12, 12, 10), (10, 12, 10))):
        drawn = [copies(measurement, Exact(plan.cells or (), (scores,)), DRAWS // 10)[0] for scores in (one, two)]
        outcomes = [[tuple(row) for row in rows.tolist()] for rows in drawn]
        audits = audited(measurement.loss, *by_likelihood(*outcomes))
        assert not any(audit.violated for audit in audits)
        assert max(audit.least for audit in audits) > 0.1
