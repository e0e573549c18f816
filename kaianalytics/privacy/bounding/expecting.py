"""How exact the figures of a question are expected to be under one way of bounding: what `choosing` compares.

Laws: an expectation rests on the contract, the statement, the asked loss and a profile, never on data, and decides
nothing of what a bound guarantees. Without a profile nothing is known to be cut, and noise alone is compared.

A count or a sum is off by its noise, and by what bounding cuts from it. A mean is off by the noise of its sum over the
rows that are left, and hardly by the cut: both of its parts shrink together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kaianalytics.privacy.bounding.clipping import totals_of
from kaianalytics.privacy.bounding.counting import Part
from kaianalytics.privacy.bounding.forms import Bounding, sensitivities
from kaianalytics.privacy.bounding.predicting import Amount, Numbers, Spread, capped, error, in_cells, seen, shortened
from kaianalytics.privacy.bounding.selecting import selected
from kaianalytics.privacy.expression import Expression
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.query import After, Apply, Measure, Of, StatisticsQuery
from kaianalytics.privacy.unit import ContributionBounds, Profile

_MEANS = ("mean", "variance", "deviation")
_SHIFT = 0.02  # of half the range: how far a mean moves if all units were cut
_CELLS = 100  # where nobody knows how many there are
_NOTHING = 1e-9


@dataclass(frozen=True)
class Tried:
    """Bounds of one form that are compared, as columns of numbers, one bound to a row.

    `moved` says how far a unit moves each measure; `rows` how many of its rows count, in each of `groups` cells if it
    has these. By their stored rank they are chosen before the filter, which then leaves few of few.
    """

    moved: Sequence[Numbers]
    normed: bool = False
    rows: Numbers | None = None
    groups: int | None = None
    ranked: bool = False


@dataclass(frozen=True)
class Expectation:
    """What is known of one question before it is asked."""

    query: StatisticsQuery
    contribution: ContributionBounds
    cells: int | None
    loss: PrivacyLoss | None
    profile: Profile | None

    def score(self, bounding: Bounding) -> float:
        """The logarithms of the expected errors added up: less is better."""
        form = bounding.form
        moved = [_column([self._moved(bounding, part)]) for part in bounding.parts]
        rows = None if form.rows is None else _column([form.rows])
        (score,) = self._scores(self._places, Tried(moved, form.kind == "norm", rows, form.groups, bounding.rank))
        return float(score)

    def scores_of_norms(self, places: Sequence[int], norms: Sequence[float]) -> Numbers:
        """The same for measures that are scaled down together to norms of so many rows of the largest value."""
        reach = _column(norms)
        return self._scores(places, Tried([reach * size for size in self._largest], normed=True))

    def scores_of_rows(self, bounds: Sequence[int], *, ranked: bool) -> Numbers:
        """The same where so many rows of a unit count, chosen by their stored rank or by one among those left."""
        rows = _column(bounds)
        cells = np.sqrt(rows if self.cells is None else np.minimum(rows, self.cells))
        moved = (cells if m.kind == "units" else rows * self._largest[i] for i, m in enumerate(self.query.measures))
        return self._scores(self._places, Tried(list(moved), rows=rows, ranked=ranked))

    def knows(self, place: int) -> bool:
        """Whether the profile tells something of the measure."""
        return self.loss is not None and self._spread(place) is not None

    def _moved(self, bounding: Bounding, part: Part) -> float:
        l2, _, _ = sensitivities(bounding, part, self.contribution)
        return l2 * float(part.step) / math.sqrt(part.levels)

    def _scores(self, places: Sequence[int], tried: Tried) -> Numbers:
        errors = list(self._errors(places, tried))
        return np.sum(np.log(np.maximum(errors, _NOTHING)), axis=0) if errors else np.zeros(len(tried.moved[0]))

    def _errors(self, places: Sequence[int], tried: Tried) -> Iterator[Numbers]:
        for place in places:
            weigher = self.query.measures[place].weighed_by
            if weigher is not None:
                yield self._mean(place, weigher, tried)
            elif place in self._shown or place not in self._weighers:
                yield error(self._noise(place, tried), self._bias(place, tried))

    def _noise(self, place: int, tried: Tried) -> Numbers:
        return tried.moved[place][:, 0] * self._per_sensitivity

    @cached_property
    def _per_sensitivity(self) -> float:
        return 1.0 if self.loss is None else 1 / math.sqrt(2 * float(self.loss.rho) / len(self.query.measures))

    # --- what is cut

    def _bias(self, place: int, tried: Tried) -> Amount:
        spread = self._spread(place)
        if spread is None:
            return 0.0
        if self.query.measures[place].kind == "units":
            cut = spread.average(self._unseen(place, tried, spread.totals))
        else:
            cut = spread.average(self._lost(place, tried, spread.totals))
        return spread.units * np.maximum(cut, 0.0) / self._cells

    def _lost(self, place: int, tried: Tried, totals: Numbers) -> Numbers:
        """What is cut from all cells of a unit together."""
        lost = totals - self._left(place, tried, totals)
        # Of a norm that was found, one less is up to √c less in the c cells of the unit together.
        return lost * np.sqrt(in_cells(totals, self._cells)) if tried.normed and self._has_norms(place) else lost

    def _left(self, place: int, tried: Tried, totals: Numbers) -> Numbers:
        """What is left of a unit's total of the measure."""
        if tried.normed:
            moved = tried.moved[place]
            return np.minimum(totals, moved) if self._has_norms(place) else shortened(totals, moved, self._cells)
        per_row = self._per_row(place)
        return self._rows_left(place, tried, totals / per_row) * per_row

    def _has_norms(self, place: int) -> bool:
        return self.profile is not None and place in self.profile.norms

    def _rows_left(self, place: int, tried: Tried, rows: Numbers) -> Numbers:
        if tried.rows is None:
            return rows
        if tried.groups is not None:
            return capped(rows, tried.groups, tried.rows, self._cells)
        return np.minimum(rows, self._counting(place, tried))

    def _counting(self, place: int, tried: Tried) -> Numbers:
        """How many rows of a unit count of those that the filter leaves, where there are enough."""
        assert tried.rows is not None  # the caller has looked
        return tried.rows * (self._kept(self.query.measures[place].where) if tried.ranked else 1.0)

    def _unseen(self, place: int, tried: Tried, rows: Numbers) -> Numbers:
        cells = np.clip(rows, 1.0, max(self._cells, 1))
        if tried.groups is not None:
            return cells - np.minimum(cells, tried.groups)
        if tried.rows is None or tried.normed:
            return np.zeros(1)
        return cells - seen(rows, self._counting(place, tried), self._cells)

    def _mean(self, place: int, weigher: int, tried: Tried) -> Numbers:
        spread, half = self._spread(weigher), self._largest[place]
        noise = error(self._noise(place, tried), half / 2 * self._noise(weigher, tried))
        if spread is None:
            return noise
        left = spread.average(self._left(weigher, tried, spread.totals))
        whole = max(spread.mean(), _NOTHING)
        return noise * self._cells / np.maximum(spread.units * left, _NOTHING) + _SHIFT * half * (1 - left / whole)

    # --- what is known

    @property
    def _places(self) -> range:
        return range(len(self.query.measures))

    @cached_property
    def _cells(self) -> int:
        return _CELLS if self.cells is None else self.cells

    @cached_property
    def _largest(self) -> tuple[float, ...]:
        return tuple(map(largest, self.query.measures))

    @cached_property
    def _shown(self) -> frozenset[int]:
        """The measures that some figure shows other than in a mean."""
        shown = (figure.value for figure in self.query.figures if figure.role not in _MEANS)
        return frozenset(place for value in shown for place in _measures(value))

    @cached_property
    def _weighers(self) -> frozenset[int]:
        return frozenset(m.weighed_by for m in self.query.measures if m.weighed_by is not None)

    @cached_property
    def _spreads(self) -> dict[int, Spread | None]:
        return {}

    def _spread(self, place: int) -> Spread | None:
        """How the measure's totals spread over units, those that the filter is expected to leave."""
        if place not in self._spreads:
            self._spreads[place] = self._found_spread(place)
        return self._spreads[place]

    def _found_spread(self, place: int) -> Spread | None:
        measure, profile = self.query.measures[place], self.profile
        if profile is None:
            return None
        if place in profile.norms:
            return Spread.of(profile.norms[place], profile.units)
        totals = totals_of(self.query, measure, profile)
        if totals:
            return Spread.of(totals, profile.units).thinned(self._kept(measure.where), self._per_row(place))
        if self._rows is None:
            return None
        return self._rows.thinned(self._kept(measure.where)).times(self._per_row(place))

    @cached_property
    def _rows(self) -> Spread | None:
        return Spread.of(self.profile.rows, self.profile.units) if self.profile and self.profile.rows else None

    def _kept(self, where: Expression | None) -> float:
        """The share of rows that the question's filter and the measure's own are expected to let through."""
        if where not in self._shares:
            self._shares[where] = selected(self.query, where)
        return self._shares[where]

    @cached_property
    def _shares(self) -> dict[Expression | None, float]:
        return {}

    def _per_row(self, place: int) -> float:
        """What a row adds on average."""
        if place not in self._means:
            self._means[place] = self._mean_of_row(place)
        return self._means[place]

    @cached_property
    def _means(self) -> dict[int, float]:
        return {}

    def _mean_of_row(self, place: int) -> float:
        measure, profile = self.query.measures[place], self.profile
        if measure.kind != "sum":
            return 1.0
        totals = () if profile is None else totals_of(self.query, measure, profile)
        if profile is None or not totals or self._rows is None:
            return self._largest[place] / 2
        return max(Spread.of(totals, profile.units).mean() / max(self._rows.mean(), _NOTHING), _NOTHING)


def _column(numbers: Sequence[float]) -> Numbers:
    return np.array(numbers, dtype=np.float64)[:, None]


def largest(measure: Measure) -> float:
    """The largest value that one row adds, in the measure's own units."""
    if measure.kind != "sum" or measure.bounds is None:
        return 1.0
    return float(max(abs(measure.bounds.lower - measure.centre), abs(measure.bounds.upper - measure.centre)))


def _measures(value: After) -> Iterator[int]:
    if isinstance(value, Apply):
        for argument in value.arguments:
            yield from _measures(argument)
    elif isinstance(value, Of):
        yield value.measure
