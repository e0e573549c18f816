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

from kaianalytics.privacy.bounding.clipping import totals_of
from kaianalytics.privacy.bounding.counting import Part
from kaianalytics.privacy.bounding.forms import Bounding, sensitivities
from kaianalytics.privacy.bounding.predicting import Spread, capped, error, in_cells, seen, shortened
from kaianalytics.privacy.bounding.selecting import selected
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.plan import Form
from kaianalytics.privacy.query import After, Apply, Measure, Of, StatisticsQuery
from kaianalytics.privacy.unit import ContributionBounds, Profile

_MEANS = ("mean", "variance", "deviation")
_SHIFT = 0.02  # of half the range: how far a mean moves if all units were cut
_CELLS = 100  # where nobody knows how many there are
_NOTHING = 1e-9


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
        moved = [self._moved(bounding, part) for part in bounding.parts]
        places = range(len(self.query.measures))
        return sum(math.log(max(error, _NOTHING)) for error in self._errors(places, bounding.form, moved))

    def score_of_norm(self, places: Sequence[int], norm: float) -> float:
        """The same for measures that are scaled down together to a norm of so many rows of the largest value."""
        moved = [norm * largest(measure) for measure in self.query.measures]
        return sum(math.log(max(error, _NOTHING)) for error in self._errors(places, Form("norm"), moved))

    def knows(self, place: int) -> bool:
        """Whether the profile tells something of the measure."""
        return self.loss is not None and self._spread(place) is not None

    def _moved(self, bounding: Bounding, part: Part) -> float:
        l2, _, _ = sensitivities(bounding, part, self.contribution)
        return l2 * float(part.step) / math.sqrt(part.levels)

    def _errors(self, places: Sequence[int], form: Form, moved: Sequence[float]) -> Iterator[float]:
        for place in places:
            weigher = self.query.measures[place].weighed_by
            if weigher is not None:
                yield self._mean(place, weigher, form, moved)
            elif place in self._shown or place not in self._weighers:
                yield error(self._noise(moved[place]), self._bias(place, form, moved[place]))

    def _noise(self, moved: float) -> float:
        return moved if self.loss is None else moved / math.sqrt(2 * float(self.loss.rho) / len(self.query.measures))

    # --- what is cut

    def _bias(self, place: int, form: Form, moved: float) -> float:
        spread = self._spread(place)
        if spread is None:
            return 0.0
        cut = spread.average(lambda total: self._lost(place, form, moved, total))
        if self.query.measures[place].kind == "units":
            cut = spread.average(lambda total: self._unseen(form, total))
        return spread.units * max(cut, 0.0) / self._cells

    def _lost(self, place: int, form: Form, moved: float, total: float) -> float:
        """What is cut from all cells of a unit together."""
        lost = total - self._left(place, form, moved, total)
        normed = self.profile is not None and place in self.profile.norms and form.kind == "norm"
        # Of a norm that was found, one less is up to √c less in the c cells of the unit together.
        return lost * math.sqrt(in_cells(total, self._cells)) if normed else lost

    def _left(self, place: int, form: Form, moved: float, total: float) -> float:
        """What is left of a unit's total of the measure."""
        profile = self.profile
        if form.kind == "norm":
            known = profile is not None and place in profile.norms
            return min(total, moved) if known else shortened(total, moved, self._cells)
        rows = total / self._per_row(place)
        return self._rows_left(form, rows) * self._per_row(place)

    def _rows_left(self, form: Form, rows: float) -> float:
        if form.kind == "groups" and form.groups is not None and form.rows is not None:
            return capped(rows, form.groups, form.rows, self._cells)
        return rows if form.rows is None else min(rows, form.rows)

    def _unseen(self, form: Form, rows: float) -> float:
        cells = max(min(rows, self._cells), 1.0)
        if form.kind == "groups" and form.groups is not None:
            return cells - min(cells, form.groups)
        return 0.0 if form.rows is None or form.kind == "norm" else cells - seen(rows, form.rows, self._cells)

    def _mean(self, place: int, weigher: int, form: Form, moved: Sequence[float]) -> float:
        spread, half = self._spread(weigher), largest(self.query.measures[place])
        noise = error(self._noise(moved[place]), half / 2 * self._noise(moved[weigher]))
        if spread is None:
            return noise
        left = spread.average(lambda total: self._left(weigher, form, moved[weigher], total))
        whole = max(spread.mean(), _NOTHING)
        return noise * self._cells / max(spread.units * left, _NOTHING) + _SHIFT * half * (1 - left / whole)

    # --- what is known

    @cached_property
    def _cells(self) -> int:
        return _CELLS if self.cells is None else self.cells

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
        kept = selected(self.query, measure)
        if totals:
            return Spread.of(totals, profile.units).thinned(kept, self._per_row(place))
        if not profile.rows:
            return None
        rows = Spread.of(profile.rows, profile.units).thinned(kept)
        per_row = self._per_row(place)
        return Spread(rows.units, tuple((share, total * per_row) for share, total in rows.points))

    def _per_row(self, place: int) -> float:
        """What a row adds on average."""
        measure, profile = self.query.measures[place], self.profile
        if measure.kind != "sum":
            return 1.0
        totals = () if profile is None else totals_of(self.query, measure, profile)
        if profile is None or not totals or not profile.rows:
            return largest(measure) / 2
        rows = Spread.of(profile.rows, profile.units).mean()
        return max(Spread.of(totals, profile.units).mean() / max(rows, _NOTHING), _NOTHING)


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
