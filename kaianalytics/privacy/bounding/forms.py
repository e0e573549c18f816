"""The forms in which a unit's part is bounded, and how far one unit can then move each vector: proofs, in integers.

Law: a unit's part is a function of that unit's own rows, of public tables and of constants; so to add or remove the
unit adds or removes that part, and the sensitivities are those of the part alone. Below, n is the number of cells, m
(`Part.most`) how far one row moves a vector, h how many numbers of a cell it moves (the levels of a tree; else 1).

rows, whole   At most R rows count. One row adds at most m to one cell (in a tree: to h numbers of it, one in each
              level). So a number moves by at most R·m; all of a level, in L1 and so in L2, by R·m; h levels by R·m·√h;
              and at most R·h numbers move. Distinct units: the rows lie in at most c = min(R, n) cells, each of which
              moves by one: √c.
groups        At most g = min(groups, n) cells count, each for at most q·m (in a tree: in each level). So a number moves
              by at most q·m, and the vector by q·m·√(g·h). Distinct units: √g.
norm          The unit's vector v over the cells, in steps, is kept where ‖v‖² = Σ v_c² ≤ T², which is tested in whole
              numbers. Else each v_c becomes the whole part of v_c·f, where f = T·(1 − 2⁻⁴⁰)/‖v‖ in doubles. Between
              the exact quotient and the engine's product lie fewer than eight roundings, each by at most 2⁻⁵² of the
              value, so that |v_c·f| in doubles is at most |v_c|·T/‖v‖, and Σ v'_c² ≤ T². So T bounds the vector and
              each number.
              A histogram's and a top's v is over cells and numbers. A tree's is over cells, of rows counted: a level's
              counts in one cell add up to at most v'_c, so in each level their L2 is at most T, and in h levels T·√h.
              A sum weighed by rows n_c has |S_c| ≤ m·n_c, and is scaled by the factor of n: L2 ≤ m·T_n.
              Where there is one cell, v becomes the nearest of −T … T instead, and a sum weighed by n > T rows the
              whole part of S·T·(1 − 2⁻⁴⁰)/n, whose size is at most m·T by the same count of roundings.
              Distinct units: v_c is 1 where the unit has a row.
stored        A pre-aggregate holds what `pre_aggregates` wrote: for each unit rows n_c and sums |S_c| ≤ m·n_c, with
              Σ n_c ≤ R where rows are bounded, and at most g cells with n_c ≤ q where groups are: L2 ≤ m·l2(n).

Any of these is at most `MOST_STEPS`, so that 2³¹ units stay below 2⁶² (`Vector` checks it again).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kaianalytics.privacy.bounding.counting import Part
from kaianalytics.privacy.plan import Form
from kaianalytics.privacy.unit import ContributionBounds, PreAggregate, root_up

Way = Literal["direct", "per unit", "stored"]
Sensitivities = tuple[int, int, int]  # l2, linf, l0


@dataclass(frozen=True)
class Bounding:
    """A form with all that its SQL and its proof need.

    direct     no unit is looked at: the store holds, or numbers, its rows (`form.rows`; `rank` is to be compared), or a
               unit counts once in each cell anyway
    per unit   units that may be over the bound are cut
    stored     a pre-aggregate is read

    `norms` are T for each part, in its steps (of a weighed sum: its weigher's).
    """

    form: Form
    parts: tuple[Part, ...]
    cells: int | None
    way: Way
    rank: bool = False
    norms: tuple[int, ...] = ()
    stored: PreAggregate | None = None

    @property
    def choosing(self) -> bool:
        """Whether a unit's cells must be chosen, for it may have more than count."""
        return self.form.groups is not None and (self.cells is None or self.form.groups < self.cells)


def sensitivities(bounding: Bounding, part: Part, contribution: ContributionBounds) -> Sensitivities:
    """How far one unit moves the part's vector: all of it (L2), any number, and how many numbers; in steps."""
    if bounding.way == "stored":
        return _stored(part, contribution, bounding.cells)
    match bounding.form.kind:
        case "norm":
            return _norm(bounding, part)
        case "groups":
            return _groups(bounding, part)
        case "rows" | "whole":
            return _rows(bounding, part)


def touched(cells: int | None, *limits: int | None) -> int:
    """The least of the limits on how many cells one unit appears in."""
    return min(limit for limit in (cells, *limits) if limit is not None)


def _rows(bounding: Bounding, part: Part) -> Sensitivities:
    rows, cells = bounding.form.rows, bounding.cells
    if part.kind == "units":
        count = touched(cells, rows)
        return root_up(count * part.scale**2), part.scale, count
    assert rows is not None  # only distinct units need no bound on rows
    most = rows * part.most
    return root_up(most**2 * part.levels), most, _numbers(part, cells, rows * part.levels)


def _groups(bounding: Bounding, part: Part) -> Sensitivities:
    groups, rows = bounding.form.groups, bounding.form.rows
    assert groups is not None and rows is not None  # the form has both
    count = touched(bounding.cells, groups)
    if part.kind == "units":
        return root_up(count * part.scale**2), part.scale, count
    most = rows * part.most
    return root_up(most**2 * count * part.levels), most, _numbers(part, count, count * most * part.levels)


def _norm(bounding: Bounding, part: Part) -> Sensitivities:
    norm = bounding.norms[part.measure]
    if part.weigher is not None:
        norm = -(-norm * part.most // bounding.parts[part.weigher].scale)
    most = min(norm, part.scale) if part.kind == "units" else norm
    return root_up(norm**2 * part.levels), most, _numbers(part, bounding.cells, norm**2 * part.levels)


def _stored(part: Part, contribution: ContributionBounds, cells: int | None) -> Sensitivities:
    count = touched(cells, contribution.groups, contribution.rows)
    if part.kind == "units":
        return root_up(count * part.scale**2), part.scale, count
    most = max(part.most, abs(part.centre))  # a row that has no value after all is counted as one of none
    in_one = touched(contribution.rows, contribution.rows_per_group) * most
    limits = [] if contribution.rows is None else [contribution.rows * most]
    if contribution.groups is not None:
        limits.append(root_up(in_one**2 * count))
    return min(limits), in_one, count


def _numbers(part: Part, cells: int | None, moved: int) -> int:
    return moved if cells is None else min(moved, cells * part.width)


def norm_steps(square: int, scale: int) -> int:
    """T in steps of 1/scale for a norm whose square is known, rounded up."""
    return root_up(square * scale**2)
