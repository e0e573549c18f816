"""For tests of the statistics core: DuckDB's tree of a statement, and bounding once more, in plain Python.

`reference` is bounding over rows that are evaluated already: what each adds to each measure, in whole steps. The rows
themselves come from `joined`, nested loops over the tables, and from the engine's expressions in Python.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import duckdb

from kaianalytics.privacy.bounding.counting import Part
from kaianalytics.privacy.bounding.forms import Bounding
from kaianalytics.privacy.expression import ColumnOf, Expression, conjuncts
from kaianalytics.privacy.expressions.evaluation import evaluate
from kaianalytics.privacy.expressions.operations import call
from kaianalytics.privacy.plan import Cell, Plan
from kaianalytics.privacy.query import Source, StatisticsQuery

Row = dict[str, Any]
Joined = Sequence[Row | None]  # a row of each relation, None where a LEFT JOIN found none


def parsed(sql: str) -> dict[str, Any]:
    """The JSON of `json_serialize_sql`, as the guard hands it on."""
    ((text,),) = duckdb.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    tree: dict[str, Any] = json.loads(text)
    assert tree["error"] is False, tree
    return tree


# --- bounding, over rows that are evaluated already


@dataclass(frozen=True)
class Counted:
    """A row: whose it is, its cell, what it adds by measure (None: it doesn't count), and all that a hash may see."""

    customer: Any
    window: Any
    rank: int | None
    cell: Cell
    adds: Mapping[int, Any]
    contents: tuple[Any, ...] = ()


Unit = Mapping[tuple[Cell, int], int]  # (cell, measure) → steps


def reference(bounding: Bounding, rows: Iterable[Counted], cells: Sequence[Cell]) -> list[dict[Cell, int]]:
    """What the bounded figures of parts with one number per cell have to be, by part; absent cells are zero."""
    units: dict[Any, list[Counted]] = defaultdict(list)
    for row in rows:
        ranked = bounding.rank and (row.rank is None or row.rank > (bounding.form.rows or 0))
        if not ranked and (not cells or row.cell in cells):
            units[row.customer, row.window].append(row)
    totals = [defaultdict[Cell, int](int) for _ in bounding.parts]
    distinct: dict[Any, dict[tuple[Cell, int], int]] = defaultdict(lambda: defaultdict(int))
    for (customer, _), own in units.items():
        for (cell, place), steps in bounded(bounding, own).items():
            if bounding.parts[place].kind == "units":
                distinct[customer][cell, place] = max(distinct[customer][cell, place], steps)
            else:
                totals[place][cell] += steps
    for counted in distinct.values():
        for (cell, place), steps in counted.items():
            totals[place][cell] += steps
    return [dict(total) for total in totals]


def bounded(bounding: Bounding, rows: list[Counted]) -> Unit:
    """One unit's part: a function of its own rows."""
    form = bounding.form
    if bounding.way == "direct":
        return _added(bounding, rows)
    if form.kind == "rows":
        return _added(bounding, _first(rows, [row.contents for row in rows], form.rows))
    if form.kind == "groups":
        cells = sorted({row.cell for row in rows}, key=lambda cell: (_hash(rows[0], cell), _last_none(cell)))
        kept = cells[: form.groups]
        return _capped(bounding, [row for row in rows if row.cell in kept])
    unit = _added(bounding, rows)
    return _clamped(bounding, unit) if rows[0].cell == () else _scaled(bounding, unit)


def _added(bounding: Bounding, rows: Sequence[Counted]) -> Unit:
    unit: dict[tuple[Cell, int], int] = defaultdict(int)
    for row in rows:
        for place, steps in row.adds.items():
            if steps is not None:
                key = (row.cell, place)
                unit[key] = bounding.parts[place].scale if bounding.parts[place].kind == "units" else unit[key] + steps
    return unit


def _capped(bounding: Bounding, rows: Sequence[Counted]) -> Unit:
    unit, most = dict(_added(bounding, rows)), bounding.form.rows or 0
    counts = dict(unit)
    for (cell, place), steps in counts.items():
        part = bounding.parts[place]
        weigher = part if part.weigher is None else bounding.parts[part.weigher]
        count = 0 if part.weigher is None else counts.get((cell, part.weigher), 0) // weigher.scale
        if part.kind == "rows":
            unit[cell, place] = min(steps, most * part.scale)
        elif part.kind == "sum" and count > most:
            unit[cell, place] = _share(steps, most, count)
        elif part.kind == "sum":
            unit[cell, place] = max(most * part.least, min(most * part.greatest, steps))
    return unit


def _clamped(bounding: Bounding, unit: Unit) -> Unit:
    """Of one cell that has no key: the norm of a part is its size."""
    clamped = {}
    for (cell, place), steps in unit.items():
        part, norm = bounding.parts[place], bounding.norms[place]
        count = 0 if part.weigher is None else unit[cell, part.weigher]
        clamped[cell, place] = _share(steps, norm, count) if count > norm else steps
        if part.weigher is None:
            clamped[cell, place] = max(-norm, min(norm, steps))
    return clamped


def _scaled(bounding: Bounding, unit: Unit) -> Unit:
    squares: dict[int, int] = defaultdict(int)
    for (_, place), steps in unit.items():
        squares[place] += steps**2
    scaled = {}
    for (cell, place), steps in unit.items():
        part = bounding.parts[place]
        norm, square = bounding.norms[place], squares[place if part.weigher is None else part.weigher]
        factor = norm * SAFE / math.sqrt(square) if square else 0.0
        scaled[cell, place] = steps if square <= norm**2 else math.trunc(steps * factor)
    return scaled


SAFE = 1 - 2.0**-40


def _share(steps: int, most: int, count: int) -> int:
    return math.trunc(float(steps) * (most * SAFE / count))


def _first(rows: Sequence[Counted], contents: Sequence[tuple[Any, ...]], most: int | None) -> list[Counted]:
    """The first rows in the order of a hash of what they hold; those that hold the same are numbered."""
    seen: dict[tuple[Any, ...], int] = defaultdict(int)
    ranked = []
    for row, held in zip(rows, contents, strict=True):
        seen[held] += 1
        ranked.append((_hash(row, (*held, seen[held])), _last_none((*held, seen[held])), row))
    return [row for *_, row in sorted(ranked, key=lambda one: one[:2])[:most]]


def _hash(row: Counted, contents: Sequence[Any]) -> str:
    seen = [row.customer, *([] if row.window is None else [row.window]), *contents]
    return hashlib.md5("|".join("" if value is None else f"={_text(value)}" for value in seen).encode()).hexdigest()


def _last_none(values: Sequence[Any]) -> list[tuple[bool, Any]]:
    return [(value is None, 0 if value is None else value) for value in values]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return (
        value.isoformat(**({"sep": " "} if hasattr(value, "hour") else {})) if isinstance(value, date) else str(value)
    )


# --- parts with several numbers per cell: each number is a cell of its own, but for what limits it


def reference_items(bounding: Bounding, part: Part, rows: Iterable[Counted], cells: Sequence[Cell]) -> dict[Cell, int]:
    """The same for one part with several numbers per cell: by (*cell, place of the number)."""
    units: dict[Any, list[Counted]] = defaultdict(list)
    for row in rows:
        ranked = bounding.rank and (row.rank is None or row.rank > (bounding.form.rows or 0))
        if not ranked and (not cells or row.cell in cells) and row.adds.get(part.measure) is not None:
            units[row.customer, row.window].append(row)
    totals: dict[Cell, int] = defaultdict(int)
    for own in units.values():
        for number, steps in _unit_items(bounding, part, own).items():
            totals[number] += steps
    return dict(totals)


def _unit_items(bounding: Bounding, part: Part, rows: list[Counted]) -> dict[Cell, int]:
    form, place = bounding.form, part.measure
    if bounding.way != "direct" and form.kind == "rows":
        rows = _first(rows, [(*row.cell, row.adds[place]) for row in rows], form.rows)
    if bounding.way != "direct" and form.kind == "groups":
        chosen = sorted({row.cell for row in rows}, key=lambda cell: (_hash(rows[0], cell), _last_none(cell)))
        rows = [row for row in rows if row.cell in chosen[: form.groups]]
    counts: dict[Cell, int] = defaultdict(int)
    in_cell: dict[Cell, int] = defaultdict(int)
    for row in rows:
        counts[(*row.cell, row.adds[place])] += part.scale
        in_cell[row.cell] += part.scale
    if bounding.way == "direct" or form.kind == "rows":
        return counts
    if form.kind == "groups":
        most = (form.rows or 0) * part.scale
        return {
            number: n if in_cell[number[:-1]] <= most else _share(n, most, in_cell[number[:-1]])
            for number, n in counts.items()
        }
    vector = in_cell if part.kind == "tree" else counts
    square, norm = sum(n * n for n in vector.values()), bounding.norms[place]
    factor = norm * SAFE / math.sqrt(square)
    return {number: n if square <= norm**2 else math.trunc(n * factor) for number, n in counts.items()}


# --- evaluating rows


def joined(source: Source, tables: Sequence[Sequence[Row]]) -> Iterator[Joined]:
    """The source's rows, by nested loops: units meet themselves and public rows, in one window, and nobody else."""
    rows: Iterable[list[Row | None]] = [[row] for row in tables[0]]
    for place, join in enumerate(source.joins, start=1):
        found = []
        for left in rows:
            matches = [[*left, row] for row in tables[place] if _meet(source, place, [*left, row])]
            if join.kind in ("semi", "anti"):
                found += [[*left, None]] if bool(matches) == (join.kind == "semi") else []
            else:
                found += matches or ([[*left, None]] if join.kind == "left" else [])
        rows = found
    return iter(rows)


def _meet(source: Source, place: int, row: Joined) -> bool:
    join, own = source.joins[place - 1], source.relations[place].view
    pairs = [(_value(one, row), _value(two, row)) for one, two in join.on]
    for other, relation in enumerate(source.relations[:place]):
        earlier, view = row[other], relation.view
        if earlier is None:  # what was not found there is missing in the pairs too
            continue
        if own.unit and view.unit and earlier[view.unit.column] != row[place][own.unit.column]:
            return False
        if own.windows and view.windows and earlier[view.windows.stored] != row[place][own.windows.stored]:
            return False
    fits = all(one is not None and one == two for one, two in pairs)
    return fits and (join.where is None or evaluate(join.where, lambda column: _value(column, row)) is True)


def _value(column: ColumnOf, row: Joined) -> Any:
    relation = row[column.relation]
    return None if relation is None else relation[column.name]


def counted(plan: Plan, bounding: Bounding, tables: Sequence[Sequence[Row]]) -> list[Counted]:
    """The rows that the filter lets through, with what each adds."""
    query, source = plan.query, plan.query.source
    unit, windows = source.privacy_unit, [i for i, r in enumerate(source.relations) if r.view.windows]
    found = []
    for row in joined(source, tables):
        own = row[source.unit]
        customer = None if own is None else own[unit.key]
        window = None
        if windows:
            view = source.relations[windows[0]].view
            windowed = row[windows[0]]
            window = None if windowed is None else windowed[view.windows.stored]
            if window is None or not plan.windows[0] <= window.isoformat() <= plan.windows[-1]:
                continue
        if customer is None or not _true(query.where, row):
            continue
        cell = tuple(evaluate(key.expression, lambda column, row=row: _value(column, row)) for key in query.keys)
        rank = own.get(source.view.rank) if own else None
        found.append(Counted(customer, window, rank, cell, *_adds(query, bounding, cell, row)))
    return found


def _true(expression: Expression | None, row: Joined) -> bool:
    return expression is None or evaluate(expression, lambda column: _value(column, row)) is True


def _adds(
    query: StatisticsQuery, bounding: Bounding, cell: Cell, row: Joined
) -> tuple[dict[int, Any], tuple[Any, ...]]:
    """What a row adds by measure, and all that a hash may see of it: the cell, conditions, values, each once."""
    adds, conditions, values = {}, {}, {}
    for part in bounding.parts:
        where = condition(query, part)
        measure = query.measures[part.measure]
        counts = _true(where, row)
        x = None
        if measure.expression is not None:
            value = evaluate(measure.expression, lambda column: _value(column, row))
            x = number(part, query, value)
        if not part.item:
            if where is not None:
                conditions[where] = evaluate(where, lambda column: _value(column, row))
            if part.kind == "sum":
                values[measure.expression, measure.bounds, part.grid, part.offset] = x
        if part.kind in ("rows", "units"):
            adds[part.measure] = part.scale if counts else None
        elif part.kind == "sum":
            adds[part.measure] = part.scale * x - part.centre if counts and x is not None else None
        else:
            adds[part.measure] = x if counts else None
    return adds, (*cell, *conditions.values(), *values.values())


def condition(query: StatisticsQuery, part: Part) -> Expression | None:
    """When a row counts in a part: where its weigher counts too."""
    weigher = None if part.weigher is None else query.measures[part.weigher].where
    parts = tuple(dict.fromkeys((*conjuncts(weigher), *conjuncts(query.measures[part.measure].where))))
    return call("and", *parts) if len(parts) > 1 else next(iter(parts), None)


def number(part: Part, query: StatisticsQuery, value: Any) -> int | None:
    """A value as a whole number of steps, or as the place of the number that it counts in."""
    measure = query.measures[part.measure]
    if part.kind == "top":
        return measure.domain.index(value) if value in measure.domain else None
    if value is None or not math.isfinite(value):
        return None
    if part.kind == "histogram":
        inside = [i for i, edge in enumerate(measure.edges) if float(edge) <= value]
        if not inside or value > float(measure.edges[-1]):
            return None
        return min(inside[-1], len(measure.edges) - 2)
    low, high = float(measure.bounds.lower), float(measure.bounds.upper)
    near = min(max(float(value), low), high)
    if part.kind == "tree":
        share = (near - low) * float(
            part.tree.leaves / (Fraction(measure.bounds.upper) - Fraction(measure.bounds.lower))
        )
        return min(math.floor(share), part.tree.leaves - 1)
    if isinstance(value, int) and part.grid == 1 and not part.offset:
        return max(part.low, min(part.high, int(value)))
    return round((near - float(part.offset) if part.offset else near) * float(1 / Fraction(part.grid)))


def spread(plan: Plan, numbers: Mapping[Cell, int], part: Part, cells: Sequence[Cell]) -> tuple[int, ...]:
    """A part's numbers as its vector: of a tree, all levels."""
    vector = []
    for cell in cells:
        own = [numbers.get((*cell, i), 0) for i in range(part.tree.leaves if part.tree else part.width)]
        if part.tree:
            spans = [part.tree.branching ** (part.tree.levels - level) for level in range(1, part.tree.levels + 1)]
            own = [sum(own[i : i + span]) for span in spans for i in range(0, len(own), span)]
        vector += own
    return tuple(vector)


def expected(plan: Plan, bounding: Bounding, rows: list[Counted], cells: Sequence[Cell]) -> list[tuple[int, ...]]:
    """All vectors of a plan over the cells, by the reference."""
    known = plan.cells or ()
    plain = reference(bounding, rows, known)
    return [
        spread(plan, reference_items(bounding, part, rows, known), part, cells)
        if part.item
        else tuple(plain[part.measure].get(cell, 0) for cell in cells)
        for part in bounding.parts
    ]


__all__ = ["Counted", "Decimal", "Row", "counted", "expected", "parsed", "reference"]
