"""The forecast: whole weeks that an allowance still covers, never one too many."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.review.forecast import FAR, Pace, end_of, weekly

DAY = date(2026, 11, 2)


@pytest.mark.parametrize(("cadence", "runs"), [("daily", 7), ("weekly", 1), ("monthly", 1)])
def test_a_weeks_cost_is_every_run_of_the_week(cadence: str, runs: int) -> None:
    assert weekly("0.005", cadence) == PrivacyLoss(5_000_000_000 * runs)


def test_reports_and_exploration_add_up() -> None:
    paces = [Pace("a", "p", PrivacyLoss(3)), Pace("b", "p", PrivacyLoss(4))]
    end = end_of("cap", PrivacyLoss(70), paces)
    assert (end.weekly, end.weeks, end.day(DAY)) == (PrivacyLoss(7), 10, date(2027, 1, 11))


def test_an_allowance_that_is_spent_ends_now() -> None:
    assert end_of("cap", PrivacyLoss(0), [Pace("a", "p", PrivacyLoss(1))]).day(DAY) == DAY


def test_without_a_pace_there_is_no_end() -> None:
    end = end_of("cap", PrivacyLoss(5), [])
    assert end.weeks is None
    assert end.day(DAY) is None


def test_a_far_end_has_no_date() -> None:
    assert end_of("cap", PrivacyLoss(FAR * 10), [Pace("a", "p", PrivacyLoss(1))]).day(DAY) is None


@given(left=st.integers(0, 10**15), cost=st.integers(1, 10**12))
def test_the_weeks_are_covered_and_one_more_is_not(left: int, cost: int) -> None:
    weeks = end_of("cap", PrivacyLoss(left), [Pace("a", "p", PrivacyLoss(cost))]).weeks
    assert weeks is not None
    assert weeks * cost <= left < (weeks + 1) * cost
