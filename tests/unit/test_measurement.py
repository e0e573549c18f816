"""Noise: what is proved before data is read, what is refused, and that the draw is the discrete Gaussian it claims."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import opendp.prelude as dp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaianalytics.errors import Fault, QueryUnsupported
from kaianalytics.privacy.bounding import BoundedColumn
from kaianalytics.privacy.loss import RHO_UNITS, PrivacyLoss
from kaianalytics.privacy.measurement import MAX_SCALE, Measurement, Noise, plan


def column(l2: int = 1, step: str = "1", cells: int = 1) -> BoundedColumn:
    return BoundedColumn("n", "count", l2, Decimal(step), cells, "")


# --- the proof


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 2**38), min_size=1, max_size=5),
    st.integers(10**6, 10**13),
)
def test_each_figure_is_proved_within_its_share_and_all_within_the_loss(l2s: list[int], rho: int) -> None:
    loss = PrivacyLoss(rho)
    try:
        measurement = plan([column(l2) for l2 in l2s], loss)
    except QueryUnsupported as refusal:
        assert max(l2s) / math.sqrt(2 * (rho // len(l2s)) / RHO_UNITS) > MAX_SCALE * 0.99
        assert refusal.code == "LOSS_OUT_OF_RANGE"
        return
    spent = 0
    for noise, l2, share in zip(measurement.noises, l2s, loss.split(len(l2s)), strict=True):
        exact = Fraction(l2) ** 2 / (2 * Fraction(noise.scale) ** 2) * RHO_UNITS
        assert exact <= noise.loss.rho_units <= share.rho_units
        spent += noise.loss.rho_units
    assert spent <= rho


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 2**38), st.integers(10**6, 10**13))
def test_the_scale_is_the_smallest_that_opendp_s_map_accepts(l2: int, rho: int) -> None:
    try:
        (noise,) = plan([column(l2)], PrivacyLoss(rho)).noises
    except QueryUnsupported:
        return
    smaller = math.nextafter(noise.scale, 0)
    vectors = dp.vector_domain(dp.atom_domain(T="i64"))
    mechanism = dp.m.make_gaussian(vectors, dp.l2_distance(T="f64"), scale=smaller)
    assert math.ceil(Fraction(mechanism.map(float(l2))) * RHO_UNITS) > rho


def test_two_figures_share_the_loss_exactly() -> None:
    measurement = plan([column(), column()], PrivacyLoss(2 * 10**9 + 1))
    assert [noise.loss.rho_units for noise in measurement.noises] == [10**9 + 1, 10**9]


def test_a_measurement_that_costs_more_than_its_loss_cannot_be_built() -> None:
    noises = plan([column(), column()], PrivacyLoss.of("0.01")).noises
    with pytest.raises(ValueError, match="no more than its loss"):
        Measurement(PrivacyLoss.of("0.009"), noises)
    with pytest.raises(ValueError, match="no more than its loss"):
        Measurement(PrivacyLoss.of("0.01"), ())


def test_a_planted_wrong_sensitivity_breaks_the_proof() -> None:
    """Noise made for half the sensitivity costs four times the share, and the check above sees it."""
    (noise,) = plan([column(l2=1)], PrivacyLoss.of("0.01")).noises
    assert math.ceil(Fraction(noise.mechanism.map(2.0)) * RHO_UNITS) > 3 * PrivacyLoss.of("0.01").rho_units


@pytest.mark.parametrize(
    ("l2s", "loss"),
    [
        ([1], PrivacyLoss(0)),
        ([1, 1], PrivacyLoss(1)),  # the second share would be nothing
        ([1], PrivacyLoss.of("10.000000000001")),
        ([1], PrivacyLoss.of(10**6)),
        ([2**38], PrivacyLoss(1)),
    ],
)
def test_a_loss_out_of_range_is_refused(l2s: list[int], loss: PrivacyLoss) -> None:
    with pytest.raises(QueryUnsupported) as caught:
        plan([column(l2) for l2 in l2s], loss)
    assert caught.value.code == "LOSS_OUT_OF_RANGE"
    assert "rho" in caught.value.hint


def test_only_the_contrib_feature_of_opendp_is_on() -> None:
    with pytest.raises(Exception, match=r"(?i)honest"):
        dp.t.make_user_transformation(
            dp.atom_domain(T=int),
            dp.absolute_distance(T=int),
            dp.atom_domain(T=int),
            dp.absolute_distance(T=int),
            int,
            int,
        )


# --- error bars


@pytest.mark.parametrize("scale", [0.3, 1.0, 7.5, 250.0])
def test_half_widths_cover_95_percent_of_the_discrete_gaussian(scale: float) -> None:
    rho = PrivacyLoss.of(str(Decimal(1 / (2 * scale**2)).quantize(Decimal("1e-12"))))
    (width,) = plan([column()], rho).half_widths
    weights = {k: math.exp(-k * k / (2 * scale**2)) for k in range(-int(40 * scale) - 40, int(40 * scale) + 41)}
    inside = sum(weight for k, weight in weights.items() if abs(k) < width) / sum(weights.values())
    tighter = sum(weight for k, weight in weights.items() if abs(k) < width - 1) / sum(weights.values())
    assert inside >= 0.95 > tighter


def test_half_widths_are_in_the_column_s_units_and_quick_at_any_scale() -> None:
    measurement = plan([column(l2=10**9, step="0.01")], PrivacyLoss.of("0.000001"))
    (noise,) = measurement.noises
    (width,) = measurement.half_widths
    assert width == pytest.approx(1.96 * noise.scale * 0.01, rel=1e-3)
    below, above = (plan([column(l2)], PrivacyLoss.of("0.5")).half_widths[0] for l2 in (4_999, 5_001))
    assert above - below == pytest.approx(2 * 1.96, abs=3)  # the exact and the bounding formula agree where they meet


# --- the draw


def release(cells: int, scale: float, value: int = 0) -> list[int]:
    rho = Decimal(1 / (2 * scale**2)).quantize(Decimal("1e-12"))
    (released,) = plan([column(cells=cells)], PrivacyLoss.of(rho)).release([[value] * cells])
    return released


@pytest.mark.parametrize("scale", [0.8, 5.0, 120.0])
def test_released_noise_has_the_variance_and_the_mean_it_claims(scale: float) -> None:
    """20,000 draws; each limit is 6.5 standard errors wide, so a sound sampler fails about once in 10¹⁰ runs."""
    noise = release(20_000, scale)
    weights = {k: math.exp(-k * k / (2 * scale**2)) for k in range(-int(40 * scale) - 40, int(40 * scale) + 41)}
    variance = sum(k * k * weight for k, weight in weights.items()) / sum(weights.values())
    fourth = sum(k**4 * weight for k, weight in weights.items()) / sum(weights.values())
    assert abs(sum(noise) / len(noise)) < 6.5 * math.sqrt(variance / len(noise))
    measured = sum(k * k for k in noise) / len(noise)
    assert abs(measured - variance) < 6.5 * math.sqrt((fourth - variance**2) / len(noise))


def test_released_figures_are_whole_numbers_and_never_the_same_twice() -> None:
    first, second = (release(50, 1e5, value=2**61 + 1) for _ in range(2))
    assert all(type(value) is int for value in first + second)
    assert first != second
    assert all(abs(value - 2**61) < 2 * 10**6 for value in first + second)


def test_each_figure_gets_its_own_noise() -> None:
    measurement = plan([column(l2=1, cells=400), column(l2=1000, cells=400)], PrivacyLoss.of("0.25"))
    small, large = measurement.release([[0] * 400, [10**9] * 400])
    assert max(map(abs, small)) < 50
    assert max(abs(value - 10**9) for value in large) > 1000


@pytest.mark.parametrize(
    "vectors",
    [
        [],
        [[1, 2]],
        [[1, 2], [1, 2], [1, 2]],
        [[1], [1, 2]],
        [[1, 2, 3], [1, 2]],
        [[1, 2], [1.0, 2]],
        [[1, 2], [True, 2]],
        [[1, 2], [None, 2]],
        [[1, 2], [2**62 + 1, 2]],
    ],
)
def test_vectors_that_do_not_fit_are_a_fault_and_nothing_is_drawn(vectors: list[list[int]]) -> None:
    with pytest.raises(Fault) as caught:
        plan([column(cells=2), column(cells=2)], PrivacyLoss.of("0.01")).release(vectors)
    assert caught.value.code == "MEASUREMENT_INPUT"


def test_totals_at_the_limit_do_not_saturate() -> None:
    measurement = plan([column(l2=2**38, cells=2)], PrivacyLoss.of("0.00001"))
    (noise,) = measurement.noises
    assert isinstance(noise, Noise)
    ((low, high),) = measurement.release([[-(2**62), 2**62]])
    assert abs(low + 2**62) < 12 * noise.scale
    assert abs(high - 2**62) < 12 * noise.scale
