"""What the ledger adds up, held against two other ways of counting: OpenDP's odometer and a PLD accountant.

The sums here are the ledger's own: whole units of each question's loss. They are never below OpenDP's, whose odometer
is given the very mechanisms that are drawn; and the ε that is told of them is never below that of dp-accounting, which
composes the discrete Gaussians' privacy loss distributions themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import reduce

import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from hypothesis import given, settings
from hypothesis import strategies as st
from opendp.combinators import make_composition, make_fully_adaptive_composition
from opendp.domains import atom_domain, vector_domain
from opendp.measures import zero_concentrated_divergence
from opendp.metrics import l2_distance
from support.plan_kit import plan_of, vector

from kaianalytics.privacy.loss import RHO_UNITS, PrivacyLoss
from kaianalytics.privacy.measuring.measurement import Measurement, plan_noise

I64 = atom_domain(T="i64")
DELTA = Decimal("1e-6")
rhos = st.integers(10**7, RHO_UNITS)


def spent(measurements: Sequence[Measurement]) -> PrivacyLoss:
    """What the ledger adds up for one population."""
    return sum((measurement.account_loss for measurement in measurements), PrivacyLoss(0))


@st.composite
def workloads(draw: st.DrawFn) -> tuple[int, list[Measurement]]:
    """Questions of one to three vectors of one sensitivity, some over windows, at losses of all sizes."""
    l2, measurements = draw(st.integers(1, 12)), []
    for _ in range(draw(st.integers(1, 5))):
        plan = plan_of(*[vector(l2=l2)] * draw(st.integers(1, 3)), windows=draw(st.sampled_from([0, 0, 1, 4])))
        weights = draw(st.none() | st.lists(st.integers(1, 9), min_size=len(plan.vectors), max_size=len(plan.vectors)))
        measurements.append(plan_noise(plan, PrivacyLoss(draw(rhos)), weights))
    return l2, measurements


@settings(max_examples=60, deadline=None)
@given(workloads())
def test_the_ledger_s_sum_is_never_below_opendp_s_odometer(workload: tuple[int, list[Measurement]]) -> None:
    l2, measurements = workload
    metric, measure = l2_distance(T="f64"), zero_concentrated_divergence()
    odometer = make_fully_adaptive_composition(vector_domain(I64), metric, measure)([0])
    theirs = Fraction(0)
    for measurement in measurements:
        windows = max(len(measurement.plan.windows), 1)
        for noise in measurement.noises:
            odometer(noise.drawing)
            theirs += Fraction(noise.drawing.map(float(l2 * windows)))
    ours = spent(measurements)
    assert theirs * RHO_UNITS <= ours.rho_units
    if all(not measurement.plan.windows for measurement in measurements):
        assert Fraction(odometer.privacy_loss(float(l2))) * RHO_UNITS <= ours.rho_units + 1e-3  # its sums are floats
        assert ours.rho_units <= Fraction(odometer.privacy_loss(float(l2))) * RHO_UNITS * (1 + Fraction(1, 10**6))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(rhos, st.sampled_from(["1e-3", "1e-6", "1e-9"])), min_size=1, max_size=4))
def test_thresholds_add_up_to_no_less_than_opendp_s_composition_says(asked: list[tuple[int, str]]) -> None:
    """By its combinator, for its odometer takes no distance of three parts (it ends the process)."""
    units = vector("units", l2=2, linf=1, l0=4)
    measurements = [
        plan_noise(plan_of(units, unknown=True), PrivacyLoss(rho), delta=Decimal(delta)) for rho, delta in asked
    ]
    rho, delta = make_composition([measurement.noises[0].drawing for measurement in measurements]).map((4, 2, 1))
    ours = spent(measurements)
    assert rho * RHO_UNITS <= ours.rho_units + 1e-3
    assert delta <= float(ours.delta)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 9),
    st.lists(st.integers(10**9, RHO_UNITS), min_size=1, max_size=3),
    st.sampled_from([1e-3, 1e-6, 1e-9]),
)
def test_the_epsilon_that_is_told_is_never_below_a_pld_accountant_s(l2: int, losses: list[int], delta: float) -> None:
    measurements = [plan_noise(plan_of(vector(l2=l2), vector(l2=l2)), PrivacyLoss(rho)) for rho in losses]
    distributions = [
        pld.from_discrete_gaussian_mechanism(noise.scale, sensitivity=l2, value_discretization_interval=1e-3)
        for measurement in measurements
        for noise in measurement.noises
    ]
    theirs = reduce(lambda one, two: one.compose(two), distributions).get_epsilon_for_delta(delta)
    told = spent(measurements).epsilon(delta)
    assert theirs <= told
    assert told < 2 * theirs + 0.5  # and not far above it


@pytest.mark.parametrize("questions", [1, 10, 100])
def test_many_small_questions_keep_within_what_is_told(questions: int) -> None:
    (noise,) = plan_noise(plan_of(vector()), PrivacyLoss.of("0.002")).noises
    one = pld.from_discrete_gaussian_mechanism(noise.scale, value_discretization_interval=1e-3)
    theirs = one.self_compose(questions).get_epsilon_for_delta(1e-6)
    told = PrivacyLoss(questions * noise.loss.rho_units).epsilon(1e-6)
    assert theirs <= told < 1.25 * theirs


def test_a_planted_fault_is_seen_a_ledger_that_counts_one_vector_of_two() -> None:
    measurement = plan_noise(plan_of(vector(), vector()), PrivacyLoss.of("0.5"))
    distributions = [
        pld.from_discrete_gaussian_mechanism(n.scale, value_discretization_interval=1e-3) for n in measurement.noises
    ]
    theirs = reduce(lambda one, two: one.compose(two), distributions).get_epsilon_for_delta(1e-6)
    assert measurement.noises[0].loss.epsilon(1e-6) < theirs <= spent([measurement]).epsilon(1e-6)
