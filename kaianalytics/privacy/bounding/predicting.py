"""The error that a bound is expected to have: the noise it needs, and the bias of what it cuts away.

Laws: a prediction is made from public facts alone (the bound, the asked loss, a profile), before data is read; it
decides which bound is chosen and nothing of what the bound guarantees, so that it may be rough, and a profile wrong.

A profile's quantiles become a few dozen typical units. Between two quantiles the share of units above a total falls as
a power of the total, as it does for the skewed totals of people: evenly spread totals would make the mean of the last
hundredth several times too large. A unit of n rows is taken to be in √n cells, so that its norm is below its total.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kaianalytics.privacy.unit import Quantiles

Numbers = NDArray[np.float64]
Amount = Numbers | float

_GRID = 40  # bounds that are tried below the limit, each smaller by √2
_PER_PIECE = 8  # typical units between two quantiles
_NOTHING = 1e-9


@dataclass(frozen=True, eq=False)
class Spread:
    """Typical units: which share of all units has a total like theirs, in all at most 1, and how large it is."""

    units: int
    shares: Numbers
    totals: Numbers

    @classmethod
    def of(cls, quantiles: Quantiles, units: int) -> Spread:
        """The typical units of a profile's quantiles."""
        return cls(units, *_points(quantiles, units))

    def thinned(self, kept: float, least: float = 1.0) -> Spread:
        """The same units where a row passes a filter with this chance, which leaves those below `least` with none."""
        if kept >= 1:
            return self
        left = self.totals * kept
        shares = self.shares * np.minimum(left / least, 1.0)
        return Spread(self.units, shares, np.maximum(left, least))

    def times(self, factor: float) -> Spread:
        """The same units with totals so many times as large."""
        return Spread(self.units, self.shares, self.totals * factor)

    def average(self, values: Numbers) -> Numbers:
        """The average over units of what is told for each typical one, along the last axis; nothing without rows."""
        averages: Numbers = np.sum(self.shares * values, axis=-1)
        return averages

    def mean(self) -> float:
        """The average total."""
        return float(self.average(self.totals))


def excess(spread: Spread, bound: float) -> float:
    """E[(X − bound)⁺]: how much of a unit's total lies above the bound, on average over all units."""
    return float(spread.average(np.maximum(spread.totals - bound, 0.0)))


def share_above(quantiles: Quantiles, bound: float, units: int) -> float:
    """The share of units whose total is above the bound."""
    shares, totals = _points(quantiles, units)
    return float(np.sum(shares[totals > bound]))


def in_cells(total: Amount, cells: int) -> Numbers:
    """In how many cells a unit of so many rows is taken to be."""
    root: Numbers = np.sqrt(np.clip(total, 1.0, max(cells, 1)))
    return root


def shortened(total: Amount, norm: Amount, cells: int) -> Numbers:
    """How much of a unit's total is left when its vector over the cells is scaled down to a norm."""
    length = total / np.sqrt(in_cells(total, cells))
    return total * np.minimum(norm / np.maximum(length, _NOTHING), 1.0)


def capped(total: Amount, groups: int, rows: Amount, cells: int) -> Numbers:
    """How many of a unit's rows are left in so many cells of so many rows."""
    lies_in = in_cells(total, cells)
    return np.minimum(lies_in, groups) * np.minimum(total / lies_in, rows)


def seen(total: Amount, rows: Amount, cells: int) -> Numbers:
    """In how many of its cells a unit is still seen when only so many of its rows count; it is taken to be in many."""
    lies_in = np.clip(total, 1.0, max(cells, 1))
    return np.where(np.less(rows, total), lies_in * -np.expm1(-np.minimum(rows, total) / lies_in), lies_in)


def error(noise: Numbers, bias: Amount) -> Numbers:
    """The root mean square error of a figure with this noise and this bias."""
    return np.hypot(noise, bias)


def bounds_below(limit: float, least: float) -> Iterator[float]:
    """Bounds to try, from the limit downwards."""
    for i in range(_GRID + 1):
        bound = limit / 2 ** (i / 2)
        if bound < least:
            return
        yield bound


@lru_cache(maxsize=256)
def _points(quantiles: Quantiles, units: int) -> tuple[Numbers, Numbers]:
    above, total = 1.0, 0.0
    points: list[tuple[float, float]] = []
    for upto, most in quantiles:
        ends = max(1.0 - float(upto), 0.0)
        points.extend(_between(above, ends, total, float(most), 1 / units))
        above, total = ends, float(most)
    shares, totals = np.array(points, dtype=np.float64).reshape(-1, 2).T.copy()
    return shares, totals


def _between(above: float, ends: float, low: float, high: float, last: float) -> Iterator[tuple[float, float]]:
    """Typical units between two quantiles: `above` and `ends` are the shares of units above `low` and above `high`.

    Along a power law each stands for a share smaller by the same factor, down to that of one unit (`last`): the few
    largest hold much of what there is, and equal shares would count none of them.
    """
    least = max(ends, min(last, above / 2))
    steep = low > 0 and above > least > 0
    for i in range(_PER_PIECE):
        upper, lower = (
            above * (least / above) ** (place / _PER_PIECE) if steep else above - (above - ends) * place / _PER_PIECE
            for place in (i, i + 1)
        )
        left = math.sqrt(upper * lower) if steep else (upper + lower) / 2
        lower = ends if i == _PER_PIECE - 1 else lower
        yield upper - lower, _total(left, above, least, low, high)


def _total(left: float, above: float, ends: float, low: float, high: float) -> float:
    """The total that a share `left` of units is above: a power law, or evenly spread where it begins at nothing."""
    if low <= 0 or high <= low:
        return low + (high - low) * (above - left) / (above - ends) if above > ends else high
    along = min(max(math.log(left / above) / math.log(ends / above), 0.0), 1.0)
    return float(low * (high / low) ** along)
