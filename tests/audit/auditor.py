"""The auditor: how much privacy is lost at least, by statistics alone, without believing any proof.

From many draws on two neighbouring data sets, each outcome reduced to one number, it finds in one half of the draws a
threshold beyond which one of the two is likelier, and bounds both probabilities in the other half (Clopper, Pearson).
(ε, δ)-privacy says P ≤ e^ε·Q + δ, so that ε ≥ ln((P_low − δ)/Q_high). Where an outcome can't be under one of the two,
its probability under the other is at most δ.

All bounds of all audits together are wrong with probability 10⁻⁶: each of at most 2,000 is wrong with 5·10⁻¹⁰.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from kaianalytics.privacy.loss import PrivacyLoss

FAMILY = 1e-6
BOUNDS = 2_000
_EVENTS = 60
DELTAS = tuple(map(Decimal, ("0.001", "0.01", "0.03", "0.1")))  # beside the loss's own

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Audit:
    """What was found at one δ: ε is at least `least`; `claimed` is what the loss says it is at most."""

    delta: Decimal
    least: float
    claimed: float

    @property
    def violated(self) -> bool:
        """Whether the claim is wrong, with all but certainty."""
        return self.least > self.claimed


def audited(loss: PrivacyLoss, first: Numbers, second: Numbers) -> list[Audit]:
    """The claim of a loss held against draws of one number on two neighbouring data sets, at several δ.

    ε is bounded from below by outcomes that are likelier on the first where their number is larger, and the reverse.
    """
    ways = [_Way(first, second), _Way(-second, -first)]
    return [
        Audit(
            loss.delta + extra, max(0.0, *(way.least(float(loss.delta + extra)) for way in ways)), loss.epsilon(extra)
        )
        for extra in DELTAS
    ]


def violated(loss: PrivacyLoss, first: Numbers, second: Numbers) -> bool:
    """Whether the claim of a loss is wrong at some δ."""
    return any(audit.violated for audit in audited(loss, first, second))


def probability_at_least(hits: int, draws: int) -> float:
    """A lower bound of the probability of what was seen so often."""
    return float(_low(np.array([hits]), draws, FAMILY / BOUNDS)[0])


def by_likelihood(first: Sequence[Hashable], second: Sequence[Hashable]) -> tuple[Numbers, Numbers]:
    """Outcomes of any kind as numbers: how much likelier they are on the first data set, by other draws of the same."""
    half = len(first) // 2
    one, two = Counter(first[:half]), Counter(second[:half])

    def ratio(outcomes: Iterable[Hashable]) -> Numbers:
        return np.array([math.log((one[o] + 0.5) / (two[o] + 0.5)) for o in outcomes])

    return ratio(first[half:]), ratio(second[half:])


class _Way:
    """Events "the number is so large", with what is seen of both in one half of the draws, and bounded in the other."""

    def __init__(self, first: Numbers, second: Numbers) -> None:
        shares = np.concatenate([np.linspace(0, 1, _EVENTS), 1 - np.geomspace(1e-4, 0.1, _EVENTS)])
        events = np.unique(np.quantile(np.concatenate([first[::2], second[::2]]), shares))
        self._seen = _limits(first[::2], second[::2], events)
        self._unseen = _limits(first[1::2], second[1::2], events)

    def least(self, delta: float) -> float:
        """The lower bound of ε by the event that seems best."""
        best = int(np.argmax(_ratios(*self._seen, delta)))
        return float(_ratios(*self._unseen, delta)[best])


def _limits(first: Numbers, second: Numbers, events: Numbers) -> tuple[Numbers, Numbers]:
    """For each event, P at least under the first and Q at most under the second."""
    hits, other = (len(numbers) - np.searchsorted(np.sort(numbers), events) for numbers in (first, second))
    alpha = FAMILY / BOUNDS / 2
    return _low(hits, len(first), alpha), _high(other, len(second), alpha)


def _ratios(low: Numbers, high: Numbers, delta: float) -> Numbers:
    return np.log(np.maximum(low - delta, 1e-300) / high)


def _low(hits: NDArray[np.int64], draws: int, alpha: float) -> Numbers:
    return np.where(hits > 0, beta.ppf(alpha, np.maximum(hits, 1), draws - hits + 1), 0.0)


def _high(hits: NDArray[np.int64], draws: int, alpha: float) -> Numbers:
    return np.where(hits < draws, beta.ppf(1 - alpha, hits + 1, np.maximum(draws - hits, 1)), 1.0)
