"""Bounds found from the data at a part of the price: how long units' vectors are, as noisy counts in a few buckets.

Laws: of each measure a unit falls into one bucket at most, so that adding or removing it moves one count by one (L2,
L∞ and L0 are 1), whatever the unit holds; the buckets' edges are public, falling by √2 from the contract's limit; what
is found only decides which bound is chosen (`choosing`), and nothing of what that bound guarantees.

A norm is measured in whole numbers: N = Σ v_c² over the cells, in steps, beside the limit's square and its halves.
Where keys are unknown a norm bounds nothing, and units' rows in all are counted instead.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from math import sqrt

from kaianalytics.privacy.bounding.choosing import MANY_CELLS
from kaianalytics.privacy.bounding.counting import Part, parts_of
from kaianalytics.privacy.bounding.cutting import SQUARED
from kaianalytics.privacy.bounding.rows import Rows, check_populations, rows_of
from kaianalytics.privacy.bounding.statement import domain_test
from kaianalytics.privacy.bounding.texts import grouped, limited, listed
from kaianalytics.privacy.bounding.totals import named, total_of
from kaianalytics.privacy.bounding.windows import windows_read
from kaianalytics.privacy.expressions.operations import call
from kaianalytics.privacy.plan import Cell, Form, Noisy, Plan, Statement, Vector
from kaianalytics.privacy.query import Figure, Measure, Of, StatisticsQuery
from kaianalytics.privacy.reading.keys import cells_of
from kaianalytics.privacy.unit import Profile, Quantiles

_WINDOW = 3  # buckets that are looked at together: totals spread over many
_DOUBT = 2  # deviations of its noise that a window must exceed to be taken for units
_FIRST_DOUBT = 1.5  # and by how much more the first must, which is the greatest of many
_FAR_DOUBT = 4  # deviations that a bucket far from the mode must exceed: there are dozens of them
_FALL = 0.6  # of the next bucket's units, each √2 further: totals whose tail falls as their power −1.5
_FEWEST = 0.3  # units that a bucket is expected to have, for it to be counted


@dataclass(frozen=True)
class _Subject:
    """What is measured: the question with its measures as rows and sums, its cells, and the limit in rows."""

    query: StatisticsQuery
    cells: tuple[Cell, ...]
    limit: int

    @property
    def parts(self) -> tuple[Part, ...]:
        """The measures whose bound would be a norm of their own."""
        reach = (Fraction(self.limit),) * len(self.query.measures)
        own = (part for part in parts_of(self.query, len(self.cells), reach) if part.weigher is None)
        return tuple(part for part in own if part.kind != "units")


def profile_plan(query: StatisticsQuery) -> Plan:
    """The plan of one histogram for each measure whose bound is a norm: how many units there are in each bucket.

    Its noise is added like that of any vector. Raises what `compile_query` raises.
    """
    check_populations(query.source)
    subject, read = _subject(query), windows_read(query)
    parts = subject.parts
    rows = rows_of(subject.query, parts, read)
    sql = _sql(subject, rows, parts)
    figures = tuple(Figure(f"v{part.measure}", "count", Of(part.measure)) for part in parts)
    return Plan(
        query=replace(subject.query, keys=(), select=figures, having=None, order=(), limit=None, offset=0),
        form=Form("whole"),
        statements=(Statement(sql, tuple(range(len(parts))), item=True),),
        vectors=tuple(_vector(subject, part) for part in parts),
        cells=((),),
        sentences=(),
        windows=() if read is None else tuple(day.isoformat() for day in read.days),
    )


def profile_from(query: StatisticsQuery, noisy: Noisy, deviation: float = 0.0) -> Profile:
    """The profile that the noisy counts of `profile_plan(query)` tell, whose noise has this deviation (in units)."""
    subject, units, norms = _subject(query), 1, dict[int, Quantiles]()
    for part, vector in zip(subject.parts, noisy.vectors, strict=True):
        row = bisect_left(list(_edges(subject, part)), part.most**2)
        counts = _likely(vector, deviation, row)
        units = max(units, round(sum(counts)))
        if any(counts):
            norms[part.measure] = tuple(_points(subject, part, counts))
    plain = next((i for i, measure in enumerate(subject.query.measures) if measure == Measure("rows")), -1)
    rows = norms.get(plain, ()) if len(subject.cells) == 1 else ()  # in one cell, the norm is the number of rows
    return Profile(units, rows, norms={} if query.unknown else norms)


def _subject(query: StatisticsQuery) -> _Subject:
    cells, contribution = cells_of(query), query.source.view.contribution
    assert contribution is not None  # a question is about units
    if cells is not None:
        measures = tuple(map(_as_rows, query.measures))
        return _Subject(replace(query, measures=measures), cells, contribution.l2(len(cells)))
    select = (Figure("rows", "count", Of(0)),)
    counted = replace(query, keys=(), measures=(Measure("rows"),), select=select, having=None, order=())
    return _Subject(counted, ((),), contribution.rows or contribution.l2(MANY_CELLS))


def _as_rows(measure: Measure) -> Measure:
    """A measure with several numbers per cell as the rows that count in it: its norm is theirs, or shorter."""
    if measure.kind not in ("tree", "histogram", "top") or measure.expression is None:
        return measure
    present = call("present", measure.expression)
    return Measure("rows", where=present if measure.where is None else call("and", measure.where, present))


# --- the SQL


def _sql(subject: _Subject, rows: Rows, parts: Sequence[Part]) -> str:
    test = domain_test(subject.query, subject.cells)
    having = f" HAVING CASE WHEN COUNT(*) > 0 THEN {test} END" if test else ""
    columns, places = (*rows.units, *rows.keys), range(len(parts))
    values = named(_in_cell(part, rows) for part in parts)
    cells = f"SELECT {listed(columns, values)} FROM ({rows.sql}) AS r{grouped(columns)}{having}"
    squares = [f"SUM(CAST(v{i} AS HUGEINT) * v{i}) AS n{i}" for i in places]
    norms = f"SELECT {listed(squares)} FROM ({cells}) AS p{grouped(rows.units)}"
    buckets = ", ".join(_bucket(f"n{i}", list(_edges(subject, part))) for i, part in enumerate(parts))
    which = ", ".join(map(str, places))
    told = f"SELECT UNNEST([{buckets}]) AS item, UNNEST([{which}]) AS which FROM ({norms}) AS m"
    counts = named(f"COUNT(*) FILTER (WHERE which = {i})" for i in places)
    return f"SELECT {listed(['item'], counts)} FROM ({told}) AS t WHERE item IS NOT NULL GROUP BY item"


def _in_cell(part: Part, rows: Rows) -> str:
    total = total_of(part, rows)
    return limited(total, -SQUARED, SQUARED) if part.kind == "sum" else total


def _bucket(square: str, edges: Sequence[int]) -> str:
    """The place of the first edge that is no smaller; none for a unit that adds nothing."""
    tests = " ".join(f"WHEN {square} <= {edge} THEN {i}" for i, edge in enumerate(edges))
    return f"CASE WHEN {square} <= 0 THEN NULL {tests} ELSE {len(edges)} END"


def _edges(subject: _Subject, part: Part) -> Iterator[int]:
    """The squares of the edges, rising to that of the limit; beyond it lies one more bucket."""
    square = (subject.limit * part.most) ** 2
    return (square >> i for i in reversed(range(square.bit_length())))


def _vector(subject: _Subject, part: Part) -> Vector:
    return Vector(part.measure, "histogram", Decimal(1), 1, 1, 1, width=len(list(_edges(subject, part))) + 1)


# --- what they tell


def _likely(counts: Sequence[int], deviation: float, row: int) -> list[float]:
    """The counts as they are likely without the noise; `row` is the bucket of a single row of the largest value.

    Units' totals have one mode. Around it lies a run of windows whose sums noise alone would hardly give; what is seen
    far from it is noise, unless noise would give it in one question of hundreds. From the run's last window on, counts
    are taken to fall as a power of the total, as far as the noise can hide them: to cut the tail off would be to
    promise that nobody is there, and few units may hold most of what is counted. Where no window is sure, there may be
    as many units as the noise hides, from a single row on.
    """
    if deviation <= 0:
        return list(map(float, counts))
    doubt = _DOUBT * deviation * sqrt(_WINDOW)
    sums = [sum(counts[i : i + _WINDOW]) for i in range(len(counts))]
    mode = max(range(len(sums)), key=sums.__getitem__)
    if sums[mode] <= _FIRST_DOUBT * doubt:
        return [0.0] * row + _falling(doubt, len(counts) - row)
    first, last = mode, mode
    while first > 0 and sums[first - 1] > doubt:
        first -= 1
    while last + 1 < len(sums) and sums[last + 1] > doubt:
        last += 1
    tail = _falling(float(sums[last]), len(counts) - last)
    hidden = max(0, sum(counts[last + _WINDOW : last + 2 * _WINDOW])) + doubt
    share = min(1.0, hidden / max(sum(tail[_WINDOW : 2 * _WINDOW]), 1.0))
    seen = [max(0.0, float(count)) for count in counts[first:last]]
    far = [_apart(count, deviation) for count in counts]
    beyond = [max(count * share, one) for count, one in zip(tail[_WINDOW:], far[last + _WINDOW :], strict=True)]
    return far[:first] + seen + tail[:_WINDOW] + beyond


def _apart(count: int, deviation: float) -> float:
    return float(count) if count > _FAR_DOUBT * deviation else 0.0


def _falling(units: float, buckets: int) -> list[float]:
    """So many units in the first window of the buckets, and fewer from each to the next."""
    level = units / sum(_FALL**i for i in range(_WINDOW))
    return [level * _FALL**i if level * _FALL**i >= _FEWEST else 0.0 for i in range(buckets)]


def _points(subject: _Subject, part: Part, counts: Sequence[float]) -> Iterator[tuple[Decimal, Decimal]]:
    """Shares of units, with the norm that they have at most, in the measure's own units."""
    squares, seen, total = list(_edges(subject, part)), 0.0, sum(counts)
    ends = [sqrt(square) * float(part.step) for square in (*squares, 4 * squares[-1])]
    last = max(i for i, count in enumerate(counts) if count)
    for i, (count, end) in enumerate(zip(counts, ends, strict=True)):
        seen += count
        if count:
            yield Decimal(1) if i == last else Decimal(f"{seen / total:.9f}"), Decimal(f"{end:.6g}")
