"""Which form of bounding a question gets: the asked one, else the one with the least predicted error.

Laws: the choice is made from public facts alone (the contract, the bounds asked for, the asked loss, a profile), before
data is read; whatever is chosen, the noise follows from what it proves (`forms`). Without a profile nothing is cut
below the contract's limit. Of forms that are predicted to be as exact the cheapest to run is taken, and of dear ones
the norm before the groups: what groups × rows let pass never has a longer vector than their sensitivity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.bounding.counting import name_of, parts_of
from kaianalytics.privacy.bounding.expecting import Expectation
from kaianalytics.privacy.bounding.forms import Bounding, Way, norm_steps, touched
from kaianalytics.privacy.bounding.pre_aggregates import stored_for
from kaianalytics.privacy.bounding.predicting import bounds_below
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.plan import Form
from kaianalytics.privacy.query import Measure, StatisticsQuery
from kaianalytics.privacy.refusals import unsupported
from kaianalytics.privacy.unit import ContributionBounds, PreAggregate, Profile, StatisticsView, root_up

_EQUAL = 0.02  # errors that differ by so much are as good as equal
MANY_CELLS = 10**9  # cells, where nobody knows how many
_COSTS = {"stored": 0, "whole": 1, "rows": 2, "norm": 3, "groups": 4}


@dataclass(frozen=True)
class Facts:
    """What the choice is made from."""

    query: StatisticsQuery
    cells: int | None
    asked: BoundsAsked
    loss: PrivacyLoss | None
    profile: Profile | None

    @property
    def view(self) -> StatisticsView:
        """The view whose bounds hold."""
        return self.query.source.view

    @property
    def contribution(self) -> ContributionBounds:
        """How much one unit may add."""
        contribution = self.view.contribution
        assert contribution is not None  # a view about units has bounds
        return contribution

    @property
    def limit(self) -> int:
        """The L2 limit of row counts over the cells."""
        return self.contribution.l2(MANY_CELLS if self.cells is None else self.cells)

    @property
    def stored_rows(self) -> int | None:
        """How many rows of a unit there can be at most, for the store holds no more."""
        return None if self.query.source.multiplies else self.contribution.rows

    @property
    def numbered(self) -> bool:
        """Whether the store's ranks are those of the question's rows."""
        return bool(self.view.rank) and not self.query.source.multiplies

    @cached_property
    def expected(self) -> Expectation:
        """How exact the figures are expected to be."""
        return Expectation(self.query, self.contribution, self.cells, self.loss, self.profile)


def choose(facts: Facts) -> Bounding:
    """The asked form, or the best of all; QueryUnsupported where none fits: BOUNDS_LOOSER, _FORM, _TOO_WIDE."""
    if facts.asked.named:
        return _asked(facts)
    choices = _fitting(facts)
    scores = [facts.expected.score(bounding) for bounding in choices]
    good = min(scores) + _near(facts)
    return min((b for b, score in zip(choices, scores, strict=True) if score <= good), key=_cost)


def _cost(bounding: Bounding) -> int:
    chosen = 10 if bounding.choosing or (bounding.form.kind == "rows" and bounding.way == "per unit") else 0
    return chosen + _COSTS["stored" if bounding.way == "stored" else bounding.form.kind]


# --- candidates


def _fitting(facts: Facts) -> list[Bounding]:
    """The candidates whose totals can be counted exactly; refused where none can."""
    found, refusals = [], []
    for candidate in _candidates(facts):
        try:
            found.append(candidate())
        except QueryUnsupported as refusal:
            refusals.append(refusal)
    if not found:
        raise refusals[0]
    return found


def _candidates(facts: Facts) -> Iterator[Callable[[], Bounding]]:
    groups, q, rows = facts.contribution.groups, facts.contribution.rows_per_group, facts.contribution.rows
    if stored := stored_for(facts.query):
        yield partial(_stored_form, facts, stored)
    if _units_alone(facts):
        yield partial(_units_form, facts)
    if rows is not None:
        yield from (partial(rows_form, facts, bound) for bound in _row_bounds(facts, rows))
    if groups is not None and q is not None:
        yield partial(groups_form, facts, groups, q)
    if facts.cells is not None:
        yield lambda: norm_form(facts, _best_reaches(facts))


def _stored_form(facts: Facts, stored: PreAggregate) -> Bounding:
    parts = parts_of(facts.query, facts.cells, _all(facts, facts.limit), fine=_fine_stored(facts))
    for part in parts:
        bounds = facts.query.measures[part.measure].bounds
        if part.kind == "sum" and (bounds is None or part.grid != bounds.step or part.offset):
            # The table holds sums in the steps of the bounds, and in no others.
            raise unsupported("BOUNDS_TOO_WIDE", name=name_of(facts.query, part.measure))
    return Bounding(Form("whole"), parts, facts.cells, "stored", stored=stored)


def _units_form(facts: Facts) -> Bounding:
    # The root of the number of cells is rarely whole: in finer steps it is rounded up by next to nothing.
    parts = parts_of(facts.query, facts.cells, _all(facts, 1), fine=_fine_roots(facts))
    return Bounding(Form("whole"), parts, facts.cells, "direct")


def rows_form(facts: Facts, rows: int) -> Bounding:
    """At most so many rows of each unit: as stored, by the stored rank, or by a rank that the engine makes."""
    parts = parts_of(facts.query, facts.cells, _all(facts, rows), fine=_fine_roots(facts, rows))
    if facts.stored_rows is not None and rows >= facts.stored_rows:
        return Bounding(Form("whole", rows=facts.stored_rows), parts, facts.cells, "direct")
    way: Way = "direct" if facts.numbered else "per unit"
    return Bounding(Form("rows", rows=rows), parts, facts.cells, way, rank=facts.numbered)


def groups_form(facts: Facts, groups: int, rows: int) -> Bounding:
    """At most so many cells of each unit, and so many rows in each."""
    reach = root_up(rows**2 * touched(facts.cells, groups))
    parts = parts_of(facts.query, facts.cells, _all(facts, reach), fine=_fine_counts(facts, groups))
    return Bounding(Form("groups", groups, rows), parts, facts.cells, "per unit")


def norm_form(facts: Facts, reach: tuple[Fraction, ...]) -> Bounding:
    """Each unit's vector scaled down to a norm: `reach` rows of the largest value, by measure."""
    parts = parts_of(facts.query, facts.cells, reach, fine=(True,) * len(reach))
    norms = tuple(max(1, math.floor(far * part.most)) for far, part in zip(reach, parts, strict=True))
    shared = tuple(norms[place if part.weigher is None else part.weigher] for place, part in enumerate(parts))
    return Bounding(Form("norm"), parts, facts.cells, "per unit", norms=shared)


