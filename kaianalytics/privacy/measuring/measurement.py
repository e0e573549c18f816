"""Noise: OpenDP's mechanisms on vectors of whole numbers, proved to cost no more than was asked before data is read.

Laws: the vectors' shares add up to the asked ρ exactly; OpenDP's own map of each vector's sensitivities, as an exact
fraction rounded up to whole units, stays within its share; the scale is the least found for which it does, and the
threshold the least found whose δ is within what was allowed. Noise comes from OpenDP alone, with its `contrib` feature
and no other, and no seed can be set. This is the one module of the pure core that draws: `plan_noise` is pure,
`Measurement.release` is not.

    rows, units, sums, trees, histograms   discrete Gaussian, ρ = l2²/2σ²
    distinct units of unknown keys         discrete Gaussian, and only what reaches the threshold is kept
    top                                    noisy top-k by peeling, ρ = k·(d/scale)²/8, d as in `_farthest`

Windows: where w windows are read, one customer may be in all of them and move everything w times as far. The loss of a
window is then proved at the vector's sensitivities, that of the account at w times each of them.

Unknown keys: OpenDP 0.16.0 releases a key at the threshold or above, and computes δ for above it alone (issue #2922).
So δ is taken from a twin whose threshold is one lower. What the threshold lets through is a released fact: the other
vectors are drawn for those cells alone, and the units that it released are themselves the units' figure.

Source: Canonne, Kamath and Steinke 2020, "The Discrete Gaussian for Differential Privacy", theorem 4 (ρ = l2²/2σ²) and
proposition 25 (tails no heavier than those of a Gaussian one step nearer); Rogers 2023, "A Unifying Privacy Analysis
Framework for Unknown Domain Algorithms", for the threshold; Durfee and Rogers 2019 for peeling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from itertools import chain
from statistics import NormalDist
from typing import Any, Literal

# not opendp.prelude: it also imports the extras (scikit-learn, Polars), which takes longer than all of these
from opendp.accuracy import discrete_gaussian_scale_to_accuracy
from opendp.domains import atom_domain, map_domain, vector_domain
from opendp.measurements import make_gaussian, make_gaussian_threshold, make_noisy_top_k
from opendp.measures import zero_concentrated_divergence
from opendp.metrics import absolute_distance, l02inf_distance, l2_distance, linf_distance
from opendp.mod import Measurement as Mechanism
from opendp.mod import OpenDPException, enable_features

from kaianalytics.errors import Fault
from kaianalytics.privacy.loss import DELTA_UNITS, RHO_UNITS, PrivacyLoss
from kaianalytics.privacy.measuring.quantiles import Z95
from kaianalytics.privacy.plan import Cell, Exact, Noisy, Plan, Vector
from kaianalytics.privacy.refusals import unsupported
from kaianalytics.privacy.unit import root_up

enable_features("contrib")

MAX_SHARE = PrivacyLoss.of(10)  # beyond it the noise protects nobody: ε is above 32 at δ = 10⁻⁶
MAX_DELTA = Decimal("0.001")  # one unit in a thousand shown as it is: no contract means that
CONFIDENCE = 0.95

MechanismName = Literal["discrete Gaussian", "discrete Gaussian threshold", "noisy top-k"]

_EXACT_ACCURACY_SCALE = 1_000.0  # OpenDP's exact accuracy takes time in proportion to the scale
_NUDGES = 64
_THREADS, _PIECE = 2, 20_000  # a long vector is drawn in pieces of so many numbers
_FAR = 2**61  # a threshold that nothing reaches: ρ does not depend on it
_I64 = atom_domain(T="i64")
_VECTORS = vector_domain(_I64)
_MAPS = map_domain(_I64, _I64)
_L2 = l2_distance(T="f64")
_L02INF = l02inf_distance(absolute_distance(T="i64"))
_LINF = linf_distance(T="i64", monotonic=True)  # scores are counts: one unit moves all of them one way
_ZCDP = zero_concentrated_divergence()


@dataclass(frozen=True)
class Bar:
    """How far one number of a vector may be off, in units of its measure; nothing is told for a top-k."""

    scale: float
    step: float
    told: bool = True

    @property
    def deviation(self) -> float:
        """The standard deviation of the noise, or a little more."""
        return self.scale * self.step if self.told else 0.0

    @cached_property
    def half_width(self) -> float:
        """With 95% probability the noise is smaller than this."""
        return _accuracy(self.scale) * self.step if self.told else 0.0

    @cached_property
    def pull(self) -> float:
        """A deviation for arithmetic with the Gaussian's z: not less than the discrete noise's 95% needs."""
        return max(self.deviation, (self.half_width - self.step) / Z95) if self.told else 0.0


@dataclass(frozen=True)
class Setting:
    """All of one vector that its loss depends on, but the scale: what a certificate states, and what is proved again.

    `cells` are how many the answer has, None where they are unknown; `size` is how many values a top measure chooses.
    """

    vector: Vector
    mechanism: MechanismName
    cells: int | None
    size: int = 0

    def mechanism_at(self, scale: float, threshold: int | None) -> Mechanism:
        """OpenDP's mechanism at this scale."""
        if self.mechanism == "noisy top-k":
            return make_noisy_top_k(_VECTORS, _LINF, _ZCDP, k=self.size, scale=scale)
        if self.mechanism == "discrete Gaussian":
            return make_gaussian(_VECTORS, _L2, scale=scale)
        return make_gaussian_threshold(_MAPS, _L02INF, scale=scale, threshold=_FAR if threshold is None else threshold)

    def proved(self, scale: float, threshold: int | None = None, windows: int = 1) -> PrivacyLoss:
        """What OpenDP's map says that one unit in `windows` windows loses, as exact fractions rounded up.

        Without a threshold, δ is left out. Raises OpenDPException where the map proves nothing.
        """
        if self.mechanism == "noisy top-k":
            distance: Any = self._farthest(windows)
        elif self.mechanism == "discrete Gaussian":
            distance = _float_up(self.vector.l2 * windows)
        else:
            distance = tuple(windows * bound for bound in (self.vector.l0, self.vector.l2, self.vector.linf))
            twin = None if threshold is None else threshold - 1  # issue #2922
            rho, delta = _map(self.mechanism_at(scale, twin), distance)
            return PrivacyLoss(_units(rho, RHO_UNITS), 0 if twin is None else _units(min(delta, 1.0), DELTA_UNITS))
        return PrivacyLoss(_units(_map(self.mechanism_at(scale, None), distance), RHO_UNITS))

    def scale_for(self, rho: float) -> float:
        """The scale at which the formula says this ρ."""
        if self.mechanism == "noisy top-k":
            return self._farthest(1) * math.sqrt(self.size / (8 * rho))
        return self.vector.l2 / math.sqrt(2 * rho)

    def bar_at(self, scale: float) -> Bar:
        """How far one number may be off at this scale."""
        return Bar(scale, float(self.vector.step), self.mechanism != "noisy top-k")

    def _farthest(self, windows: int) -> int:
        """d with d² ≥ Σ d_c², where d_c is how far one unit moves any score of cell c, each with a top-k of its own.

        ρ is k·d_c²/8·scale² for one cell, by OpenDP's map, and adds up over cells: no more than the map says of d.
        """
        cells = self.vector.l0 if self.cells is None else min(self.vector.l0, self.cells)
        return windows * min(self.vector.l2, root_up(self.vector.linf**2 * cells))


