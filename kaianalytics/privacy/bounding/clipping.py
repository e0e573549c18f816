"""How many units a bound cuts short, as far as a profile tells, and how many one twice as loose would: for people.

Laws: it is arithmetic on public facts, or on what a paid release found; it proves nothing, and decides nothing.
"""

from __future__ import annotations

from decimal import Decimal

from kaianalytics.privacy.bounding.counting import Part
from kaianalytics.privacy.bounding.forms import Bounding
from kaianalytics.privacy.bounding.predicting import share_above
from kaianalytics.privacy.bounding.sentences import amount
from kaianalytics.privacy.expression import ColumnOf
from kaianalytics.privacy.plan import Clipping
from kaianalytics.privacy.query import Measure, StatisticsQuery
from kaianalytics.privacy.unit import Profile, Quantiles


def clipped(query: StatisticsQuery, bounding: Bounding, profile: Profile) -> tuple[Clipping, ...]:
    """For each vector of which the profile tells something, the share of units over its bound."""
    found = (_clipping(query, bounding, part, profile) for part in bounding.parts)
    return tuple(clipping for clipping in found if clipping is not None)


def totals_of(query: StatisticsQuery, measure: Measure, profile: Profile) -> Quantiles:
    """What a profile says of the column that is summed as it is."""
    of = measure.expression
    if not isinstance(of, ColumnOf) or of.relation != query.source.unit or measure.centre:
        return ()
    return profile.totals.get(of.name, ())


def _clipping(query: StatisticsQuery, bounding: Bounding, part: Part, profile: Profile) -> Clipping | None:
    if bounding.form.kind in ("rows", "whole") and bounding.form.rows is not None:
        return _of(part, Decimal(bounding.form.rows), profile.rows, profile.units)
    if bounding.form.kind != "norm" or part.kind == "units" or part.weigher is not None:
        return None
    measure = query.measures[part.measure]
    totals = totals_of(query, measure, profile) if measure.kind == "sum" else profile.rows
    return _of(part, amount(bounding, part), profile.norms.get(part.measure, totals), profile.units)


def _of(part: Part, bound: Decimal, points: Quantiles, units: int) -> Clipping | None:
    if not points:
        return None
    shares = (Decimal(f"{share_above(points, float(times * bound), units):.3g}") for times in (1, 2))
    return Clipping(part.measure, bound, *shares)
