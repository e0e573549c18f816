"""When an allowance ends, at the pace of what is approved and of what has lately been explored.

A run costs at most what its passport allows, so a forecast by passports is the earliest end that approved reports can
bring; a question answered again on the same snapshot costs nothing and makes it later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from kaianalytics.privacy.loss import PrivacyLoss

RUNS_PER_WEEK = {"daily": 7, "weekly": 1, "monthly": 1}  # monthly rounded up, towards spent
FAR = 10_000  # weeks: beyond this there is no useful date


@dataclass(frozen=True)
class Pace:
    """What one report, or the exploration of one purpose, costs in a week."""

    name: str
    purpose: str
    weekly: PrivacyLoss


@dataclass(frozen=True)
class End:
    """One allowance, what is left of it, what a week costs it, and when it ends at that pace."""

    allowance: str
    left: PrivacyLoss
    weekly: PrivacyLoss
    weeks: int | None  # whole weeks that it still covers; None: nothing draws on it

    def day(self, today: date) -> date | None:
        """The first day of the week that it no longer covers."""
        return None if self.weeks is None or self.weeks > FAR else today + timedelta(weeks=self.weeks)


def weekly(rho_per_run: str, cadence: str) -> PrivacyLoss:
    """What a report costs in a week at most."""
    return PrivacyLoss(PrivacyLoss.of(rho_per_run).rho_units * RUNS_PER_WEEK[cadence])


def end_of(allowance: str, left: PrivacyLoss, paces: Sequence[Pace]) -> End:
    """When an allowance ends if each of these goes on at its pace."""
    total = sum((pace.weekly for pace in paces), PrivacyLoss(0))
    weeks = left.rho_units // total.rho_units if total.rho_units else None
    return End(allowance, left, total, weeks)