@dataclass(frozen=True)
class Noise:
    """The draw of one vector: its scale in steps, its threshold if it has one, and what OpenDP's map proves for it.

    `loss` is that of one unit, in one window where windows are declared; `account_loss` of one in all windows read.
    """

    setting: Setting
    scale: float
    threshold: int | None
    loss: PrivacyLoss
    account_loss: PrivacyLoss
    drawing: Mechanism = field(repr=False, compare=False)

    @cached_property
    def bar(self) -> Bar:
        """How far one number may be off."""
        return self.setting.bar_at(self.scale)


@dataclass(frozen=True)
class Measurement:
    """A proved measurement of one plan: what it costs, and its draw.

    `loss` is what a window, or where there are none the account, is charged; `account_loss` what the account is: the
    asked ρ, and w² times it for w windows, with the δ that is proved.
    """

    plan: Plan
    loss: PrivacyLoss
    account_loss: PrivacyLoss
    noises: tuple[Noise, ...]

    def __post_init__(self) -> None:
        spent = sum((noise.loss for noise in self.noises), PrivacyLoss(0))
        account = sum((noise.account_loss for noise in self.noises), PrivacyLoss(0))
        if not (self.noises and spent.within(self.loss) and account.within(self.account_loss)):
            raise ValueError("a measurement costs no more than its loss")
        if tuple(noise.setting.vector for noise in self.noises) != self.plan.vectors:
            raise ValueError("each vector of the plan has its noise")

    def release(self, exact: Exact) -> Noisy:
        """The figures with noise; Fault MEASUREMENT_INPUT, and nothing drawn, unless they are those of the plan.

        Cells that were found are told in the order of their keys, never in that of the data.
        """
        self._demand_fit(exact)
        if self.plan.threshold is None:
            places: Sequence[int] = range(len(exact.cells))
            found: Sequence[int] = ()
        else:
            places, found = self._found(exact, self.plan.threshold)
        vectors = tuple(
            tuple(found) if v == self.plan.threshold else _drawn(noise, exact.vectors[v], places)
            for v, noise in enumerate(self.noises)
        )
        return Noisy(tuple(exact.cells[place] for place in places), vectors)

    def _found(self, exact: Exact, vector: int) -> tuple[list[int], list[int]]:
        """The places of the cells that pass the threshold, in the order of their keys, and their noisy units."""
        # A cell without units is no cell of the data: its neighbour has none either, and δ speaks of ones with units.
        units = {place: count for place, count in enumerate(exact.vectors[vector]) if count > 0}
        pieces = [{place: units[place] for place in some} for some in _pieces(list(units))]
        kept: dict[int, int] = {}
        for drawn in _side_by_side(self.noises[vector].drawing, pieces):
            kept |= drawn
        places = sorted(kept, key=_order(exact.cells))
        return places, [kept[place] for place in places]

    def _demand_fit(self, exact: Exact) -> None:
        known, widths = self.plan.cells, [vector.width * len(exact.cells) for vector in self.plan.vectors]
        if [len(vector) for vector in exact.vectors] != widths:
            raise _unfit()
        if exact.cells != known if known is not None else len(set(exact.cells)) != len(exact.cells):
            raise _unfit()
        if any(self.plan.vectors[v].kind != "sum" and min(exact.vectors[v], default=0) < 0 for v in range(len(widths))):
            raise _unfit()


