"""Privacy loss is exact, never negative, rounded towards spent, and its shares add up."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal, getcontext, localcontext
from fractions import Fraction

import opendp.prelude as dp
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kaianalytics.privacy.loss import DELTA_UNITS, RHO_UNITS, PrivacyLoss, rho_for

dp.enable_features("contrib")


def test_a_loss_is_counted_in_whole_units() -> None:
    assert PrivacyLoss.of("0.002") == PrivacyLoss(2 * 10**9)
    assert PrivacyLoss.of(1, "0.000001") == PrivacyLoss(RHO_UNITS, DELTA_UNITS // 10**6)
    assert str(PrivacyLoss.of("0.01").rho) == "0.01"
    assert str(PrivacyLoss.of(0, "0.5").delta) == "0.5"


@pytest.mark.parametrize("tiny", ["1e-13", "1e-300", "1e-999999", "0." + "0" * 100 + "1"])
def test_what_is_less_than_a_unit_is_a_whole_unit_spent(tiny: str) -> None:
    assert PrivacyLoss.of(tiny) == PrivacyLoss(1)


def test_digits_beyond_any_context_still_round_towards_spent() -> None:
    assert PrivacyLoss.of("1." + "0" * 90 + "1").rho_units == RHO_UNITS + 1


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1000001", "much", "", None, 0.1, True, "-1e-400"])
def test_a_loss_out_of_range_or_inexact_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="privacy loss"):
        PrivacyLoss.of(value)  # type: ignore[arg-type]  # the fault is the point


@pytest.mark.parametrize(("rho", "delta"), [(-1, 0), (0, -1), (0, DELTA_UNITS + 1), (1.0, 0), (0, True)])
def test_a_wrong_loss_cannot_be_built(rho: int, delta: int) -> None:
    with pytest.raises(ValueError, match="privacy loss"):
        PrivacyLoss(rho, delta)


def test_losses_add_up_and_stay_within_an_allowance() -> None:
    spent = PrivacyLoss.of("0.1", "0.6") + PrivacyLoss.of("0.2", "0.6")
    assert spent == PrivacyLoss.of("0.3", 1)
    assert PrivacyLoss.of("0.3").within(PrivacyLoss.of("0.3"))
    assert not PrivacyLoss.of("0.300000000001").within(PrivacyLoss.of("0.3", 1))
    assert not PrivacyLoss.of(0, "0.2").within(PrivacyLoss.of(1, "0.1"))


@given(st.integers(0, 10**18), st.integers(0, DELTA_UNITS), st.integers(1, 50))
def test_shares_add_up_to_the_loss_and_differ_by_at_most_a_unit(rho: int, delta: int, parts: int) -> None:
    loss = PrivacyLoss(rho, delta)
    shares = loss.split(parts)
    assert sum(share.rho_units for share in shares) == rho
    assert sum(share.delta_units for share in shares) == delta
    assert max(shares, key=lambda share: share.rho_units).rho_units - shares[-1].rho_units in (0, 1)


def test_a_loss_is_not_split_into_nothing() -> None:
    with pytest.raises(ValueError, match="one part"):
        PrivacyLoss.of(1).split(0)


@given(st.integers(0, 10**18), st.lists(st.integers(1, 10**6), min_size=1, max_size=40))
def test_weighed_shares_add_up_to_the_loss_and_follow_the_weights(rho: int, weights: list[int]) -> None:
    shares = PrivacyLoss(rho, 7).shared(weights)
    assert sum(share.rho_units for share in shares) == rho
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share.rho_units - Fraction(rho * weight, sum(weights))) < 1
        assert share.delta_units == 0


@pytest.mark.parametrize("weights", [[], [1, 0], [1, -1], [1.0], [True]])
def test_shares_need_whole_weights(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        PrivacyLoss.of(1).shared(weights)


def test_one_who_is_in_all_windows_loses_the_square_of_their_number() -> None:
    assert PrivacyLoss.of("0.01", "1e-9").times_squared(52) == PrivacyLoss.of("27.04", "1e-9")
    assert PrivacyLoss.of("0.01").times_squared(1) == PrivacyLoss.of("0.01")
    with pytest.raises(ValueError, match="window"):
        PrivacyLoss.of(1).times_squared(0)


# --- epsilon, for people


def stated(rho: Decimal, delta: Decimal, order: Decimal) -> Decimal:
    """The ε of Canonne, Kamath and Steinke 2020, proposition 12, for one order."""
    one = order - 1
    return order * rho + one.ln() - (delta.ln() + order * order.ln()) / one


def least(rho: Decimal, delta: Decimal) -> Decimal:
    """The least ε over all orders: in the logarithm of α - 1 a valley with one bottom, found by thirds."""
    low, high = Decimal(-4), Decimal(9)
    for _ in range(160):
        third = (high - low) / 3
        left, right = (stated(rho, delta, 1 + 10 ** (low + n * third)) for n in (1, 2))
        low, high = (low, high - third) if left < right else (low + third, high)
    return max(stated(rho, delta, 1 + 10**low), Decimal(0))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 10**13), st.sampled_from(["0.1", "0.000001", "1e-12"]))
@example(13_650_285_229, "0.1")  # where ε passes through nothing, so that a relative distance says nothing
def test_epsilon_is_never_below_the_least_over_all_orders_and_near_it(rho: int, delta: str) -> None:
    loss = PrivacyLoss(rho)
    told = loss.epsilon(Decimal(delta))
    with localcontext() as context:
        context.prec = 50
        bottom = float(least(loss.rho, Decimal(delta)))
        assert bottom * (1 - 1e-9) - 1e-12 <= told <= bottom + max(0.001, 0.01 * bottom)


@settings(max_examples=40, deadline=None)
@given(st.integers(10**6, 10**13), st.sampled_from([1e-3, 1e-6, 1e-10]))
def test_epsilon_is_never_below_opendp_s_and_hardly_above_it(rho: int, delta: float) -> None:
    scale = math.sqrt(1 / (2 * rho / RHO_UNITS))
    gaussian = dp.m.make_gaussian(dp.atom_domain(T="i64"), dp.absolute_distance(T="i64"), scale=scale)
    exact = PrivacyLoss(math.ceil(Fraction(gaussian.map(1)) * RHO_UNITS))
    theirs = dp.c.make_zCDP_to_approxDP(gaussian).map(1).epsilon(delta)
    assert theirs * (1 - 1e-9) <= exact.epsilon(delta) <= theirs * 1.0001 + 0.0011


def test_epsilon_of_known_losses_whatever_the_context() -> None:
    assert PrivacyLoss.of("0.5").epsilon(1e-6) == 5.222  # Bun and Steinke's simple formula says 5.757
    assert PrivacyLoss.of("0.000001").epsilon(1e-6) == 0.0045
    assert PrivacyLoss(0).epsilon(1e-6) == 0
    with localcontext() as context:
        context.prec = 2
        assert getcontext().prec == 2
        assert PrivacyLoss.of("0.123456").rho == Decimal("0.123456")
        assert PrivacyLoss.of("0.5").epsilon(1e-6) == 5.222


@settings(max_examples=60, deadline=None)
@given(st.decimals("0.001", "100", places=4), st.sampled_from(["0.5", "0.001", "0.000001", "1e-12", "1e-18"]))
def test_the_rho_for_an_epsilon_is_the_largest_that_keeps_within_it(epsilon: Decimal, delta: str) -> None:
    rho = rho_for(epsilon, Decimal(delta))
    shown = epsilon.quantize(Decimal(1).scaleb(min(-3, epsilon.adjusted() - 2)), rounding=ROUND_CEILING)
    assert Decimal(repr(rho.epsilon(Decimal(delta)))) <= shown
    more = PrivacyLoss(math.ceil(rho.rho_units * 1.005) + 2)
    assert Decimal(repr(more.epsilon(Decimal(delta)))) > epsilon


def test_what_no_unit_of_rho_keeps_within_buys_nothing() -> None:
    assert rho_for(Decimal("1e-9"), Decimal("1e-12")) == PrivacyLoss(0)
    assert rho_for(Decimal("1"), 1e-6) == PrivacyLoss.of("0.024355970359")


@pytest.mark.parametrize("epsilon", ["0", "-1", "nan", "inf", "1000001"])
def test_an_epsilon_out_of_range_buys_nothing(epsilon: str) -> None:
    with pytest.raises(ValueError, match="epsilon"):
        rho_for(Decimal(epsilon), 1e-6)


@pytest.mark.parametrize("delta", [0, 1, -0.1, 2])
def test_epsilon_needs_a_delta_between_0_and_1(delta: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        PrivacyLoss.of(1).epsilon(delta)
    with pytest.raises(ValueError, match="between 0 and 1"):
        rho_for(Decimal(1), delta)
