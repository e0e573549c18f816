"""The error that a bound is expected to have: the noise it needs, and the bias of what it cuts away.

Laws: a prediction is made from public facts alone (the bound, the asked loss, a profile), before data is read; it
decides which bound is chosen and nothing of what the bound guarantees, so that it may be rough, and a profile wrong.

A profile's quantiles become a few dozen typical units. Between two quantiles the share of units above a total falls as
a power of the total, as it does for the skewed totals of people: evenly spread totals would make the mean of the last
hundredth several times too large. A unit of n rows is taken to be in √n cells, so that its norm is below its total.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from kaianalytics.privacy.unit import Quantiles

_GRID = 40  # bounds that are tried below the limit, each smaller by √2
_PER_PIECE = 8  # typical units between two quantiles


@dataclass(frozen=True)
class Spread:
    """Typical units: how large a total is, and which share of all units has one like it; in all at most 1."""

    units: int
    points: tuple[tuple[float, float], ...]  # (share, total)

    @classmethod
    def of(cls, quantiles: Quantiles, units: int) -> Spread:
        """The typical units of a profile's quantiles."""
        return cls(units, _points(quantiles, units))

    def thinned(self, kept: float, least: float = 1.0) -> Spread:
        """The same units where a row passes a filter with this chance, which leaves those below `least` with none."""
        if kept >= 1:
            return self
        return Spread(self.units, tuple(_thin(share, total * kept, least) for share, total in self.points))

    def average(self, value: Callable[[float], float]) -> float:
        """The average of something over units, of nothing where a unit has no rows."""
        return sum(share * value(total) for share, total in self.points)

    def mean(self) -> float:
        """The average total."""
        return self.average(lambda total: total)


def excess(spread: Spread, bound: float) -> float:
    """E[(X − bound)⁺]: how much of a unit's total lies above the bound, on average over all units."""
    return spread.average(lambda total: max(total - bound, 0.0))


def share_above(quantiles: Quantiles, bound: float, units: int) -> float:
    """The share of units whose total is above the bound."""
    return sum(share for share, total in _points(quantiles, units) if total > bound)


def in_cells(total: float, cells: int) -> float:
    """In how many cells a unit of so many rows is taken to be."""
    return math.sqrt(max(min(total, cells), 1.0))


def shortened(total: float, norm: float, cells: int) -> float:
    """How much of a unit's total is left when its vector over the cells is scaled down to a norm."""
    length = total / math.sqrt(in_cells(total, cells))
    return total if length <= norm else total * norm / length


def capped(total: float, groups: int, rows: int, cells: int) -> float:
    """How many of a unit's rows are left in so many cells of so many rows."""
    lies_in = in_cells(total, cells)
    return min(lies_in, groups) * min(total / lies_in, rows)


def seen(total: float, rows: float, cells: int) -> float:
    """In how many of its cells a unit is still seen when only so many of its rows count; it is taken to be in many."""
    lies_in = max(min(total, cells), 1.0)
    return lies_in * -math.expm1(-min(rows, total) / lies_in) if rows < total else lies_in


def error(noise: float, bias: float) -> float:
    """The root mean square error of a figure with this noise and this bias."""
    return math.hypot(noise, bias)


def bounds_below(limit: float, least: float) -> Iterator[float]:
    """Bounds to try, from the limit downwards."""
    for i in range(_GRID + 1):
        bound = limit / 2 ** (i / 2)
        if bound < least:
            return
        yield bound


def _thin(share: float, left: float, least: float) -> tuple[float, float]:
    return (share, left) if left >= least else (share * left / least, least)


@lru_cache(maxsize=256)
def _points(quantiles: Quantiles, units: int) -> tuple[tuple[float, float], ...]:
    above, total = 1.0, 0.0
    points: list[tuple[float, float]] = []
    for upto, most in quantiles:
        ends = max(1.0 - float(upto), 0.0)
        points.extend(_between(above, ends, total, float(most), 1 / units))
        above, total = ends, float(most)
    return tuple(points)


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
