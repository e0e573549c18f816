"""Bounds found from the data, within one charge: a histogram at a part of the price, then the answer at the rest.

Laws: both parts are proved before their own read, and together cost no more than was charged; a question that can't be
answered at the rest of its price is refused before anything is charged; what is found decides which bounds are chosen,
and nothing of what they guarantee.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.bounding.found_bounds import profile_from, profile_plan
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.measurement import MAX_SHARE, Measurement, plan_noise
from kaianalytics.privacy.measuring.prices import Price
from kaianalytics.privacy.measuring.pricing import Priced
from kaianalytics.privacy.plan import Noisy
from kaianalytics.privacy.query import StatisticsQuery
from kaianalytics.privacy.refusals import unsupported
from kaianalytics.privacy.unit import Profile

PART = 10  # one tenth of the price finds the bounds: the other nine cost the answer a twentieth of its exactness


@dataclass(frozen=True)
class Finding:
    """The measurement that bounds are found by, and what is left of the price for the answer.

    `delta` is what the threshold of unknown keys may cost.
    """

    query: StatisticsQuery
    bounds: BoundsAsked
    measurement: Measurement
    rest: PrivacyLoss
    delta: Decimal | None

    def profile(self, noisy: Noisy) -> Profile:
        """What the noisy counts tell."""
        return profile_from(self.query, noisy, max(noise.bar.deviation for noise in self.measurement.noises))

    def settled(self, profile: Profile | None) -> Priced:
        """The answer's plan under the bounds that a profile leads to, proved within the rest of the price."""
        plan = compile_query(self.query, self.bounds, self.rest, profile)
        return Priced(plan, plan_noise(plan, self.rest, None, self.delta), self.rest)


def finding_of(query: StatisticsQuery, bounds: BoundsAsked, price: Price, delta: Decimal | None) -> Finding:
    """How the bounds of a question are found at its price; QueryUnsupported where they can't be."""
    if price.loss is None:
        raise QueryUnsupported(
            "BOUNDS_PRIVATE_PRICE",
            "Bounds that are found from the data are paid by a part of a loss, not of an accuracy.",
            rule="how exact an answer is depends on its bounds, which are not known beforehand here",
            hint='name rho or epsilon with bounds="private"',
        )
    if all(measure.kind == "units" for measure in query.measures):
        raise QueryUnsupported(
            "BOUNDS_PRIVATE_NONE",
            "There are no bounds to find: the question counts each unit once.",
            rule="what is found is how many rows, or how much, a unit adds",
            hint='leave bounds="private" out',
        )
    units = price.loss.rho_units // PART
    if units < 1:
        raise unsupported("LOSS_OUT_OF_RANGE", limit=str(MAX_SHARE.rho), way="ask with a larger rho")
    measurement = plan_noise(profile_plan(query), PrivacyLoss(units))
    return Finding(query, bounds, measurement, PrivacyLoss(price.loss.rho_units - units), delta)
