"""Each engine's share of the total for one question, as the noise it means: what the best bounds are chosen by.

The peers find their own shares, in their own environments with their own accountants; these are for choosing alone.
"""

from __future__ import annotations

import math
from decimal import Decimal

from accuracy.bounds import Engine, opendp_bounds, our_bounds, smartnoise_bounds
from accuracy.workload import DELTA, Workload
from kaianalytics.privacy.loss import PrivacyLoss, rho_for


def loss_of_each(workload: Workload, epsilon: str) -> PrivacyLoss:
    """What each of our questions may cost: the total's ρ, shared evenly."""
    return PrivacyLoss(rho_for(Decimal(epsilon), Decimal(DELTA)).rho_units // len(workload.questions))


def smartnoise(workload: Workload, epsilon: str) -> Engine:
    """Laplace noise, every noisy column alike."""
    deviation = math.sqrt(2) / _epsilon_of_each(float(epsilon), workload.mechanisms)
    return Engine(smartnoise_bounds, deviation, deviation)


def opendp(workload: Workload, epsilon: str) -> Engine:
    """Gaussian noise, every question alike, the two parts of a mean alike."""
    deviation = 1 / math.sqrt(2 * float(loss_of_each(workload, epsilon).rho))
    return Engine(opendp_bounds, deviation, deviation * math.sqrt(2))


def ours(workload: Workload, epsilon: str) -> Engine:
    """Gaussian noise too, and the values of a mean from the middle of their range."""
    peer = opendp(workload, epsilon)
    return Engine(our_bounds, peer.one, peer.of_mean, centred=True)


def _epsilon_of_each(total: float, count: int) -> float:
    """The ε whose `count`-fold composition is within the total: Kairouz, Oh and Viswanath 2015, theorem 3.5."""
    low, high = 0.0, total
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _composed(middle, count) <= total else (low, middle)
    return low


def _composed(epsilon: float, count: int) -> float:
    mean = count * epsilon * math.tanh(epsilon / 2)
    square = count * epsilon**2
    one = mean + math.sqrt(2 * square * math.log(math.e + math.sqrt(square) / float(DELTA)))
    return min(count * epsilon, one, mean + math.sqrt(2 * square * math.log(1 / float(DELTA))))
