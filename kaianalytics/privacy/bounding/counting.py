"""Measures in whole numbers: what one row adds to each, and in which steps it is counted.

Laws: a row adds a whole number between two that are known beforehand, whatever it holds, so that totals are exact and
their limits are proved by multiplication; steps are fine enough that rounding is nothing beside the noise, and coarse
enough that what a unit may add stays below 2³¹ of them.

A row's value x, clamped to its bounds, is counted as X = round((x − offset)/grid), and adds scale·X − centre steps of
grid/scale each. Rounding and clamping never fall as x rises, in the engine's doubles as in Python's, so X at the two
bounds, computed here in the same doubles, is the least and the greatest X of any row: no error analysis is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, lru_cache

from kaianalytics.privacy.plan import MAX_UNITS, TOTAL_LIMIT, Tree, VectorKind
from kaianalytics.privacy.query import Apply, Measure, Of, QuantileOf, StatisticsQuery, TopOf
from kaianalytics.privacy.refusals import unsupported

MOST_STEPS = TOTAL_LIMIT // MAX_UNITS - 1  # that one unit may add in all
_FINE = 50_000  # steps in a unit's part, where it is scaled down and then cut to whole ones
_RESOLUTION = 1_000  # steps in the largest value, at least, where they are coarser than the contract's

BRANCHING = 16
_MOST_LEVELS = 3
_MOST_COUNTS = 2_000_000  # numbers in all the trees of one measure


@dataclass(frozen=True)
class Part:
    """How one measure is counted: `scale`·X − `centre` steps for each row, with X from `low` to `high`."""

    measure: int
    kind: VectorKind
    grid: Decimal = Decimal(1)
    scale: int = 1
    centre: int = 0
    offset: Decimal = Decimal(0)
    low: int = 1
    high: int = 1
    width: int = 1
    tree: Tree | None = None
    weigher: int | None = None

    @cached_property
    def step(self) -> Decimal:
        """What a whole number of the vector stands for."""
        return self.grid / self.scale

    @cached_property
    def least(self) -> int:
        """The least that a row adds, in steps; a row without a value adds nothing."""
        return min(0, self.scale * self.low - self.centre)

    @cached_property
    def greatest(self) -> int:
        """The greatest that a row adds, in steps."""
        return max(0, self.scale * self.high - self.centre)

    @cached_property
    def most(self) -> int:
        """How far a row moves the vector, in steps."""
        return max(-self.least, self.greatest, 1)

    @property
    def item(self) -> bool:
        """Whether a cell has several numbers, so that the measure needs a statement of its own."""
        return self.kind in ("tree", "histogram", "top")

    @property
    def levels(self) -> int:
        """How many numbers of a cell one row adds to."""
        return self.tree.levels if self.tree else 1


def parts_of(
    query: StatisticsQuery, cells: int | None, reach: Sequence[Fraction], *, fine: Sequence[bool] = ()
) -> tuple[Part, ...]:
    """The measures as parts, in steps such that `reach` rows of the largest value stay below `MOST_STEPS`.

    `fine`: which measures' parts may be scaled down, and need steps for it. Raises QueryUnsupported BOUNDS_TOO_WIDE.
    """
    scaled = fine or (False,) * len(reach)
    return tuple(_part(query, i, cells, far, fine=scaled[i]) for i, far in enumerate(reach))


def _part(query: StatisticsQuery, place: int, cells: int | None, reach: Fraction, *, fine: bool) -> Part:
    measure = query.measures[place]
    if measure.kind == "sum":
        return _sum(query, place, reach, fine=fine)
    tree = _tree(measure, cells) if measure.kind == "tree" else None
    levels = tree.levels if tree else 1
    if reach * levels > MOST_STEPS:
        raise _too_wide(query, place)
    scale = _finer(reach, Fraction(MOST_STEPS, levels)) if fine else 1
    return Part(place, measure.kind, scale=scale, width=_width(measure, tree), tree=tree)


def _width(measure: Measure, tree: Tree | None) -> int:
    if tree:
        return tree.size
    return {"histogram": len(measure.edges) - 1, "top": len(measure.domain)}.get(measure.kind, 1)


def _finer(steps: Fraction, limit: Fraction) -> int:
    """The power of ten that makes enough of so many steps."""
    scale = 1
    while steps * scale < _FINE and steps * scale * 10 <= limit:
        scale *= 10
    return scale


# --- sums


def _sum(query: StatisticsQuery, place: int, reach: Fraction, *, fine: bool) -> Part:
    measure = query.measures[place]
    for grid in _grids(measure):
        part = _on_grid(measure, place, grid)
        if reach * part.most <= MOST_STEPS and max(abs(part.low), abs(part.high)) <= MOST_STEPS:
            finer = _finer(reach * part.most, Fraction(MOST_STEPS)) if fine else 1
            return replace(part, scale=part.scale * finer, centre=part.centre * finer, weigher=measure.weighed_by)
    raise _too_wide(query, place)


def _grids(measure: Measure) -> Iterator[Decimal]:
    """Steps to count values in: those of the bounds, then coarser and coarser ones."""
    assert measure.bounds is not None  # a sum has them
    span = max(abs(measure.bounds.lower - measure.centre), abs(measure.bounds.upper - measure.centre))
    grid = measure.bounds.step
    yield grid
    while Fraction(span) / Fraction(grid * 10) >= _RESOLUTION:
        grid *= 10
        yield grid


@lru_cache(maxsize=256)  # for each form that is compared the same
def _on_grid(measure: Measure, place: int, grid: Decimal) -> Part:
    """The sum in steps of the grid, or of a part of it if the centre then is a whole number of them."""
    for scale in (1, 2, 5, 10, 100, 1000):
        centre = Fraction(measure.centre) * scale / Fraction(grid)
        if centre.denominator == 1:
            low, high = _ends(measure, grid, Decimal(0))
            return Part(place, "sum", grid, scale, int(centre), low=low, high=high)
    low, high = _ends(measure, grid, measure.centre)
    return Part(place, "sum", grid, offset=measure.centre, low=low, high=high)


def _ends(measure: Measure, grid: Decimal, offset: Decimal) -> tuple[int, int]:
    """X at the bounds."""
    assert measure.bounds is not None  # a sum has them
    return nearest(float(measure.bounds.lower), offset, grid), nearest(float(measure.bounds.upper), offset, grid)


def nearest(value: float, offset: Decimal, grid: Decimal) -> int:
    """X of a value within its bounds, by the same operations on doubles as the engine's."""
    return round((value - float(offset) if offset else value) * per(grid))


