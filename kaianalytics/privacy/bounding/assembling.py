"""From the engine's rows to exact figures over all cells, strictly: what the statements can't have given is a fault.

Laws: each cell, and each number of it, comes at most once; absent ones are zero; cells are the plan's own, or where
nobody knows them beforehand those of the statement with the threshold's vector. A fault shows nothing of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from kaianalytics.errors import Fault
from kaianalytics.privacy.plan import Cell, Exact, Plan, Statement, Tree, Vector

Results = Sequence[Iterable[Sequence[Any]]]
Table = list[tuple[Any, ...]]

_KEYS = frozenset({str, int, bool, date, datetime, type(None)})


def assemble(plan: Plan, results: Results) -> Exact:
    """The rows of `plan.statements`, in their order, as one vector of whole numbers for each of `plan.vectors`.

    Raises Fault BOUNDED_ROWS for rows that the statements can't have given.
    """
    tables = [list(map(tuple, result)) for result in results]
    if len(tables) != len(plan.statements):
        raise _not_ours()
    try:
        cells = _found(plan, tables) if plan.cells is None else plan.cells
        places = {cell: i for i, cell in enumerate(cells)}
        vectors: list[tuple[int, ...]] = [()] * len(plan.vectors)
        for statement, rows in zip(plan.statements, tables, strict=True):
            fill = _numbers if statement.item else _figures
            for place, vector in fill(plan, statement, rows, places):
                vectors[place] = vector
        return Exact(cells, tuple(vectors))
    except (KeyError, IndexError, TypeError, ValueError):
        # a cell that is none, a key that can't be one, a row of another shape
        raise _not_ours() from None


def _found(plan: Plan, tables: Sequence[Table]) -> tuple[Cell, ...]:
    """The cells that some unit is in, as the statement with the threshold's vector gives them."""
    width = len(plan.query.keys)
    place = next(i for i, statement in enumerate(plan.statements) if plan.threshold in statement.vectors)
    cells = tuple(row[:width] for row in tables[place])
    if not {type(key) for cell in cells for key in cell} <= _KEYS:
        raise ValueError("a key is of no type that keys have")
    return cells


def _figures(
    plan: Plan, statement: Statement, rows: Table, places: Mapping[Cell, int]
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The vectors of a statement with one number per cell."""
    width = len(plan.query.keys)
    found: list[tuple[Any, ...]] = [(0,) * len(statement.vectors)] * len(places)
    came = [places[row[:width]] for row in rows]
    for place, row in zip(came, rows, strict=True):
        found[place] = row[width:]
    if len(set(came)) < len(came):
        raise ValueError("a cell comes at most once")
    # Rows of unequal length end in an error here; what is no whole number, in `Exact`.
    columns = zip(*found, strict=True) if found else iter([()] * len(statement.vectors))
    yield from zip(statement.vectors, columns, strict=True)


def _numbers(
    plan: Plan, statement: Statement, rows: Table, places: Mapping[Cell, int]
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The vectors of a statement with several numbers per cell; a tree's rows are its leaves."""
    width = len(plan.query.keys)
    if plan.cells is None:  # units choose their cells by statement: what the threshold never saw isn't told
        rows = [row for row in rows if row[:width] in places]
    if len({row[: width + 1] for row in rows}) < len(rows):
        raise ValueError("a number of a cell comes at most once")
    for column, place in enumerate(statement.vectors, start=width + 1):
        given = ((places[row[:width]], row[width], row[column]) for row in rows)
        yield place, _spread(plan.vectors[place], len(places), given)
    if {len(row) for row in rows} - {width + 1 + len(statement.vectors)}:
        raise ValueError("a row has a figure for each vector")


def _spread(vector: Vector, cells: int, given: Iterable[tuple[int, Any, Any]]) -> tuple[int, ...]:
    """The numbers of a vector from (cell, place in the cell, figure)."""
    found = [0] * (vector.width * cells)
    levels = _levels(vector.tree) if vector.tree else [(0, 1)]
    most = vector.tree.leaves if vector.tree else vector.width
    for cell, item, figure in given:
        if type(item) is not int or type(figure) is not int or item < 0 or (item >= most and figure):
            raise ValueError("a number has its place in the cell")
        if item < most:
            start = cell * vector.width
            for first, span in levels:
                found[start + first + item // span] += figure
    return tuple(found)


def _levels(tree: Tree) -> list[tuple[int, int]]:
    """For each level of the tree, where its counts begin and how many leaves are below each node."""
    levels, first = [], 0
    for level in range(1, tree.levels + 1):
        levels.append((first, tree.branching ** (tree.levels - level)))
        first += tree.branching**level
    return levels


def _not_ours() -> Fault:
    return Fault(
        "BOUNDED_ROWS",
        "The engine answered a statistic with rows that its statement can't give.",
        rule="an answer has each declared group at most once, with whole numbers below 2⁶²",
        hint="tell the custodian: nothing was released",
    )
