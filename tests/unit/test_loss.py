"""Privacy loss is exact, never negative, rounded towards spent, and its shares add up."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaianalytics.privacy.loss import DELTA_UNITS, RHO_UNITS, PrivacyLoss


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


@given(st.integers(1, 10**13), st.sampled_from(["0.1", "0.000001", "1e-12"]))
def test_epsilon_is_an_upper_bound_within_a_thousandth(rho: int, delta: str) -> None:
    loss = PrivacyLoss(rho)
    with localcontext() as context:
        context.prec = 100
        exact = loss.rho + 2 * (loss.rho * -Decimal(delta).ln()).sqrt()
        told = Decimal(repr(loss.epsilon(Decimal(delta))))
        assert exact <= told < exact + Decimal("0.001")


def test_epsilon_agrees_with_the_formula_and_ignores_the_context() -> None:
    assert PrivacyLoss.of("0.5").epsilon(1e-6) == math.ceil((0.5 + 2 * math.sqrt(0.5 * math.log(1e6))) * 1000) / 1000
    assert PrivacyLoss(0).epsilon(1e-6) == 0
    with localcontext() as context:
        context.prec = 2
        assert getcontext().prec == 2
        assert PrivacyLoss.of("0.123456").rho == Decimal("0.123456")
        assert PrivacyLoss.of("0.5").epsilon(1e-6) == 5.757


@pytest.mark.parametrize("delta", [0, 1, -0.1, 2])
def test_epsilon_needs_a_delta_between_0_and_1(delta: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        PrivacyLoss.of(1).epsilon(delta)