def plan_noise(
    plan: Plan, loss: PrivacyLoss, shares: Sequence[int] | None = None, delta: Decimal | None = None
) -> Measurement:
    """The most accurate measurement of the plan that costs ρ of `loss`, shared equally or in proportion to `shares`.

    `delta` is what unknown keys may cost the account. Raises QueryUnsupported LOSS_OUT_OF_RANGE when a share is
    nothing or too large, and KEYS_NEED_DELTA or DELTA_OUT_OF_RANGE for unknown keys.
    """
    windows = max(len(plan.windows), 1)
    parts = loss.shared([1] * len(plan.vectors) if shares is None else shares)
    if len(parts) != len(plan.vectors):
        raise ValueError("each vector has its share")
    allowed = 0 if plan.threshold is None else _allowed(delta)
    noises = tuple(
        _noise(setting_of(plan, v), part.rho_units, windows, allowed if v == plan.threshold else None)
        for v, part in enumerate(parts)
    )
    charged = PrivacyLoss(loss.rho_units, sum(noise.loss.delta_units for noise in noises))
    account = PrivacyLoss(windows**2 * loss.rho_units, sum(noise.account_loss.delta_units for noise in noises))
    return Measurement(plan, charged, account, noises)


def setting_of(plan: Plan, place: int) -> Setting:
    """What the loss of the plan's vector at this place depends on."""
    vector = plan.vectors[place]
    cells = None if plan.cells is None else len(plan.cells)
    if vector.kind == "top":
        return Setting(vector, "noisy top-k", cells, plan.query.measures[vector.measure].size)
    return Setting(vector, "discrete Gaussian threshold" if place == plan.threshold else "discrete Gaussian", cells)


def keeps_within(setting: Setting, scale: float, threshold: object, windows: int, loss: PrivacyLoss) -> bool:
    """Whether a stated draw loses no more than that, by OpenDP's map: of facts that someone else wrote."""
    has_threshold = setting.mechanism == "discrete Gaussian threshold"
    if not (0 < scale < math.inf) or (type(threshold) is int and 1 < threshold < _FAR) is not has_threshold:
        return False
    try:
        return setting.proved(scale, threshold if isinstance(threshold, int) else None, windows).within(loss)
    except (OpenDPException, ValueError, OverflowError):  # it proves nothing: no loss is small enough
        return False


def _noise(setting: Setting, rho_units: int, windows: int, delta_units: int | None) -> Noise:
    scale, proved = _least_scale(setting, rho_units, windows)
    threshold = None if delta_units is None else _least_threshold(setting, scale, windows, delta_units)
    if threshold is not None:
        proved = _proved(setting, scale, threshold, windows)
    return Noise(setting, scale, threshold, proved[1], proved[windows], setting.mechanism_at(scale, threshold))


def _proved(setting: Setting, scale: float, threshold: int | None, windows: int) -> dict[int, PrivacyLoss]:
    """What one unit loses in one window, and in so many."""
    return {w: setting.proved(scale, threshold, w) for w in {1, windows}}


