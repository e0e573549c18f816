"""Whether a pre-aggregate holds of each unit what its bounds leave of its rows: a part of the verification.

Reckoned anew from the stored rows, in other words than those that wrote it. Numbered as in `pre_aggregate_findings`:
    1. A unit stands in a declared cell at most once, and only where it has rows.
    2. It stands in as many of its cells as the bound on groups leaves, and in each with as many of its rows as that on
       rows in a group leaves.
    3. A sum is that of its rows; where rows were too many, it lies within what those that are left can add up to.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from kaianalytics.policy.statistics import KAI_UNIT
from kaianalytics.privacy.bounding.pre_aggregates import ROWS, sum_column
from kaianalytics.privacy.bounding.texts import listed, literal, quoted
from kaianalytics.privacy.unit import PreAggregate, StatisticsColumn, StatisticsView, ValueBounds
from kaianalytics.warehouse.numbering_checks import BUILT


def pre_aggregate_findings(con: duckdb.DuckDBPyConnection, view: StatisticsView, pre: PreAggregate) -> Iterator[str]:
    """What is not as it must be in one table."""
    keys = [quoted(name) for name in pre.keys]
    cell = listed([KAI_UNIT], keys)
    distinct = f"SELECT count(*) FROM (SELECT DISTINCT {cell} FROM {_built(pre.table)})"
    twice = con.execute(f"SELECT count(*) <> ({distinct}) FROM {_built(pre.table)}").fetchall()
    same = " AND ".join(f"p.{name} IS NOT DISTINCT FROM t.{name}" for name in (KAI_UNIT, *keys))
    joined = f"{_built(pre.table)} AS p LEFT JOIN ({_true(view, pre)}) AS t ON {same}"
    if twice != [(False,)] or _any(con, f"{joined} WHERE t.n IS NULL"):  # 1
        yield "holds cells that no unit has"
    bounds = view.contribution
    groups, most = (bounds.groups, bounds.rows_per_group) if bounds else (None, None)
    if _cells(con, f"({_true(view, pre)})", groups) != _cells(con, _built(pre.table), None):  # 2
        yield "holds other cells of its units than their bound leaves"
    if _any(con, f"{joined} WHERE {ROWS} IS DISTINCT FROM {'n' if most is None else f'least(n, {most})'}"):
        yield "holds other numbers of rows than their bound leaves"
    for place, name in enumerate(pre.sums):  # 3
        if _any(con, f"{joined} WHERE {_wrong_sum(view.columns[name], f's{place}', most)}"):
            yield f"holds sums of `{name}` that its rows do not add up to"


def _true(view: StatisticsView, pre: PreAggregate) -> str:
    """Each unit's rows and sums in its declared cells, from the stored rows."""
    keys = [quoted(name) for name in pre.keys]
    sums = [f"coalesce(sum({_steps(view.columns[name])}), 0) AS s{i}" for i, name in enumerate(pre.sums)]
    declared = " AND ".join(_declared(view.columns[name]) for name in pre.keys)
    columns = listed([KAI_UNIT], keys, ["count(*) AS n"], sums)
    return f"SELECT {columns} FROM {_built(view.name)} WHERE {declared} GROUP BY {listed([KAI_UNIT], keys)}"


def _declared(column: StatisticsColumn) -> str:
    values = column.domain.values if column.domain else ()
    tests = (f"{quoted(column.name)} IS NOT DISTINCT FROM {literal(value, column.type)}" for value in values)
    return f"({' OR '.join(tests) or 'FALSE'})"


def _steps(column: StatisticsColumn) -> str:
    bounds = _bounds(column)
    value = f"CAST({quoted(column.name)} AS DOUBLE)"
    given = f"{value} IS NOT NULL AND isfinite({value})"
    inside = f"greatest(least({value}, {float(bounds.upper)}), {float(bounds.lower)})"
    return f"CASE WHEN {given} THEN CAST(round({inside} / {float(bounds.step)}) AS HUGEINT) END"


def _wrong_sum(column: StatisticsColumn, true: str, most: int | None) -> str:
    """A sum of all rows may differ by the rounding of each; a sum of fewer is what fewer rows can be."""
    bounds, held = _bounds(column), quoted(sum_column(column.name))
    wrong = f"({held} IS NULL OR abs({held} - {true}) > n)"
    if most is None:
        return wrong
    low, high = most * min(bounds.lower_steps, 0), most * max(bounds.upper_steps, 0)
    return f"CASE WHEN n <= {most} THEN {wrong} ELSE {held} IS NULL OR {held} NOT BETWEEN {low} AND {high} END"


def _bounds(column: StatisticsColumn) -> ValueBounds:
    assert column.bounds is not None  # a pre-aggregate sums bounded columns alone
    return column.bounds


def _cells(con: duckdb.DuckDBPyConnection, rows: str, most: int | None) -> int:
    """In how many cells units stand, no unit in more than `most`."""
    counted = f"SELECT {KAI_UNIT}, count(*) AS cells FROM {rows} GROUP BY {KAI_UNIT}"
    [(cells,)] = con.execute(
        f"SELECT coalesce(sum({'cells' if most is None else f'least(cells, {most})'}), 0) FROM ({counted})"
    ).fetchall()
    return int(cells)


def _built(name: str) -> str:
    return f"{BUILT}.main.{quoted(name)}"


def _any(con: duckdb.DuckDBPyConnection, rows: str) -> bool:
    return con.execute(f"SELECT 1 FROM {rows} LIMIT 1").fetchall() != []
