"""How sure a comparison of two noisy figures is: arithmetic of errors, without a release.

Each figure errs twice, independently: by the privacy noise that was added, and by sampling, the luck of who is in the
data. Sampling alone would be there without any privacy, so a comparison that leaves it out claims too much.

A quotient's interval is Fieller's (1954): all r for which a - r·b is within its own error of zero. Where b may be zero,
it is unbounded, and there is none to state.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt
from statistics import NormalDist

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A figure with the standard deviations of its two errors."""

    value: float
    privacy: float
    sampling: float

    @property
    def together(self) -> float:
        """The standard deviation of both."""
        return hypot(self.privacy, self.sampling)


def z_of(confidence: float) -> float:
    """How many standard deviations a two-sided interval of that confidence reaches: 1.96 for 95%."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def counted(number: float, privacy: float) -> Estimate:
    """A number of rows; Poisson, with one row more than were seen, so that few or none are not taken for certain."""
    return Estimate(number, privacy, sqrt(max(number, 0) + 1))


def averaged(mean: float, privacy: float, deviation: float, rows: float) -> Estimate:
    """A mean over so many rows with that standard deviation."""
    return Estimate(mean, privacy, deviation / sqrt(rows))


def summed(total: float, privacy: float, deviation: float, rows: float) -> Estimate:
    """A sum over so many rows, whose number is luck as well (compound Poisson): variance n·(s² + m²)."""
    return Estimate(total, privacy, sqrt(rows * deviation**2 + total**2 / rows))


def share(part: float, part_privacy: float, whole: float, whole_privacy: float) -> Estimate:
    """A part of a whole; binomial, by a share moved a little towards a half (Agresti and Coull 1998)."""
    rate = part / whole
    moved = min(max((part + 1) / (whole + 2), 0.0), 1.0)
    privacy = hypot(part_privacy, rate * whole_privacy) / whole
    return Estimate(rate, privacy, sqrt(moved * (1 - moved) / (whole + 2)))


def difference(a: Estimate, b: Estimate, error: str, z: float) -> Interval:
    """The interval of a - b by one kind of error: "privacy", "sampling" or "together"."""
    reach = z * hypot(getattr(a, error), getattr(b, error))
    return a.value - b.value - reach, a.value - b.value + reach


def quotient(a: Estimate, b: Estimate, error: str, z: float) -> Interval | None:
    """Fieller's interval of a / b by one kind of error; None where b is not clearly different from zero."""
    za, zb = z * float(getattr(a, error)), z * float(getattr(b, error))
    bounded = b.value**2 - zb**2
    if bounded <= 0:
        return None
    middle = a.value * b.value
    reach = sqrt(za**2 * b.value**2 + zb**2 * a.value**2 - za**2 * zb**2)
    return (middle - reach) / bounded, (middle + reach) / bounded
