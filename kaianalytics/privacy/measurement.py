"""Noise: OpenDP's discrete Gaussian on vectors of integers, proved to cost no more than was asked before data is read.

Laws: the shares of the aggregates add up to the asked loss exactly; OpenDP's own map of each aggregate's sensitivity,
as an exact fraction rounded up to whole units of ρ, stays within its share; the scale is the smallest found that does;
noise comes from OpenDP alone, with its `contrib` feature and no other, and no seed can be set. This is the one module
of the pure core that draws: `plan` is pure, `Measurement.release` is not.

Source: Canonne, Kamath and Steinke 2020, "The Discrete Gaussian for Differential Privacy", theorem 4 (ρ = l2²/2σ²) and
proposition 25 (tails no heavier than those of a Gaussian one step nearer).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

# not opendp.prelude: it also imports the extras (scikit-learn, Polars), which takes longer than all of these
from opendp.accuracy import discrete_gaussian_scale_to_accuracy
from opendp.domains import atom_domain, vector_domain
from opendp.measurements import make_gaussian
from opendp.metrics import l2_distance
from opendp.mod import Measurement as Mechanism
from opendp.mod import enable_features

from kaianalytics.errors import Fault
from kaianalytics.privacy.bounding import BoundedColumn
from kaianalytics.privacy.loss import RHO_UNITS, PrivacyLoss
from kaianalytics.privacy.refusals import unsupported
from kaianalytics.privacy.statement import TOTAL_LIMIT

enable_features("contrib")

MAX_SHARE = PrivacyLoss.of(10)  # beyond it the noise protects nobody: ε is above 33 at δ = 10⁻⁶
MAX_SCALE = 2.0**52  # with totals below 2⁶², sums with noise stay far inside 64 bits
CONFIDENCE = 0.95

_Z = 1.959964  # two-sided 95% of the Gaussian, rounded up
_EXACT_ACCURACY_SCALE = 5_000.0  # OpenDP's exact accuracy takes time in proportion to the scale
_NUDGES = 64


@dataclass(frozen=True)
class Noise:
    """The measurement of one aggregate: its scale in steps, and the loss that OpenDP's map proves for it."""

    column: BoundedColumn
    scale: float
    loss: PrivacyLoss
    mechanism: Mechanism = field(repr=False, compare=False)


@dataclass(frozen=True)
class Measurement:
    """A proved measurement of one question: what it costs, how far its figures may be off, and its draw."""

    loss: PrivacyLoss
    noises: tuple[Noise, ...]

    def __post_init__(self) -> None:
        spent = sum((noise.loss for noise in self.noises), PrivacyLoss(0))
        if not self.noises or not spent.within(self.loss):
            raise ValueError("a measurement costs no more than its loss")

    @property
    def half_widths(self) -> tuple[float, ...]:
        """Per aggregate, in its column's units: with 95% probability the noise of one figure is smaller than this."""
        return tuple(float(_accuracy(noise.scale) * noise.column.step) for noise in self.noises)

    def release(self, vectors: Sequence[Sequence[int]]) -> list[list[int]]:
        """The bounded vectors with noise; Fault MEASUREMENT_INPUT unless there is one per aggregate, of its length."""
        if len(vectors) != len(self.noises):
            raise _unfit()
        for noise, vector in zip(self.noises, vectors, strict=True):
            if len(vector) != noise.column.cells or not all(_is_total(value) for value in vector):
                raise _unfit()
        return [_drawn(noise, vector) for noise, vector in zip(self.noises, vectors, strict=True)]


def plan(columns: Sequence[BoundedColumn], loss: PrivacyLoss) -> Measurement:
    """The most accurate measurement of the columns that costs at most `loss`, shared equally among them.

    Raises QueryUnsupported LOSS_OUT_OF_RANGE when a share is nothing, too large, or asks for noise beyond 2⁵² steps.
    """
    shares = loss.split(len(columns))
    return Measurement(loss, tuple(_noise(column, share) for column, share in zip(columns, shares, strict=True)))


def _noise(column: BoundedColumn, share: PrivacyLoss) -> Noise:
    if share.rho_units < 1:
        raise _out_of_range("ask with a larger rho")
    if share.rho_units > MAX_SHARE.rho_units:
        raise _out_of_range("ask with a smaller rho")
    # Start a hair below the formula's scale and go up: the first that OpenDP's map accepts is the smallest.
    scale = column.l2 / math.sqrt(2 * share.rho_units / RHO_UNITS) * (1 - 2.0**-50)
    for _ in range(_NUDGES):
        if scale > MAX_SCALE:
            raise _out_of_range("ask with a larger rho, or have the contract's bounds narrowed")
        mechanism = _gaussian(scale)
        proved = _proved(mechanism, column.l2)
        if proved.rho_units <= share.rho_units:
            return Noise(column, scale, proved, mechanism)
        scale = math.nextafter(scale, math.inf)
    raise _out_of_range("ask with another rho")


def _gaussian(scale: float) -> Mechanism:
    vectors = vector_domain(atom_domain(T="i64"))
    return make_gaussian(vectors, l2_distance(T="f64"), scale=scale)


def _proved(mechanism: Mechanism, l2: int) -> PrivacyLoss:
    """OpenDP's ρ for this sensitivity, exactly, rounded up to whole units."""
    distance = float(l2)
    if distance < l2:  # a float beyond 2⁵³ may have lost the last bits
        distance = math.nextafter(distance, math.inf)
    rho: float = mechanism.map(distance)  # type: ignore[no-untyped-call]  # opendp annotates all but this method
    return PrivacyLoss(math.ceil(Fraction(rho) * RHO_UNITS))


def _accuracy(scale: float) -> int:
    if scale <= _EXACT_ACCURACY_SCALE:
        return int(discrete_gaussian_scale_to_accuracy(scale, 1 - CONFIDENCE))
    return math.ceil(_Z * scale) + 1


def _drawn(noise: Noise, vector: Sequence[int]) -> list[int]:
    return [int(value) for value in noise.mechanism(list(vector))]


def _is_total(value: object) -> bool:
    return type(value) is int and abs(value) <= TOTAL_LIMIT


def _out_of_range(way: str) -> Exception:
    return unsupported("LOSS_OUT_OF_RANGE", limit=str(MAX_SHARE.rho), way=way)


def _unfit() -> Fault:
    return Fault(
        "MEASUREMENT_INPUT",
        "The exact figures don't fit the measurement that was proved for them.",
        rule="one vector per figure, one whole number below 2⁶² per group",
        hint="tell the custodian: nothing was released",
    )
