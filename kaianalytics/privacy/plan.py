"""A question made ready to run: the SQL of its bounded aggregates, and how far one unit can move each vector.

Laws: everything here is decided from public facts before data is read; each vector's sensitivities hold for every data
set, by the construction of the SQL beside it; totals stay below 2⁶², proved beforehand; figures are whole numbers of
`step` from the engine to the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from kaianalytics.privacy.query import StatisticsQuery
from kaianalytics.privacy.unit import KeyValue

TOTAL_LIMIT = 2**62
MAX_UNITS = 2**31

Cell = tuple[KeyValue, ...]
VectorKind = Literal["rows", "units", "sum", "tree", "histogram", "top"]


@dataclass(frozen=True)
class Form:
    """How a unit's part is bounded.

    rows    its first `rows` rows in the order of a hash, over all cells
    norm    its vector over the cells is scaled down to the L2 norm that its vector's own `l2` states
    groups  its first `groups` cells in the order of a hash, at most `rows` rows in each
    whole   nothing needs bounding: the store, or the contract, gives no more than the sensitivities say
    """

    kind: Literal["rows", "norm", "groups", "whole"]
    groups: int | None = None
    rows: int | None = None


@dataclass(frozen=True)
class Tree:
    """The shape of a quantile tree: `branching` to the power of `levels` leaves of equal width over [lower, upper].

    Its counts are ordered level by level from the children of the root (the root's own count is not among them),
    `branching + branching² + …` numbers in a cell.
    """

    branching: int
    levels: int
    lower: Decimal
    upper: Decimal

    @property
    def leaves(self) -> int:
        """How many leaves there are."""
        return int(self.branching**self.levels)

    @property
    def size(self) -> int:
        """How many counts a cell has."""
        return sum(int(self.branching**level) for level in range(1, self.levels + 1))


@dataclass(frozen=True)
class Vector:
    """What one measure gives: `width` whole numbers of `step` in each cell, and how far one unit can move them.

    Adding or removing one unit moves the vector over all cells by at most `l2` (L2), no number by more than `linf`, and
    at most `l0` numbers; all in steps. `measure` is its place in the query. For a top measure the numbers are the exact
    scores of its domain. `sentence` says what bounding leaves out.
    """

    measure: int
    kind: VectorKind
    step: Decimal
    l2: int
    linf: int
    l0: int
    width: int = 1
    tree: Tree | None = None
    sentence: str = ""

    def __post_init__(self) -> None:
        if min(self.l2, self.linf, self.l0, self.width) < 1 or self.step <= 0:
            raise ValueError("a vector has sensitivities from 1 upwards and a positive step")
        if self.l2 * MAX_UNITS >= TOTAL_LIMIT:
            raise ValueError("a vector's totals stay below 2^62")


@dataclass(frozen=True)
class Clipping:
    """What a public profile, or a paid one, says of the units that a bound cuts short: for people, proving nothing.

    `bound` is the most that one unit may add to the vector, in the figure's own units (L2 where the form is a norm);
    `share` is the share of units above it, `at_double` the share that would be above twice the bound, whose noise is
    twice as large.
    """

    vector: int
    bound: Decimal
    share: Decimal
    at_double: Decimal


@dataclass(frozen=True)
class Statement:
    """One statement for the worker, and which vectors its columns are.

    Its rows are the keys k0, k1, … of a present cell, then, if `item`, the place of a number within its cell, then one
    BIGINT for each of `vectors` (places in `Plan.vectors`), in order. Absent cells and items are zero.
    """

    sql: str
    vectors: tuple[int, ...]
    item: bool = False


@dataclass(frozen=True)
class Plan:
    """The bounded form of one question.

    `cells` are all cells of the answer, known beforehand, or None where the keys are found by the threshold on
    `vectors[threshold]`, which then counts distinct units in steps of 1 and stands first in its statement.
    `windows` are the windows read (their first days, ISO), empty where the unit is the whole customer.
    `clipping` is, for people, what is known of the share of units that bounding cuts short, by vector.
    """

    query: StatisticsQuery
    form: Form
    statements: tuple[Statement, ...]
    vectors: tuple[Vector, ...]
    cells: tuple[Cell, ...] | None
    sentences: tuple[str, ...]
    threshold: int | None = None
    windows: tuple[str, ...] = ()
    clipping: tuple[Clipping, ...] = ()

    def __post_init__(self) -> None:
        if (self.cells is None) != (self.threshold is not None):
            raise ValueError("keys are public, or found by a threshold")
        placed = [vector for statement in self.statements for vector in statement.vectors]
        if sorted(placed) != list(range(len(self.vectors))):
            raise ValueError("each vector is read by one statement")


@dataclass(frozen=True)
class Exact:
    """What the statements of a plan gave: `vectors[v]` has vector v's numbers, `width` of them for each cell in turn.

    The cells are the plan's own where they are known beforehand, else those that were found. None of it may leave.
    """

    cells: tuple[Cell, ...]
    vectors: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        _demand_whole(self.cells, self.vectors, TOTAL_LIMIT)


@dataclass(frozen=True)
class Noisy:
    """The same after the noise, and nothing of it is exact any more: the plan's cells, or those above the threshold.

    For a top measure a cell has `size` numbers, not `width`: the places of the chosen values in its domain, best first.
    """

    cells: tuple[Cell, ...]
    vectors: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        _demand_whole(self.cells, self.vectors, 2 * TOTAL_LIMIT)


def _demand_whole(cells: tuple[Cell, ...], vectors: tuple[tuple[int, ...], ...], limit: int) -> None:
    for vector in vectors:
        if len(vector) % len(cells) if cells else vector:
            raise ValueError("a vector has the same number of figures for each cell")
        whole = set(map(type, vector)) <= {int}
        if vector and not (whole and -limit <= min(vector) and max(vector) <= limit):
            raise ValueError("a vector holds whole numbers within the limit of totals")
