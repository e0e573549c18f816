"""For tests of the statistics core: DuckDB's tree of a statement, and bounding once more, in plain Python."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import duckdb

from kaianalytics.privacy.query import StatisticsQuery
from kaianalytics.privacy.unit import StatisticsColumn

Row = dict[str, Any]


def parsed(sql: str) -> dict[str, Any]:
    """The JSON of `json_serialize_sql`, as the guard hands it on."""
    ((text,),) = duckdb.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    tree: dict[str, Any] = json.loads(text)
    assert tree["error"] is False, tree
    return tree


def reference(query: StatisticsQuery, cells: Sequence[tuple[Any, ...]], rows: list[Row]) -> list[list[int]]:
    """What the bounded aggregate of `rows` (those that the filter lets through) has to be, one vector per aggregate."""
    unit, bounds = query.view.unit.column, query.view.contribution
    parts: dict[Any, dict[tuple[Any, ...], list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cell = tuple(row[key.column] for key in query.keys)
        if row[unit] is not None and cell in cells:
            parts[row[unit]][cell].append(row)
    totals = [dict.fromkeys(cells, 0) for _ in query.aggregates]
    for name, by_cell in parts.items():
        kept = sorted(by_cell, key=lambda cell: _rank(name, cell))[: bounds.groups]
        for cell in kept:
            for total, aggregate in zip(totals, query.aggregates, strict=True):
                column = None if aggregate.column is None else query.view.columns[aggregate.column]
                total[cell] += _bounded(by_cell[cell], column, bounds.rows_per_group)
    return [[total[cell] for cell in cells] for total in totals]


def _bounded(rows: list[Row], column: StatisticsColumn | None, most: int) -> int:
    if column is None:
        return min(len(rows), most)
    assert column.bounds is not None
    total = sum(_steps(row[column.name], column) for row in rows)
    return max(most * min(column.bounds.lower_steps, 0), min(most * max(column.bounds.upper_steps, 0), total))


def _steps(value: Any, column: StatisticsColumn) -> int:
    bounds = column.bounds
    if value is None or bounds is None or not math.isfinite(value):
        return 0
    if column.type == "number":
        near = min(max(float(value), float(bounds.lower)), float(bounds.upper)) / float(bounds.step)
        value = int(Decimal(near).to_integral_value(rounding=ROUND_HALF_UP))
    return max(bounds.lower_steps, min(bounds.upper_steps, int(value)))


def _rank(unit: str, cell: tuple[Any, ...]) -> str:
    return hashlib.md5(
        "|".join([unit, *("" if key is None else f"={_text(key)}" for key in cell)]).encode()
    ).hexdigest()


def _text(key: Any) -> str:
    if isinstance(key, bool):
        return str(key).lower()
    return key.isoformat() if isinstance(key, date) else str(key)
