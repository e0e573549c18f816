"""Arithmetic on noisy figures with honest error bars: columns of estimates that know which noises they contain.

Laws: a column holds one number per cell and, for every independent noise in it, by how much that noise pulls the number
(one standard deviation's worth, signed), so that figures which share a noise have their covariance counted; where first
order is not enough, the bar is made longer, never shorter: a quotient has Fieller's interval, a root the longer of its
two secants, a product the product of the errors besides. What noise could have made anything (a denominator that may be
zero, the root of a negative number) is missing. Nothing here raises for any number, and no figure is NaN or infinite.

Sources: Fieller 1954, "Some problems in interval estimation"; the rest is the delta method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kaianalytics.privacy.measuring.quantiles import Z95

Numbers = NDArray[np.float64]
Truths = NDArray[np.bool_]
Source = tuple[object, ...]  # ("noise", vector, item), or ("tree", measure, fraction): one tree's are not independent

FARTHEST_DENOMINATOR = 0.5  # a denominator whose half-width is more than this part of it may be anything


@dataclass(frozen=True)
class Estimates:
    """One number per cell (NaN: missing), the pulls of its noises, and an error beside them that is certain."""

    values: Numbers
    pulls: Mapping[Source, Numbers] = field(default_factory=dict)
    slack: Numbers | float = 0.0

    @property
    def deviation(self) -> Numbers:
        """The standard deviation of all the noise; quantiles of one tree are taken to err together."""
        squares, together = np.zeros(len(self.values)), dict[object, Numbers]()
        for source, pull in self.pulls.items():
            if source[0] == "tree":
                together[source[1]] = together.get(source[1], 0.0) + np.abs(pull)
            else:
                squares += pull**2
        return np.sqrt(squares + sum(pull**2 for pull in together.values()))

    @property
    def half_width(self) -> Numbers:
        """The half-width of the 95% interval."""
        return Z95 * self.deviation + self.slack

    def scaled(self, factor: Numbers | float, values: Numbers) -> Estimates:
        """Other values, which err by `factor` times as much as these."""
        return Estimates(values, {s: pull * factor for s, pull in self.pulls.items()}, self.slack * np.abs(factor))

    def loosened(self, slack: Numbers | float) -> Estimates:
        """The same with a longer error bar."""
        return Estimates(self.values, self.pulls, self.slack + slack)


def settled(column: Estimates) -> Estimates:
    """The column with everything that is not a finite number missing."""
    wild = ~np.isfinite(column.values) | ~np.isfinite(column.half_width)
    if not wild.any():
        return column
    pulls = {source: np.where(wild, 0.0, pull) for source, pull in column.pulls.items()}
    return Estimates(np.where(wild, np.nan, column.values), pulls, np.where(wild, 0.0, column.slack))


# --- sums, products, quotients


def plus(a: Estimates, b: Estimates, sign: float = 1.0) -> Estimates:
    """a + b, or with `sign` −1 the difference."""
    pulls = _united(a, b, lambda one, two: one + sign * two)
    return Estimates(a.values + sign * b.values, pulls, a.slack + b.slack)


def times(a: Estimates, b: Estimates) -> Estimates:
    """a · b; the error has the product of both errors in it."""
    pulls = _united(a, b, lambda one, two: one * b.values + two * a.values)
    crossed = np.abs(a.values) * b.slack + np.abs(b.values) * a.slack + a.half_width * b.half_width
    return Estimates(a.values * b.values, pulls, crossed)


def over(a: Estimates, b: Estimates) -> Estimates:
    """a / b with Fieller's interval; missing where b is zero or its noise could make it so."""
    ratio, reach = a.values / b.values, b.half_width
    lost = (b.values == 0) | (reach > FARTHEST_DENOMINATOR * np.abs(b.values))
    pulls = _united(a, b, lambda one, two: (one - ratio * two) / b.values)
    first = Estimates(ratio, pulls)
    longer = _fieller(a, b, ratio, first.deviation)
    slack = (np.asarray(a.slack) + np.abs(ratio) * b.slack) / (np.abs(b.values) - reach)
    return first.scaled(longer, np.where(lost, np.nan, ratio)).loosened(slack)