def _least_scale(setting: Setting, rho_units: int, windows: int) -> tuple[float, dict[int, PrivacyLoss]]:
    """The least scale found, and what it is proved to lose but for δ."""
    if rho_units < 1:
        raise _out_of_range("ask with a larger rho")
    if rho_units > MAX_SHARE.rho_units:
        raise _out_of_range("ask with a smaller rho")
    # Start a hair below the formula's scale and go up: the first that OpenDP's map accepts is the smallest. An l2 is
    # below 2³¹ and a share one unit or more, so that the scale is below 2⁵¹: with totals below 2⁶², far inside 64 bits.
    scale = math.nextafter(setting.scale_for(rho_units / RHO_UNITS), 0)
    for _ in range(_NUDGES):
        proved = _proved(setting, scale, None, windows)
        if all(loss.rho_units <= w**2 * rho_units for w, loss in proved.items()):
            return scale, proved
        scale = math.nextafter(scale, math.inf)
    raise _out_of_range("ask with another rho")


def _least_threshold(setting: Setting, scale: float, windows: int, delta_units: int) -> int:
    """The least threshold whose δ, for a unit in all windows, is within what is allowed: by halving."""
    farthest = setting.vector.linf * windows  # no lower: OpenDP proves nothing there

    def within(threshold: int) -> bool:
        return setting.proved(scale, threshold, windows).delta_units <= delta_units

    share = max(delta_units / DELTA_UNITS / (setting.vector.l0 * windows), 1e-300)
    high = farthest + 1 + math.ceil(scale * -NormalDist().inv_cdf(min(share, 0.5)))
    if not within(high):  # floats tell no δ below 10⁻¹⁶ per cell
        high = 2 * high
        if not within(high):
            raise unsupported("DELTA_OUT_OF_RANGE", limit=str(MAX_DELTA))
    step = 1
    while high - step > farthest and within(high - step):
        high, step = high - step, 2 * step
    low = max(high - step, farthest)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if within(middle) else (middle, high)
    return high


def _allowed(delta: Decimal | None) -> int:
    if delta is None:
        raise unsupported("KEYS_NEED_DELTA")
    if not (delta.is_finite() and 0 < delta <= MAX_DELTA):
        raise unsupported("DELTA_OUT_OF_RANGE", limit=str(MAX_DELTA))
    return int(Fraction(delta) * DELTA_UNITS)  # towards a higher threshold


def _map(mechanism: Mechanism, distance: Any) -> Any:
    return mechanism.map(distance)  # type: ignore[no-untyped-call]  # opendp annotates all but this method


def _units(loss: float, units: int) -> int:
    return math.ceil(Fraction(loss) * units)


def _float_up(distance: int) -> float:
    near = float(distance)
    return near if near >= distance else math.nextafter(near, math.inf)  # beyond 2⁵³ it may have lost the last bits


def _accuracy(scale: float) -> int:
    if scale <= _EXACT_ACCURACY_SCALE:
        return int(discrete_gaussian_scale_to_accuracy(scale, 1 - CONFIDENCE))
    return math.ceil(Z95 * scale) + 1


def _drawn(noise: Noise, vector: Sequence[int], places: Sequence[int]) -> tuple[int, ...]:
    width = noise.setting.vector.width
    parts = [vector[place * width : (place + 1) * width] for place in places]
    if noise.setting.mechanism == "noisy top-k":
        return tuple(chosen for part in parts for chosen in noise.drawing(list(part)))
    return tuple(chain.from_iterable(_side_by_side(noise.drawing, _pieces(list(chain.from_iterable(parts))))))


def _pieces(numbers: list[int]) -> list[list[int]]:
    return [numbers[start : start + _PIECE] for start in range(0, len(numbers), _PIECE)]


def _side_by_side(drawing: Mechanism, pieces: Sequence[Any]) -> list[Any]:
    """Each piece drawn; the noise on every number is its own, so that together they are the whole, drawn at once."""
    if len(pieces) < 2:
        return [drawing(piece) for piece in pieces]
    with ThreadPoolExecutor(_THREADS) as threads:  # OpenDP draws without Python's lock
        return list(threads.map(drawing, pieces))


def _order(cells: Sequence[Cell]) -> Callable[[int], Any]:
    """What cells are sorted by, by their places: of a key, what is missing comes last."""
    if not any(None in cell for cell in cells):
        return cells.__getitem__
    return lambda place: tuple((value is None, "" if value is None else value) for value in cells[place])


def _out_of_range(way: str) -> Exception:
    return unsupported("LOSS_OUT_OF_RANGE", limit=str(MAX_SHARE.rho), way=way)


def _unfit() -> Fault:
    return Fault(
        "MEASUREMENT_INPUT",
        "The exact figures don't fit the measurement that was proved for them.",
        rule="one number below 2⁶² for each cell and item, in the plan's order",
        hint="tell the custodian: nothing was released",
    )
