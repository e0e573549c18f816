"""Privacy loss as exact integers: ρ of zero-concentrated differential privacy, and δ.

Laws: loss is counted in whole units of 10⁻¹² (ρ) and 10⁻¹⁸ (δ) and every conversion rounds towards *spent*; sums
are integer sums; ε exists only for people and is rounded up. Composition is additive in ρ and in δ (Bun and Steinke
2016, lemma 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation

RHO_UNITS = 10**12
DELTA_UNITS = 10**18
_MAX_RHO = Decimal(10**6)  # keeps every sum inside a signed 64-bit column
_UPWARDS = Context(prec=60, rounding=ROUND_CEILING)


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

    def epsilon(self, delta: Decimal | float) -> float:
        """The ε for people at `delta` (on top of the loss's own δ), rounded up to three places.

        Bun and Steinke 2016, proposition 1.3: ρ-zCDP implies (ρ + 2·√(ρ·ln(1/δ)), δ)-DP. Not the tightest bound.
        """
        if not 0 < delta < 1:
            raise ValueError("epsilon is told at a delta between 0 and 1")
        # ln and √ round to nearest, whatever the context says: one more in the last digit makes each an upper bound.
        log = _UPWARDS.next_plus(_UPWARDS.minus(_UPWARDS.ln(Decimal(delta))))
        root = _UPWARDS.next_plus(_UPWARDS.sqrt(_UPWARDS.multiply(self.rho, log)))
        epsilon = _UPWARDS.add(self.rho, _UPWARDS.multiply(2, root)) if self.rho_units else Decimal(0)
        return float(epsilon.quantize(Decimal("0.001"), rounding=ROUND_CEILING, context=_UPWARDS))


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