def _fieller(a: Estimates, b: Estimates, ratio: Numbers, deviation: Numbers) -> Numbers:
    """How many times longer Fieller's interval is, at its farther end, than the first-order one."""
    shared = sum((a.pulls[s] * b.pulls[s] for s in a.pulls.keys() & b.pulls.keys()), np.zeros(len(ratio)))
    of_b = b.deviation**2
    g = Z95**2 * of_b / b.values**2
    slope = np.where(of_b > 0, shared / of_b, 0.0)
    inside = (deviation * b.values) ** 2 - g * (a.deviation**2 - slope * shared)
    root = Z95 / np.abs(b.values) * np.sqrt(np.maximum(inside, 0.0))
    farther = (np.abs(g * (ratio - slope)) + root) / (1 - g)
    return np.where(deviation > 0, np.maximum(farther / (Z95 * deviation), 1.0), 1.0)


# --- shapes of one column


def negated(a: Estimates) -> Estimates:
    """−a."""
    return a.scaled(-1.0, -a.values)


def absolute(a: Estimates) -> Estimates:
    """|a|, which errs by no more than a."""
    return a.scaled(np.where(a.values < 0, -1.0, 1.0), np.abs(a.values))


def root(a: Estimates) -> Estimates:
    """√a, by the steeper of the secants to both ends of its interval; missing below zero."""
    reach, here = a.half_width, np.sqrt(a.values)
    up, down = np.sqrt(a.values + reach) - here, here - np.sqrt(np.maximum(a.values - reach, 0.0))
    return a.scaled(np.where(reach > 0, np.maximum(up, down) / reach, 0.0), here)


def rounded(a: Estimates, how: str, places: int = 0) -> Estimates:
    """round (half away from zero, to `places`), floor or ceil of a, whose error counts the rounding."""
    unit = 10.0**-places
    if how == "round":
        near = np.sign(a.values) * np.floor(np.abs(a.values) / unit + 0.5) * unit
        return Estimates(near, a.pulls, a.slack + unit / 2)
    return Estimates(np.floor(a.values) if how == "floor" else np.ceil(a.values), a.pulls, a.slack + 1.0)


# --- choices between columns


def extreme(columns: Sequence[Estimates], how: str) -> Estimates:
    """The least or the greatest of those that are not missing; errs by no more than the one that errs most."""
    pick, result = (np.fmin, np.fmax)[how == "greatest"], columns[0]
    for column in columns[1:]:
        values = pick(result.values, column.values)
        first = values == result.values
        pulls = _united(result, column, lambda one, two, first=first: _larger(one, two, first))  # type: ignore[misc]
        result = Estimates(values, pulls, np.maximum(result.slack, column.slack))
    return result


def chosen(where: Truths, one: Estimates, two: Estimates) -> Estimates:
    """`one` where it is true, else `two`: values and errors."""
    pulls = _united(one, two, lambda here, there: np.where(where, here, there))
    return Estimates(np.where(where, one.values, two.values), pulls, np.where(where, one.slack, two.slack))


def without(a: Estimates, missing: Truths) -> Estimates:
    """The column with those cells missing as well."""
    return Estimates(np.where(missing, np.nan, a.values), a.pulls, a.slack)


def _united(a: Estimates, b: Estimates, rule: Callable[[Numbers, Numbers], Numbers]) -> dict[Source, Numbers]:
    nothing = np.zeros(len(a.values))
    sources = dict.fromkeys((*a.pulls, *b.pulls))
    return {source: rule(a.pulls.get(source, nothing), b.pulls.get(source, nothing)) for source in sources}


def _larger(one: Numbers, two: Numbers, first: Truths) -> Numbers:
    """The larger pull of each, with the sign of the one that was chosen."""
    sign = np.where(first, np.sign(one), np.sign(two))
    sign = np.where(sign == 0, 1.0, sign)
    return sign * np.maximum(np.abs(one), np.abs(two))
