"""Quantiles from the noisy counts of a tree, with intervals that count all of its noise. Nothing here costs anything.

Laws: it is arithmetic on released numbers and on the public shape of the tree; the interval is the set of leaves that
the noise does not rule out, so that it holds the quantile of the bounded values with at least the stated probability;
where it rules out nothing, there is no quantile rather than a guess.

The counts of a tree repeat one another: a node is the sum of its children. `consistent` gives the leaves by exact least
squares (Hay, Rastogi, Miklau and Suciu 2010, section 4), for a forest, since the root's own count is not measured: the
children of the root are the roots of independent trees. `_spreads` gives the variance of every sum of leading leaves
under that same estimate, exactly: by adding one node's observation at a time, each a step of a Kalman filter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kaianalytics.privacy.plan import Tree

Z95 = 1.959964  # two-sided 95% of the Gaussian, rounded up

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Quantile:
    """An estimate, and the 95% interval that the noise leaves."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """The farther end of the interval."""
        return max(self.value - self.low, self.high - self.value)


@dataclass(frozen=True)
class Leaves:
    """The consistent counts of a cell's leaves, and the deviation of the noise in one number of the tree."""

    shape: Tree
    counts: Numbers
    deviation: float

    @property
    def total(self) -> float:
        """How many values there are, noisily."""
        return float(self.counts.sum())

    @property
    def total_deviation(self) -> float:
        """The deviation of the noise in that."""
        return self.deviation * float(np.sqrt(_spreads(self.shape).total))

    def quantile(self, fraction: float) -> Quantile | None:
        """The value below which this fraction lies; None where the noise could hide it anywhere."""
        if self.total <= Z95 * self.total_deviation:
            return None
        edges = np.concatenate([[0.0], np.cumsum(self.counts)])
        excess = edges - fraction * self.total  # zero at the quantile, but for the noise
        # One more: a quantile between two rows is told as lying anywhere between them.
        reach = Z95 * self.deviation * _deviations(self.shape, fraction) + 1
        possible = np.flatnonzero((excess[:-1] <= reach[:-1]) & (excess[1:] >= -reach[1:]))
        low, high = float(possible[0]), float(possible[-1] + 1)
        if high - low >= self.shape.leaves:
            return None
        place = (_crossing(excess) + self.shape.leaves - _crossing(-excess[::-1])) / 2
        return Quantile(*(_at(self.shape, leaf) for leaf in (place, low, high)))


def consistent(shape: Tree, counts: Numbers, deviation: float) -> Leaves:
    """The leaves by least squares over all levels; `counts` level by level, as the plan has them."""
    b, levels = shape.branching, _split(shape, counts)
    sums = [levels[-1]]  # from the leaves up: what each node's own tree says of it
    for height, level in enumerate(reversed(levels[:-1]), start=2):
        own, children = (b**height - b ** (height - 1)) / (b**height - 1), sums[0].reshape(-1, b).sum(axis=1)
        sums.insert(0, own * level + (1 - own) * children)
    estimate = sums[0]
    for below in sums[1:]:  # from the roots down: what is left over is shared by the children
        spare = estimate - below.reshape(-1, b).sum(axis=1)
        estimate = below + np.repeat(spare / b, b)
    return Leaves(shape, estimate, deviation)


def expected_half_width(shape: Tree, fraction: float, deviation: float, rows: float) -> float:
    """The half-width of a quantile of `rows` values that are spread evenly over the range, wherever it falls."""
    width = float(shape.upper - shape.lower)
    share = (Z95 * deviation * float(_deviations(shape, fraction).max()) + 1) / rows
    return min(width * (share + 1 / shape.leaves), width)


@dataclass(frozen=True)
class _Spreads:
    """For noise of variance 1: the variance of each sum of leading leaves, its covariance with all, and all's own."""

    leading: Numbers
    shared: Numbers
    total: float


@lru_cache(maxsize=64)
def _spreads(shape: Tree) -> _Spreads:
    """Let P be a sum of leading leaves in a tree and S the sum of all, both by what is below the root.

    Observing the root, y = S + noise, turns P into P + c·(y − S) with c = cov(P, S) / (1 + var S): a Kalman step.
    """
    leading, shared, own = np.array([0.0, 1.0]), np.array([0.0, 1.0]), 1.0  # a tree of one leaf, observed
    for _ in range(shape.levels - 1):
        leading, shared, total = _side_by_side(leading, shared, own, shape.branching)
        leading, shared, own = leading - shared**2 / (1 + total), shared / (1 + total), total / (1 + total)
    return _Spreads(*_side_by_side(leading, shared, own, shape.branching))


def _side_by_side(leading: Numbers, shared: Numbers, own: float, trees: int) -> tuple[Numbers, Numbers, float]:
    """The same for independent trees in a row: whole trees before, and a part of one."""
    before = own * np.repeat(np.arange(trees), len(leading) - 1)
    leading = np.append(before + np.tile(leading[:-1], trees), trees * own)
    shared = np.append(before + np.tile(shared[:-1], trees), trees * own)
    return leading, shared, trees * own


@lru_cache(maxsize=256)
def _deviations(shape: Tree, fraction: float) -> Numbers:
    """The deviation, for noise of variance 1, of what leading leaves hold beyond `fraction` of all."""
    spreads = _spreads(shape)
    variance = spreads.leading - 2 * fraction * spreads.shared + fraction**2 * spreads.total
    return np.sqrt(np.maximum(variance, 0.0))


def _split(shape: Tree, counts: Numbers) -> list[Numbers]:
    ends = np.cumsum([shape.branching**level for level in range(1, shape.levels)])
    return np.split(np.asarray(counts, dtype=np.float64), ends)


def _crossing(excess: Numbers) -> float:
    """Where, in leaves, the excess first comes to zero, with the rows of a leaf spread evenly over it."""
    place = int(np.argmax(excess >= 0))
    if place == 0:
        return 0.0
    return place - float(excess[place] / (excess[place] - excess[place - 1]))


def _at(shape: Tree, leaf: float) -> float:
    return float(shape.lower) + float(shape.upper - shape.lower) * leaf / shape.leaves
