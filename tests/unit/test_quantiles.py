"""Quantiles of noisy trees: the estimate is exact least squares, its variances are exact, its intervals hold."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import opendp.prelude as dp
import pytest
from support.plan_kit import plan_of, tree, tree_counts, vector

from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.measurement import plan_noise
from kaianalytics.privacy.measuring.quantiles import Quantile, _spreads, consistent, expected_half_width
from kaianalytics.privacy.plan import Exact, Tree

SHAPES = [(2, 1), (2, 4), (3, 3), (16, 2), (5, 1)]


def sums_of_leaves(shape: Tree) -> np.ndarray:
    """One row for each node: which leaves it is the sum of."""
    rows = []
    for level in range(1, shape.levels + 1):
        nodes = shape.branching**level
        rows.append(np.kron(np.eye(nodes), np.ones(shape.leaves // nodes)))
    return np.vstack(rows)


@pytest.mark.parametrize(("branching", "levels"), SHAPES)
def test_leaves_are_the_least_squares_of_all_counts(branching: int, levels: int) -> None:
    shape = tree(branching, levels)
    noisy = np.random.default_rng(levels).normal(0, 10, shape.size)
    best, *_ = np.linalg.lstsq(sums_of_leaves(shape), noisy, rcond=None)
    assert consistent(shape, noisy, 10.0).counts == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize(("branching", "levels"), [(2, 4), (3, 2)])
def test_leaves_agree_with_opendp_s_consistency_of_one_tree(branching: int, levels: int) -> None:
    """OpenDP's tree has a root, which ours has not: below each of our roots there is one of theirs."""
    dp.enable_features("contrib")
    shape, below = tree(branching, levels), tree(branching, levels - 1)
    noisy = np.random.default_rng(3).integers(-50, 50, shape.size)
    theirs = dp.t.make_consistent_b_ary_tree(branching_factor=branching, TIA="i64", TOA="f64")
    found = []
    for root in range(branching):
        nodes, start = [noisy[root]], branching
        for level in range(1, below.levels + 1):
            width = branching**level
            nodes.extend(noisy[start + root * width : start + (root + 1) * width])
            start += branching ** (level + 1)
        found.extend(theirs(np.array(nodes, dtype=np.int64)))
    assert consistent(shape, noisy.astype(float), 1.0).counts == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize(("branching", "levels"), SHAPES)
def test_variances_of_leading_leaves_are_exact(branching: int, levels: int) -> None:
    shape = tree(branching, levels)
    design = sums_of_leaves(shape)
    covariance = np.linalg.inv(design.T @ design)
    leading = np.vstack([np.zeros(shape.leaves), np.tril(np.ones((shape.leaves, shape.leaves)))])
    spreads, every = _spreads(shape), np.ones(shape.leaves)
    assert spreads.leading == pytest.approx(np.diag(leading @ covariance @ leading.T), abs=1e-9)
    assert spreads.shared == pytest.approx(leading @ covariance @ every, abs=1e-9)
    assert spreads.total == pytest.approx(every @ covariance @ every)


def test_without_noise_quantiles_are_those_of_the_values_to_within_a_leaf() -> None:
    values = np.random.default_rng(1).gamma(2.0, 12.0, 5_001)
    shape = tree(4, 5)
    leaves = consistent(shape, np.array(tree_counts(shape, values)), 0.0)
    assert leaves.total == 5_001
    for fraction in (0.001, 0.25, 0.5, 0.9, 0.99):
        found, true = leaves.quantile(fraction), float(np.quantile(np.minimum(values, 100), fraction))
        assert isinstance(found, Quantile)
        assert found.low - 1e-9 <= true <= found.high + 1e-9
        assert found.value == pytest.approx(true, abs=100 / shape.leaves)


def draws(shape: Tree, values: np.ndarray, rho: str, count: int) -> list[Quantile | None]:
    counts = tree_counts(shape, values)
    plan = plan_of(vector("tree", l2=math.isqrt(shape.levels - 1) + 1, width=shape.size, tree=shape), count=count)
    measurement = plan_noise(plan, PrivacyLoss.of(rho))
    (noisy,) = measurement.release(Exact(plan.cells or (), (counts * count,))).vectors
    rows = np.array(noisy, dtype=float).reshape(count, shape.size)
    return [consistent(shape, row, measurement.noises[0].bar.deviation).quantile(0.5) for row in rows]


@pytest.mark.parametrize("kind", ["smooth", "two heaps", "few values"])
def test_intervals_hold_the_true_median(kind: str) -> None:
    """600 draws: at 95% fewer than 555 would happen about once in 10⁶ runs, and all the sets are conservative."""
    generator = np.random.default_rng(7)
    values = {
        "smooth": generator.gamma(2.0, 10.0, 2_000),
        "two heaps": np.concatenate([generator.normal(20, 2, 1_000), generator.normal(80, 2, 1_000)]),
        "few values": generator.choice([3.0, 10.0, 11.0, 90.0], 2_000, p=[0.2, 0.25, 0.25, 0.3]),
    }[kind]
    true = float(np.quantile(values, 0.5))
    found = draws(tree(4, 4), values, "0.02", 600)
    assert all(one is not None for one in found)
    inside = sum(one.low <= true <= one.high for one in found if one)
    assert inside >= 555
    assert sum(abs(one.value - true) <= one.half_width for one in found if one) >= inside
    if kind == "smooth":
        error = math.sqrt(sum((one.value - true) ** 2 for one in found if one) / 600)
        assert error < np.mean([one.half_width for one in found if one]) < 4 * error + 2 * 100 / 256


def test_where_noise_hides_everything_there_is_no_quantile() -> None:
    assert draws(tree(4, 3), np.zeros(0), "0.01", 200).count(None) > 150
    assert draws(tree(4, 3), np.array([50.0] * 3), "0.001", 100).count(None) > 70


def test_quantiles_of_one_tree_never_cross() -> None:
    shape, generator = tree(4, 4), np.random.default_rng(5)
    counts = np.array(tree_counts(shape, generator.gamma(2.0, 10.0, 300)), dtype=float)
    for _ in range(200):
        leaves = consistent(shape, counts + generator.normal(0, 12, shape.size), 12.0)
        found = [one.value for f in (0.1, 0.25, 0.5, 0.75, 0.9) if (one := leaves.quantile(f))]
        assert found == sorted(found)


def test_the_expected_half_width_is_about_that_of_evenly_spread_values() -> None:
    shape = tree(4, 5)
    values = np.linspace(0.01, 99.99, 20_000)
    found = [one.half_width for one in draws(shape, values, "0.01", 40) if one]
    plan = plan_of(vector("tree", l2=3, width=shape.size, tree=shape))
    (noise,) = plan_noise(plan, PrivacyLoss.of("0.01")).noises
    told = expected_half_width(shape, 0.5, noise.bar.deviation, 20_000)
    assert 0.6 * told < np.mean(found) < told
    assert expected_half_width(shape, 0.5, 1e9, 10) == 100  # never more than the range
    assert shape.upper == Decimal(100)
