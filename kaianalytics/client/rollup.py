"""Cells added up over dropped keys, with propagated error: on the analyst's side, asked of nobody, charged to nothing.

Laws:
1. Noise is drawn for each cell anew, so the variances of one figure add up over cells. Figures of one cell may share
   noise: no two of them are ever mixed.
2. A mean of cells is weighted by what each rests on, and needs the error of that too: Σ nᵢ·mᵢ / Σ nᵢ, where each cell
   errs by at most nᵢ·σ(mᵢ) + |mᵢ - m|·σ(nᵢ), however the two go together.
3. What does not add up is refused by its name: distinct units (one may be in several cells), quantiles, variances,
   ratios, values by rank.
4. The bounds stay those of the cells as they were asked: one unit may count in several cells that are added here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from math import hypot
from typing import TYPE_CHECKING

from kaianalytics.client.bounded import of_figures
from kaianalytics.client.cells import no_such_key
from kaianalytics.client.digits import known, number_of
from kaianalytics.errors import Refused
from kaianalytics.protocol import Scalar

if TYPE_CHECKING:
    from kaianalytics.client.release import ReleaseTable

Cell = tuple[Scalar, float | None, float | None]  # value, margin, support
_UNKNOWN: Cell = (None, None, None)
_SAME = 0.51  # a support and the whole-numbered figure that was made of it differ by rounding alone
_WAYS_ON = {
    "count": "distinct units of several groups may be the same ones: ask again, grouped by fewer keys",
    "quantile": "ask again, grouped by fewer keys: all quantiles of a column cost one price",
    "variance": "ask again, grouped by fewer keys, or ask for the sums of x and of x * x, which add up",
    "deviation": "ask again, grouped by fewer keys, or ask for the sums of x and of x * x, which add up",
    "ratio": "ask for its numerator and denominator, roll them up, and divide",
    "top": "ask again, grouped by fewer keys",
    "sum": "ask for SUM of the column alone, which adds up",
}


def roll_up(table: ReleaseTable, keys: Sequence[str], figures: Sequence[str]) -> ReleaseTable:
    """The table with one row for each of the values of `keys`, in the order of their first cells."""
    keep = _places(table, keys, figures)
    for place in keep:
        _demand_addable(table, place)
    groups = _groups(table, [place for place in keep if table.release.columns[place].role == "key"])
    cells = [[_cell(table, place, rows) for place in keep] for rows in groups]
    release = replace(
        table.release,
        columns=tuple(table.release.columns[place] for place in keep),
        rows=tuple(tuple(value for value, _, _ in row) for row in cells),
        margins=tuple(tuple(margin for _, margin, _ in row) for row in cells),
        supports=tuple(tuple(support for _, _, support in row) for row in cells),
        bounding=_bounding(table, keep),
        notes=(),
        certificate={},  # it is of the cells as they were asked
    )
    of_cells = ("Of the cells as they were asked: " + " ".join(table.release.notes),) if table.release.notes else ()
    return replace(table, release=release, derived=(*table.derived, _sentence(table, keys, len(groups)), *of_cells))


def _bounding(table: ReleaseTable, keep: Sequence[int]) -> tuple[str, ...]:
    """What bounding leaves out of the figures that stay."""
    staying = [table.release.columns[place].name for place in keep]
    return of_figures(table.release.bounding, [figure.name for figure in table.figures], staying)


def _places(table: ReleaseTable, keys: Sequence[str], figures: Sequence[str]) -> list[int]:
    """The columns that stay, in their order."""
    names = [key.name for key in table.keys]
    if unknown := [key for key in keys if key not in names]:
        raise no_such_key(unknown, names)
    chosen = {table.figure(name).name for name in figures} or {figure.name for figure in table.figures}
    return [
        place
        for place, column in enumerate(table.release.columns)
        if column.name in (keys if column.role == "key" else chosen)
    ]


def _demand_addable(table: ReleaseTable, place: int) -> None:
    column = table.release.columns[place]
    if column.role == "key" or column.adds:
        return
    if column.role == "mean":
        _weights(table, place)  # refuses where there are none
        return
    others = [figure.name for figure in table.figures if figure.adds]
    raise Refused(
        "ROLLUP_UNSUPPORTED",
        f"`{column.name}` ({column.role}) does not add up over groups.",
        rule="rows and sums add up; what is computed from them, and distinct units, do not",
        hint=_WAYS_ON[column.role] + (f"; or roll up the others: figures={others}" if others else ""),
    )


def _groups(table: ReleaseTable, keys: Sequence[int]) -> list[list[int]]:
    """The rows of each group of cells, groups in the order of their first row; one group of all where no key stays."""
    groups: dict[tuple[Scalar, ...], list[int]] = {} if keys else {(): []}
    for number, row in enumerate(table.release.rows):
        groups.setdefault(tuple(row[key] for key in keys), []).append(number)
    return list(groups.values())


def _cell(table: ReleaseTable, place: int, rows: Sequence[int]) -> Cell:
    column = table.release.columns[place]
    if column.role == "key":
        return table.release.rows[rows[0]][place], None, None
    return _mean(table, place, rows) if column.role == "mean" else _sum(table, place, rows)


def _sum(table: ReleaseTable, place: int, rows: Sequence[int]) -> Cell:
    release = table.release
    values = [release.rows[row][place] for row in rows]
    numbers = [number_of(value) for value in values]
    if any(number is None for number in numbers):
        return _UNKNOWN
    margin = _together(release.margins[row][place] for row in rows)
    supports = [release.supports[row][place] for row in rows]
    return _total(values), margin, sum(_known(supports)) if all(known(support) for support in supports) else None


def _total(values: Sequence[Scalar]) -> Scalar:
    """The sum, exact where the values are: whole numbers, and decimals that crossed the wire as text."""
    if any(isinstance(value, float) for value in values):
        return sum(_known(number_of(value) for value in values))
    total = sum((Decimal(str(value)) for value in values), Decimal(0))
    return int(total) if all(isinstance(value, int) for value in values) else f"{total:f}"


def _mean(table: ReleaseTable, place: int, rows: Sequence[int]) -> Cell:
    release, weights = table.release, _weights(table, place)
    means = [number_of(release.rows[row][place]) for row in rows]
    margins = [release.margins[row][place] for row in rows]
    counts = [release.supports[row][place] for row in rows]
    if not all(known(number) for number in (*means, *margins, *counts)):
        return _UNKNOWN
    n, m, pm = _known(counts), _known(means), _known(margins)
    total = sum(n)
    if not n or min(n) <= 0:
        return _UNKNOWN
    mean = sum(count * each for count, each in zip(n, m, strict=True)) / total
    off = [count * own + abs(each - mean) * weights[row] for count, own, each, row in zip(n, pm, m, rows, strict=True)]
    return mean, hypot(*off) / total, total


def _weights(table: ReleaseTable, place: int) -> list[float]:
    """The ± of the rows that a mean rests on, cell by cell: those of the figure that counts the same rows."""
    release = table.release
    supports = [row[place] for row in release.supports]
    for other, column in enumerate(release.columns):
        counted = [number_of(row[other]) for row in release.rows]
        margins = [row[other] for row in release.margins]
        if column.role == "count" and column.adds and all(known(margin) for margin in margins):
            pairs = zip(supports, counted, strict=True)
            if all(s is not None and c is not None and abs(s - c) <= _SAME for s, c in pairs):
                return _known(margins)
    raise Refused(
        "ROLLUP_NEEDS_COUNT",
        f"`{release.columns[place].name}` is a mean, and the release has no count of the rows that it rests on.",
        rule="means of groups are weighted by their rows, whose error counts as well",
        hint="ask for COUNT(x) beside AVG(x) in one question, or for SUM(x) and COUNT(x), and roll these up",
    )


def _together(margins: Iterable[float | None]) -> float | None:
    margins = list(margins)
    return hypot(*_known(margins)) if all(known(margin) for margin in margins) else None


def _known(numbers: Iterable[float | None]) -> list[float]:
    return [number for number in numbers if number is not None]


def _sentence(table: ReleaseTable, keys: Sequence[str], groups: int) -> str:
    dropped = _listed([key.name for key in table.keys if key.name not in keys])
    return (
        f"A roll-up of the {len(table.release.rows):,} cells shown into {groups:,}, over {dropped}: not asked anew, and"
        " free. The bounds are those of the cells: one unit may count in several that are added here. What was held"
        " back, or left out by HAVING or LIMIT, is not in the sums."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
