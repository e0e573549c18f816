"""The error that a bound is expected to have: the noise it needs, and the bias of what it cuts away.

Laws: a prediction is made from public facts alone (the bound, the asked loss, a profile), before data is read; it
decides which bound is chosen and nothing of what the bound guarantees, so that it may be rough, and a profile wrong.

Of a profile's quantiles, what lies between two points is taken to be spread evenly. Bias is taken to be spread evenly
over the cells, and a unit to be in one of them: the cautious reading, for a unit spread over many has a smaller norm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal

from kaianalytics.privacy.unit import Quantiles

_GRID = 40  # bounds that are tried below the limit, each smaller by √2


def excess(quantiles: Quantiles, bound: float) -> float:
    """E[(X − bound)⁺]: how much of a unit's total lies above the bound, on average over all units."""
    return sum(share * _above(low, high, bound) for share, low, high in _pieces(quantiles))


def share_above(quantiles: Quantiles, bound: float) -> float:
    """The share of units whose total is above the bound."""
    return sum(share * _share(low, high, bound) for share, low, high in _pieces(quantiles))


def mean(quantiles: Quantiles) -> float:
    """The average total of a unit."""
    return sum(share * (low + high) / 2 for share, low, high in _pieces(quantiles))


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


def _pieces(quantiles: Quantiles) -> Iterator[tuple[float, float, float]]:
    """Shares of units, with the limits between which their totals lie."""
    share, value = Decimal(0), Decimal(0)
    for upto, most in quantiles:
        yield float(upto - share), float(min(value, most)), float(most)
        share, value = upto, most


def _above(low: float, high: float, bound: float) -> float:
    if bound <= low:
        return (low + high) / 2 - bound
    return 0.0 if bound >= high else (high - bound) ** 2 / (2 * (high - low))


def _share(low: float, high: float, bound: float) -> float:
    if bound < low or low == high:
        return float(low > bound)
    return 0.0 if bound >= high else (high - bound) / (high - low)