def _units_alone(facts: Facts) -> bool:
    """Whether a unit counts once in each cell, and may be in all of them."""
    limits = (facts.contribution.groups, facts.contribution.rows)
    alone = all(measure.kind == "units" for measure in facts.query.measures)
    return alone and facts.cells is not None and touched(facts.cells, *limits) == facts.cells


def _fine_counts(facts: Facts, groups: int | None) -> tuple[bool, ...]:
    """Which measures need steps finer than rows: those scaled down in a cell, and counts with a root in their bound."""
    known = groups is not None and facts.cells is not None  # unknown cells are counted in whole units by a threshold
    root = known and _irrational(touched(facts.cells, groups))
    return tuple(_scaled(measure) or (root and measure.kind != "sum") for measure in facts.query.measures)


def _fine_stored(facts: Facts) -> tuple[bool, ...]:
    limits = facts.contribution.groups, facts.contribution.rows
    rows, units = _fine_counts(facts, limits[0]), _fine_roots(facts, *limits)
    return tuple(units[i] if m.kind == "units" else rows[i] for i, m in enumerate(facts.query.measures))


def _fine_roots(facts: Facts, *limits: int | None) -> tuple[bool, ...]:
    """Trees, and distinct units where the root of the cells they appear in isn't whole, in steps finer than rows."""
    root = facts.cells is not None and _irrational(touched(facts.cells, *limits))
    return tuple(m.kind == "tree" or (root and m.kind == "units") for m in facts.query.measures)


