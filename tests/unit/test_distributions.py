"""What is drawn is what is claimed: each mechanism's outcomes against their exact probabilities.

Chi-square on many draws; each test fails for a sound sampler about once in 10⁸ runs, and each is shown to catch a
sampler that is a little off.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from decimal import Decimal
from itertools import permutations

import pytest
from scipy.stats import binom, chi2
from support.plan_kit import cells, gaussian_pmf, plan_of, tail, vector

from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.measurement import plan_noise
from kaianalytics.privacy.plan import Exact

FALSE_ALARM = 1e-8
DELTA = Decimal("0.001")


def fits(outcomes: Iterable[Hashable], chances: Mapping[Hashable, float]) -> bool:
    """Whether so many outcomes may be draws of that distribution, by chi-square; rare ones are taken together."""
    seen = Counter(outcomes)
    draws = sum(seen.values())
    common = {outcome for outcome, chance in chances.items() if chance * draws >= 20}
    pairs = [(seen[outcome], chances[outcome] * draws) for outcome in common]
    rare = max(1 - sum(chances[outcome] for outcome in common), 0.0) * draws
    pairs.append((sum(count for outcome, count in seen.items() if outcome not in common), max(rare, 1e-9)))
    pairs = pairs if rare >= 5 else pairs[:-1]
    statistic = sum((count - expected) ** 2 / expected for count, expected in pairs)
    return bool(chi2.sf(statistic, len(pairs) - 1) > FALSE_ALARM) and set(seen) <= set(chances)


def noise(scale: float, draws: int = 60_000, value: int = 0) -> list[int]:
    plan = plan_of(vector("sum"), count=draws)
    measurement = plan_noise(plan, PrivacyLoss(math.floor(10**12 / (2 * scale**2))))
    (drawn,) = measurement.release(Exact(plan.cells or (), ((value,) * draws,))).vectors
    return [number - value for number in drawn]


# --- the discrete Gaussian


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5, 11.0])
def test_noise_has_the_probabilities_of_the_discrete_gaussian(scale: float) -> None:
    drawn = noise(scale)
    assert fits(drawn, gaussian_pmf(scale))
    assert not fits(drawn, gaussian_pmf(scale * 1.06))
    off = math.ceil(scale / 4)
    assert not fits([number + off * (i % 4 == 0) for i, number in enumerate(drawn)], gaussian_pmf(scale))


def test_noise_does_not_depend_on_what_it_is_added_to() -> None:
    assert fits(noise(2.5, value=2**61 - 3), gaussian_pmf(2.5))
    assert fits(noise(2.5, value=-7), gaussian_pmf(2.5))


def test_noise_of_a_large_scale_has_the_right_quantiles() -> None:
    """In bins, where each number for itself is rare."""
    scale = 3_000.0
    cut = [round(scale * z) for z in (-2.5, -1.5, -0.8, -0.3, 0.0, 0.4, 1.0, 1.9)]
    places = {k: sum(k >= edge for edge in cut) for k in range(-40_000, 40_001)}
    chances: Counter[Hashable] = Counter()
    for k, chance in gaussian_pmf(scale, 40_000).items():
        chances[places[k]] += chance  # type: ignore[assignment]
    assert fits((places[k] for k in noise(scale)), chances)
    assert not fits((places[round(k * 1.05)] for k in noise(scale)), chances)


def test_the_noises_of_cells_items_and_vectors_are_independent() -> None:
    """Correlations of 20,000 pairs lie within 0.05 of zero, seven standard errors."""
    draws = 20_000
    plan = plan_of(vector(), vector("histogram", width=2), count=draws)
    measurement = plan_noise(plan, PrivacyLoss.of("0.1"))
    rows, bins = measurement.release(Exact(plan.cells or (), ((0,) * draws, (0,) * 2 * draws))).vectors
    for one, two in ((rows, bins[::2]), (bins[::2], bins[1::2]), (rows[1:], rows[:-1]), (bins[1::2], rows)):
        products = math.fsum(a * b for a, b in zip(one, two, strict=True))
        squares = math.sqrt(math.fsum(a * a for a in one) * math.fsum(b * b for b in two))
        assert abs(products / squares) < 0.05


# --- the threshold


def shown(count: int, draws: int) -> tuple[int, int, float]:
    """How often a group of so many units is shown, out of how many; and how often it should be."""
    units = vector("units", l2=1, linf=1, l0=1)
    measurement = plan_noise(plan_of(units, unknown=True), PrivacyLoss.of("0.08"), delta=DELTA)
    (one,) = measurement.noises
    assert one.threshold is not None
    kept = measurement.release(Exact(cells(draws), ((count,) * draws,))).vectors[0]
    assert min(kept, default=one.threshold) >= one.threshold
    return len(kept), draws, tail(one.scale, one.threshold - count)


@pytest.mark.parametrize("count", [1, 4, 7, 9, 12])
def test_groups_are_shown_as_often_as_their_threshold_says(count: int) -> None:
    kept, draws, chance = shown(count, 40_000)
    assert binom.cdf(kept, draws, chance) > FALSE_ALARM
    assert binom.sf(kept - 1, draws, chance) > FALSE_ALARM
    if count > 4:  # were the threshold one higher or lower, it would be seen
        lower = shown(count + 1, 1)[2]
        assert binom.cdf(kept, draws, lower) < FALSE_ALARM


def test_figures_of_shown_groups_have_the_tail_of_the_noise() -> None:
    measurement = plan_noise(plan_of(vector("units"), unknown=True), PrivacyLoss.of("0.08"), delta=DELTA)
    (one,), draws = measurement.noises, 60_000
    assert one.threshold is not None
    least = one.threshold - 10
    kept = measurement.release(Exact(cells(draws), ((10,) * draws,))).vectors[0]
    over = {k: chance for k, chance in gaussian_pmf(one.scale).items() if k >= least}
    assert fits((number - 10 for number in kept), {k: chance / sum(over.values()) for k, chance in over.items()})


# --- top-k


def orders(scores: tuple[int, ...], scale: float, size: int) -> dict[Hashable, float]:
    """Peeling the exponential mechanism: each next value with a weight of e^(score/scale) among those left."""
    chances: dict[Hashable, float] = {}
    for order in permutations(range(len(scores)), size):
        left, chance = list(range(len(scores))), 1.0
        for chosen in order:
            chance *= 1 / math.fsum(math.exp((scores[other] - scores[chosen]) / scale) for other in left)
            left.remove(chosen)
        chances[order] = chance
    return chances


def test_top_values_are_chosen_with_the_probabilities_of_peeling() -> None:
    scores, draws = (9, 7, 7, 2), 6_000
    plan = plan_of(vector("top", width=4), count=draws)
    measurement = plan_noise(plan, PrivacyLoss.of("0.3"))
    (drawn,) = measurement.release(Exact(plan.cells or (), (scores * draws,))).vectors
    outcomes = [drawn[i : i + 3] for i in range(0, len(drawn), 3)]
    scale = measurement.noises[0].scale
    assert fits(outcomes, orders(scores, scale, 3))
    assert not fits(outcomes, orders(scores, scale * 1.3, 3))
    assert not fits(outcomes, orders((9, 7, 7, 3), scale, 3))
