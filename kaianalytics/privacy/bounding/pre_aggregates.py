"""Tables of one row per unit and cell, made with the store: how they are written, and which questions they answer.

Laws: such a table holds each unit's part already bounded by the contract (`forms`, "stored"); it answers questions over
exactly its own cells, for any coarser grouping would add up what was bounded cell by cell. A filter on its keys leaves
some of its cells out, and so only lowers what a unit can move.

Its columns: the unit's key, one for each of `keys` under its own name, `kai_rows` (how many rows count), and for each
of `sums` `sum_<column>`, in whole steps of the column's bounds. A sum is scaled down with its rows, never capped apart
from them, so that a mean of the two stays a mean.
"""

from __future__ import annotations

from decimal import Decimal

from kaianalytics.privacy.bounding.counting import Part, nearest
from kaianalytics.privacy.bounding.rows import counted
from kaianalytics.privacy.bounding.texts import hashed, limited, listed, literal, quoted, shrunk
from kaianalytics.privacy.expression import ColumnOf, columns_of
from kaianalytics.privacy.query import Measure, StatisticsQuery
from kaianalytics.privacy.unit import PreAggregate, StatisticsColumn, StatisticsView

ROWS = "kai_rows"


def sum_column(name: str) -> str:
    """The column that holds a column's sums."""
    return f"sum_{name}"


# --- written by the builder


def pre_aggregate_sql(view: StatisticsView, wanted: PreAggregate) -> str:
    """The SELECT over the view that gives the table: each unit's part in each cell, within the contract's bounds."""
    unit, contribution = view.unit, view.contribution
    if unit is None or contribution is None:
        raise ValueError("a pre-aggregate is made of a view about units")
    keys = [f"k{i}" for i in range(len(wanted.keys))]
    values = [_value(view.columns[name], i) for i, name in enumerate(wanted.sums)]
    named = [f"{quoted(name)} AS {key}" for name, key in zip(wanted.keys, keys, strict=True)]
    # Before any cell is chosen: what is in no declared cell uses up nothing of a unit's bound.
    tests = " AND ".join([f"{quoted(unit.key)} IS NOT NULL", *(_declared(view.columns[name]) for name in wanted.keys)])
    rows = f"SELECT {listed([f'{quoted(unit.key)} AS u'], named, values)} FROM {quoted(view.name)} WHERE {tests}"
    sums = [f"CAST(COALESCE(SUM(x{i}), 0) AS HUGEINT) AS s{i}" for i in range(len(wanted.sums))]
    totals = listed(["u"], keys, ["COUNT(*) AS n"], sums)
    grouped = f"SELECT {totals} FROM ({rows}) AS r GROUP BY {listed(['u'], keys)}"
    most = contribution.rows_per_group
    if contribution.groups is not None:
        order = listed([hashed(["u", *keys])], keys)
        place = f"ROW_NUMBER() OVER (PARTITION BY u ORDER BY {order}) AS place"
        grouped = f"SELECT * FROM (SELECT *, {place} FROM ({grouped}) AS g) AS n WHERE place <= {contribution.groups}"
    shown = [f"u AS {quoted(unit.key)}", *(f"{key} AS {quoted(n)}" for key, n in zip(keys, wanted.keys, strict=True))]
    shown += [f"{'n' if most is None else f'LEAST(n, {most})'} AS {quoted(ROWS)}"]
    shown += [f"{_bounded(f's{i}', most)} AS {quoted(sum_column(name))}" for i, name in enumerate(wanted.sums)]
    return f"SELECT {', '.join(shown)} FROM ({grouped}) AS p ORDER BY {listed(['u'], keys)}"


def _declared(column: StatisticsColumn) -> str:
    if column.domain is None:
        raise ValueError("a pre-aggregate groups by columns that have declared values")
    values = ", ".join(literal(value, column.type) for value in column.domain.values if value is not None)
    tests = [f"{quoted(column.name)} IN ({values})"] if values else []
    tests += [f"{quoted(column.name)} IS NULL"] if None in column.domain.values else []
    return f"({' OR '.join(tests)})"


def _value(column: StatisticsColumn, place: int) -> str:
    if column.bounds is None:
        raise ValueError("a pre-aggregate sums columns that have bounds")
    ends = (nearest(float(end), Decimal(0), column.bounds.step) for end in (column.bounds.lower, column.bounds.upper))
    low, high = ends
    measure = Measure("sum", ColumnOf(0, column.name, column.type, column.nullable), column.bounds)
    value = f"CAST({quoted(column.name)} AS DOUBLE)" if column.type == "number" else quoted(column.name)
    return f"{counted(value, Part(0, 'sum', column.bounds.step, low=low, high=high), measure)} AS x{place}"


def _bounded(total: str, most: int | None) -> str:
    whole = limited(total, -(2**62), 2**62)
    return whole if most is None else f"CASE WHEN n <= {most} THEN {whole} ELSE {shrunk(total, most, 'n')} END"


# --- read by the engine


def stored_for(query: StatisticsQuery) -> PreAggregate | None:
    """The table that answers the question, if the view has one."""
    source = query.source
    if len(source.relations) > 1 or source.view.windows is not None:
        return None
    return next((table for table in source.view.pre_aggregates if _answers(table, query)), None)


def _answers(table: PreAggregate, query: StatisticsQuery) -> bool:
    keys = [key.expression.name if isinstance(key.expression, ColumnOf) else None for key in query.keys]
    same = set(keys) == set(table.keys) and len(keys) == len(table.keys)
    filtered = {column.name for column in columns_of(query.where)} <= set(table.keys)
    return same and filtered and all(_holds(table, query, measure) for measure in query.measures)


def _holds(table: PreAggregate, query: StatisticsQuery, measure: Measure) -> bool:
    if measure.where is not None:
        return False
    if measure.kind in ("rows", "units"):
        return True
    column = measure.expression
    if measure.kind != "sum" or not isinstance(column, ColumnOf) or column.name not in table.sums:
        return False
    declared = measure.bounds == query.source.view.columns[column.name].bounds
    return declared and not (measure.centre and column.nullable)  # rows without a value are counted in `kai_rows`
