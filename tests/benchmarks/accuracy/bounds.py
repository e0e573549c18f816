"""Bounds on what a customer adds, and the error that each is expected to give: all are told the best in hindsight.

The expected error of a bound is what it cuts away on this very data, and the noise at its sensitivity. No user of any
engine could know the first: the peers are told, question by question, and so are we, in one of our columns.

    rows       `size` rows of a customer in all, drawn by lot
    each       what a customer adds to one cell, cut at `size`; if `groups`, in that many cells, the first in order
    norm       what a customer adds over all cells, scaled down to an L2 norm of `size`; ours alone
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from accuracy.contributions import Contributions, Vector
from accuracy.workload import Question

Form = Literal["rows", "each", "norm"]
_STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


@dataclass(frozen=True)
class Bound:
    """One bound; `size` counts rows, of a sum in the forms `each` and `norm` its values, of customers the cells."""

    form: Form
    size: float
    groups: int | None = None


@dataclass(frozen=True)
class Engine:
    """What an engine can be given, and what noise it adds: the standard deviations at a sensitivity of 1.

    `one` is that of a question's only vector, `of_mean` that of each of a mean's two. `centred` says that the values of
    a mean are taken from the middle of their range.
    """

    bounds: Callable[[Question], Iterator[Bound]]
    one: float
    of_mean: float
    centred: bool = False


def best(engine: Engine, given: Contributions, dropping: bool = True) -> Bound:
    """The bound with the least expected error on this data; unless `dropping`, among those that drop no cell."""
    allowed = (bound for bound in engine.bounds(given.question) if dropping or bound.groups is None)
    return min(allowed, key=lambda bound: expected_error(engine, given, bound))


def expected_error(engine: Engine, given: Contributions, bound: Bound) -> float:
    """The root of the expected squared error, over the cells."""
    if given.question.aggregate == "mean":
        squares = _mean_squares(engine, given, bound)
    else:
        bias = given.added(_kept(given, bound)) - given.truth
        squares = bias**2 + (_sensitivity(given.question, bound) * engine.one) ** 2
    return float(np.sqrt(np.mean(squares)))


# --- what each engine can be given


def smartnoise_bounds(question: Question) -> Iterator[Bound]:
    """SmartNoise SQL samples a customer's rows."""
    return (Bound("rows", size) for size in _grid(1, question.table.rows) if size == int(size))


def opendp_bounds(question: Question) -> Iterator[Bound]:
    """OpenDP Context samples rows too, or cuts what a customer adds to a cell, and may drop cells."""
    if question.aggregate == "customers":
        sizes: Sequence[float] = (1,)
        yield Bound("rows", 1)
    else:
        sizes = tuple(_sizes(question))
        yield from smartnoise_bounds(question)
    yield from (Bound("each", size, groups) for size in sizes for groups in _groups(question))


def our_bounds(question: Question) -> Iterator[Bound]:
    """Ours: rows, or the norm of what a customer adds; of customers, up to the norm of one who is in every cell."""
    everywhere = sqrt(len(question.cells))
    if question.aggregate == "customers":
        yield from (Bound("norm", size) for size in (*_grid(1, everywhere), everywhere))
        return
    yield from smartnoise_bounds(question)
    yield from (Bound("norm", size) for size in _sizes(question))


def _sizes(question: Question) -> Iterator[float]:
    if question.aggregate == "sum":
        return _grid(question.values.upper / 10, question.table.rows * question.values.upper)
    return (size for size in _grid(1, question.table.rows) if size == int(size))


def _groups(question: Question) -> Sequence[int | None]:
    return (None, *(groups for groups in (1, 2, 3, 5, 8) if groups + 1 < len(question.cells)))


def _grid(least: float, most: float) -> Iterator[float]:
    power = least
    while power <= most:
        yield from (power * step for step in _STEPS if power * step <= most)
        power *= 10


# --- what a bound costs


def _sensitivity(question: Question, bound: Bound) -> float:
    """How far one customer moves the answer: in L2, or for one who has rows in one cell alone, which is no less."""
    weight = question.values.upper if question.aggregate == "sum" and bound.form == "rows" else 1
    return weight * bound.size * _spread(question, bound)


def _spread(question: Question, bound: Bound) -> float:
    if bound.form != "each":
        return 1.0
    cells = len(question.cells)  # truncate_num_groups is charged for one group more than it keeps (measured, 0.16)
    return sqrt(cells if bound.groups is None else min(bound.groups + 1, cells))


def _kept(given: Contributions, bound: Bound) -> Vector:
    """What is expected to be left of each part of a count or a sum."""
    if given.question.aggregate == "customers" and bound.form == "rows":
        return _met_by_a_sample(given, bound.size)
    parts = given.parts
    if bound.form == "rows":
        return parts * np.minimum(1, bound.size / given.of_each(given.rows))
    if bound.form == "norm":
        return parts * np.minimum(1, bound.size / np.sqrt(np.maximum(given.of_each(parts**2), 1e-12)))
    return np.minimum(parts, bound.size) * _first(given, bound.groups)


def _met_by_a_sample(given: Contributions, size: float) -> Vector:
    """The chance that a sample of a customer's rows has one in the cell, as if drawn with replacement."""
    everything = given.of_each(given.rows)
    missed = np.clip(1 - given.rows / everything, 0, 1) ** min(size, 1e6)
    return np.where(everything <= size, 1.0, 1 - missed)


def _mean_squares(engine: Engine, given: Contributions, bound: Bound) -> Vector:
    """A mean's squared error to first order, and no more than that of a guess within the range."""
    share = _share(given, bound)
    rows, totals = given.added(given.rows * share), given.added(given.total * share)
    low, high = given.question.values.lower, given.question.values.upper
    mean = given.ratio(totals, rows)
    middle, largest = ((low + high) / 2, (high - low) / 2) if engine.centred else (0, max(abs(low), abs(high)))
    noise = bound.size * _spread(given.question, bound) * engine.of_mean
    spread = noise**2 * (largest**2 + (mean - middle) ** 2) / np.maximum(rows, 1) ** 2
    return np.minimum((mean - given.truth) ** 2 + spread, (high - low) ** 2 / 4)


def _share(given: Contributions, bound: Bound) -> Vector:
    """What share of a customer's rows in a cell is expected to be left, for a mean."""
    if bound.form == "rows":
        return np.minimum(1, bound.size / given.of_each(given.rows))
    if bound.form == "norm":
        return np.minimum(1, bound.size / np.sqrt(given.of_each(given.rows**2)))
    return np.minimum(1, bound.size / given.rows) * _first(given, bound.groups)


def _first(given: Contributions, groups: int | None) -> Vector:
    """1 in a customer's first cells in their order, 0 in the others."""
    if groups is None or not len(given.unit):
        return np.ones(len(given.unit))
    starts = np.flatnonzero(np.r_[True, given.unit[1:] != given.unit[:-1]])
    place = np.arange(len(given.unit)) - np.repeat(starts, np.diff(np.r_[starts, len(given.unit)]))
    return (place < groups).astype(float)
