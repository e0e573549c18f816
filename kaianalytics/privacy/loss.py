"""Privacy loss as exact integers: ρ of zero-concentrated differential privacy, and δ.

Laws: loss is counted in whole units of 10⁻¹² (ρ) and 10⁻¹⁸ (δ) and every conversion rounds towards *spent*; sums
are integer sums; ε exists only for people: told, it is rounded up, and what is bought with one is rounded down.
Composition is additive in ρ and in δ (Bun and Steinke 2016, lemma 2.3, and for approximate zCDP section 8).

ρ-zCDP implies (ε, δ)-DP for each order α > 1 with

    ε = α·ρ + ln(α − 1) − (ln δ + α·ln α) / (α − 1)

(Canonne, Kamath and Steinke 2020, proposition 12). Each α gives a true ε, so that the best one may be sought in
floats; the formula is then evaluated for that very α in decimals, each step rounded upwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation
from itertools import accumulate, pairwise

RHO_UNITS = 10**12
DELTA_UNITS = 10**18
_MAX_RHO = Decimal(10**6)  # keeps every sum inside a signed 64-bit column
_UPWARDS = Context(prec=60, rounding=ROUND_CEILING)
_DOWNWARDS = Context(prec=60, rounding=ROUND_FLOOR)


@dataclass(frozen=True, order=False)
class PrivacyLoss:
    """An exact (ρ, δ); never negative."""

    rho_units: int
    delta_units: int = 0

    def __post_init__(self) -> None:
        if type(self.rho_units) is not int or type(self.delta_units) is not int:
            raise ValueError("a privacy loss is counted in whole units")
        if self.rho_units < 0 or self.delta_units < 0 or self.delta_units > DELTA_UNITS:
            raise ValueError("a privacy loss needs rho >= 0 and 0 <= delta <= 1")

    @classmethod
    def of(cls, rho: Decimal | str | int, delta: Decimal | str | int = 0) -> PrivacyLoss:
        """The loss for decimal `rho` and `delta`, each rounded up to a whole unit; ValueError if out of range."""
        return cls(_units(rho, RHO_UNITS, _MAX_RHO), _units(delta, DELTA_UNITS, Decimal(1)))

    def __add__(self, other: PrivacyLoss) -> PrivacyLoss:
        return PrivacyLoss(self.rho_units + other.rho_units, min(self.delta_units + other.delta_units, DELTA_UNITS))

    def within(self, allowance: PrivacyLoss) -> bool:
        """Whether neither ρ nor δ exceeds the allowance."""
        return self.rho_units <= allowance.rho_units and self.delta_units <= allowance.delta_units

    @property
    def rho(self) -> Decimal:
        """ρ as an exact decimal."""
        return _UPWARDS.divide(Decimal(self.rho_units), Decimal(RHO_UNITS))

    @property
    def delta(self) -> Decimal:
        """δ as an exact decimal."""
        return _UPWARDS.divide(Decimal(self.delta_units), Decimal(DELTA_UNITS))

    def split(self, parts: int) -> tuple[PrivacyLoss, ...]:
        """This loss in `parts` near-equal shares whose sum is exactly it; the first shares hold the odd units."""
        if parts < 1:
            raise ValueError("a privacy loss is split into one part or more")
        rho, more_rho = divmod(self.rho_units, parts)
        delta, more_delta = divmod(self.delta_units, parts)
        return tuple(PrivacyLoss(rho + (i < more_rho), delta + (i < more_delta)) for i in range(parts))

    def shared(self, weights: Sequence[int]) -> tuple[PrivacyLoss, ...]:
        """ρ in shares in proportion to whole `weights` from 1 upwards, whose sum is exactly it; δ is not shared."""
        if not weights or any(type(weight) is not int or weight < 1 for weight in weights):
            raise ValueError("a privacy loss is shared by whole weights from 1 upwards")
        marks = [self.rho_units * end // sum(weights) for end in accumulate(weights, initial=0)]
        return tuple(PrivacyLoss(after - before) for before, after in pairwise(marks))

    def times_squared(self, windows: int) -> PrivacyLoss:
        """What a loss per window costs somebody who is in all of `windows`: w²·ρ; δ as it is (it has its own proof)."""
        if windows < 1:
            raise ValueError("a question reads one window or more")
        return PrivacyLoss(windows**2 * self.rho_units, self.delta_units)

    def epsilon(self, delta: Decimal | float) -> float:
        """The ε for people at `delta` (on top of the loss's own δ), rounded up to three places, or digits if small."""
        delta = _demand_delta(delta)
        if not self.rho_units:
            return 0.0
        epsilon = _epsilon(self.rho, delta, _best_order(float(self.rho), delta))
        places = min(-3, epsilon.adjusted() - 2) if epsilon else -3
        return float(epsilon.quantize(Decimal(1).scaleb(places), rounding=ROUND_CEILING, context=_UPWARDS))


def rho_for(epsilon: Decimal, delta: Decimal | float) -> PrivacyLoss:
    """The largest ρ whose ε at `delta` does not exceed `epsilon`; no loss at all where one unit of ρ already does.

    By Newton's steps: ε is concave in ρ with slope α, so that a step along the tangent never passes the root.
    """
    delta = _demand_delta(delta)
    if not (epsilon.is_finite() and 0 < epsilon <= _MAX_RHO):
        raise ValueError(f"an epsilon lies between 0 and {_MAX_RHO}")
    log = _log(delta)
    start = (float(epsilon) / (math.sqrt(log + float(epsilon)) + math.sqrt(log))) ** 2  # Bun and Steinke 2016, 1.3
    units = max(1, int(start * RHO_UNITS))
    while (room := _room(units, epsilon, delta)) and units + room > 0:
        units += room
    return PrivacyLoss(0 if room else units)


def _room(units: int, epsilon: Decimal, delta: Decimal) -> int:
    """By how many units ρ may grow (or has to shrink) before its ε, along the tangent, is `epsilon`."""
    rho = PrivacyLoss(units).rho
    order = _best_order(float(rho), delta)
    left = _DOWNWARDS.subtract(epsilon, _epsilon(rho, delta, order))
    return int((_DOWNWARDS.divide(left, order) * RHO_UNITS).to_integral_value(rounding=ROUND_FLOOR))


def _epsilon(rho: Decimal, delta: Decimal, order: Decimal) -> Decimal:
    """The formula above for one order, from above."""
    # ln rounds to nearest, whatever the context says: one more or one less in the last digit bounds it.
    excess = _UPWARDS.subtract(order, 1)
    low = _DOWNWARDS.multiply(order, _DOWNWARDS.next_minus(_DOWNWARDS.ln(order)))
    low = _DOWNWARDS.add(low, _DOWNWARDS.next_minus(_DOWNWARDS.ln(delta)))
    # The greatest divisor makes a positive number least, the least one a negative number.
    low = _DOWNWARDS.divide(low, excess if low > 0 else _DOWNWARDS.subtract(order, 1))
    high = _UPWARDS.add(_UPWARDS.multiply(order, rho), _UPWARDS.next_plus(_UPWARDS.ln(excess)))
    return max(_UPWARDS.subtract(high, low), Decimal(0))


def _best_order(rho: float, delta: Decimal) -> Decimal:
    """The α with the least ε, nearly: the root of ρ·(α − 1)² + ln α = ln(1/δ), which rises in α."""
    log = _log(delta)
    low, high = 0.0, math.sqrt(log / rho)
    for _ in range(64):
        middle = (low + high) / 2
        if rho * middle**2 + math.log1p(middle) < log:
            low = middle
        else:
            high = middle
    return Decimal(1 + max(high, 2.0**-20))


def _log(delta: Decimal) -> float:
    return max(-float(_UPWARDS.ln(delta)), 1e-300)


def _demand_delta(delta: Decimal | float) -> Decimal:
    if not 0 < delta < 1:
        raise ValueError("epsilon is told at a delta between 0 and 1")
    return Decimal(delta)


def _units(value: Decimal | str | int, units: int, largest: Decimal) -> int:
    if isinstance(value, (float, bool)):
        raise ValueError("a privacy loss is an exact decimal, never a float")
    try:
        exact = Decimal(value)
    except (InvalidOperation, TypeError):
        raise ValueError("a privacy loss is a decimal number") from None
    if not exact.is_finite() or not 0 <= exact <= largest:
        raise ValueError(f"a privacy loss lies between 0 and {largest}")
    return int(_UPWARDS.multiply(exact, Decimal(units)).to_integral_value(rounding=ROUND_CEILING))