def per(grid: Decimal) -> float:
    """How many steps of the grid make one, as a double."""
    return float(1 / Fraction(grid))


# --- trees


def _tree(measure: Measure, cells: int | None) -> Tree:
    """As few levels as the declared steps need, and no more than are quickly drawn for all cells."""
    bounds = measure.bounds
    assert bounds is not None  # a tree has them
    steps = (Fraction(bounds.upper) - Fraction(bounds.lower)) / Fraction(bounds.step)
    trees = [Tree(BRANCHING, levels, bounds.lower, bounds.upper) for levels in range(1, _MOST_LEVELS + 1)]
    fitting = [tree for tree in trees if _drawn_soon(tree, cells)] or trees[:1]
    return next((tree for tree in fitting if tree.leaves > steps), fitting[-1])


def _drawn_soon(tree: Tree, cells: int | None) -> bool:
    return tree.levels < _MOST_LEVELS if cells is None else cells * tree.size <= _MOST_COUNTS


# --- names, for people


def _too_wide(query: StatisticsQuery, place: int) -> Exception:
    return unsupported("BOUNDS_TOO_WIDE", name=name_of(query, place))


def name_of(query: StatisticsQuery, place: int) -> str:
    """The first figure of the answer that needs the measure, by its name."""
    for figure in query.figures:
        stack = [figure.value]
        while stack:
            node = stack.pop()
            if isinstance(node, Of | QuantileOf | TopOf) and node.measure == place:
                return figure.name
            if isinstance(node, Apply):
                stack.extend(node.arguments)
    return "the number of rows"