def _irrational(number: int) -> bool:
    return math.isqrt(number) ** 2 != number


def _scaled(measure: Measure) -> bool:
    """Whether a unit's part is scaled down in each cell, rather than capped."""
    return measure.weighed_by is not None or measure.kind in ("tree", "histogram", "top")


def _all(facts: Facts, reach: int) -> tuple[Fraction, ...]:
    return (Fraction(reach),) * len(facts.query.measures)


# --- asked bounds


def _asked(facts: Facts) -> Bounding:
    asked, contract = facts.asked, facts.contribution
    if asked.rows is not None:
        _check("rows", asked.rows, facts.limit if contract.rows is None else contract.rows)
        return rows_form(facts, asked.rows)
    if asked.groups is not None and asked.rows_per_group is not None:
        _check_groups(facts, asked.groups, asked.rows_per_group)
        return groups_form(facts, asked.groups, asked.rows_per_group)
    assert asked.norm is not None  # `named` says so
    if facts.cells is None:
        raise unsupported("BOUNDS_FORM", form="their norm")
    _check("norm", Fraction(asked.norm), facts.limit)
    measures = range(len(facts.query.measures))
    return norm_form(facts, tuple(min(Fraction(asked.norm), _limit_of(facts, place)) for place in measures))


def _check_groups(facts: Facts, groups: int, rows: int) -> None:
    contract = facts.contribution
    if contract.groups is None or contract.rows_per_group is None:
        _check("groups and rows per group", root_up(rows**2 * touched(facts.cells, groups)), facts.limit)
        return
    _check("groups", groups, contract.groups)
    _check("rows per group", rows, contract.rows_per_group)


def _check(name: str, asked: Fraction | int, limit: int) -> None:
    if asked > limit:
        raise unsupported("BOUNDS_LOOSER", asked=name, limit=str(limit))


# --- predicted errors


def _row_bounds(facts: Facts, limit: int) -> list[int]:
    """Bounds on a unit's rows to try: the limit, and the best below it where a profile says what that would cut."""
    if facts.loss is None or facts.profile is None or not facts.profile.rows:
        return [limit]
    tried = sorted({math.ceil(bound) for bound in bounds_below(limit, 1)}, reverse=True)
    scores = facts.expected.scores_of_rows(tried, ranked=facts.numbered)
    good = scores <= scores.min() + _near(facts)
    return list(dict.fromkeys((limit, tried[int(good.argmax())])))  # the loosest of the good ones


def _limit_of(facts: Facts, place: int) -> Fraction:
    """The contract's limit of a measure's norm, in rows of its largest value."""
    if facts.query.measures[place].kind == "units":
        square = touched(facts.cells, facts.contribution.groups, facts.contribution.rows)
    else:
        square = facts.contribution.square(facts.cells or MANY_CELLS)
    return Fraction(norm_steps(square, 1000), 1000)  # a root of the contract's limit, and next to nothing more


def _best_reaches(facts: Facts) -> tuple[Fraction, ...]:
    """For each measure the best norm; what is weighed has its weigher's."""
    measures = facts.query.measures
    own = {i: _best_reach(facts, i) for i, measure in enumerate(measures) if measure.weighed_by is None}
    return tuple(own[i if measure.weighed_by is None else measure.weighed_by] for i, measure in enumerate(measures))


def _best_reach(facts: Facts, place: int) -> Fraction:
    """The norm with the least expected error for a measure and those that it weighs, at most the contract's limit.

    Distinct units are never scaled below the limit: a vector of ones loses much at once.
    """
    measures, limit = facts.query.measures, _limit_of(facts, place)
    if measures[place].kind == "units" or not facts.expected.knows(place):
        return limit
    together = [place, *(i for i, other in enumerate(measures) if other.weighed_by == place)]
    tried = list(bounds_below(float(limit), float(limit) / 2**20))
    best = int(facts.expected.scores_of_norms(together, tried).argmin())
    return min(limit, Fraction(tried[best])) if best else limit


def _near(facts: Facts) -> float:
    """How far scores may lie apart and still be as good as equal."""
    return _EQUAL * len(facts.query.measures)
