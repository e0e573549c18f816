"""The SQL of a bounded question: what the engine runs so that no unit adds more than its bound to the exact figures.

Laws, kept by construction: a unit's part is a function of its own rows; per unit, what is over the bound is cut as
`forms` says and proves; rows outside the declared keys use up nothing of a unit's bound, but for those that the store
itself numbers; only whole numbers are added up, so that no order of rows changes a digit.

Three shapes. `direct`: rows are grouped by cell and no more. `per unit`: units that may be over the bound are found
first; the rows of all others are grouped by cell as they are, and only these units' rows are grouped by unit and cut
(`cutting`); which units are looked at changes nothing in the result, and with one cell all are. `stored`: a
pre-aggregate is added up.

Declared keys are tested after grouping, where there are few rows left to test; the test hangs on COUNT(*) so that the
engine can't move it back before the grouping, where it was measured to cost as much as all the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

from kaianalytics.privacy.bounding.counting import Part
from kaianalytics.privacy.bounding.cutting import cut, cut_at_once, heavy
from kaianalytics.privacy.bounding.forms import Bounding
from kaianalytics.privacy.bounding.pre_aggregates import ROWS, sum_column
from kaianalytics.privacy.bounding.rows import Rows, rows_of, unit_of, written
from kaianalytics.privacy.bounding.texts import grouped, limited, listed, literals, quoted, times
from kaianalytics.privacy.bounding.totals import Totals, named, numbered
from kaianalytics.privacy.bounding.windows import WindowsRead
from kaianalytics.privacy.expression import ColumnOf
from kaianalytics.privacy.plan import TOTAL_LIMIT, Cell, Statement
from kaianalytics.privacy.query import StatisticsQuery
from kaianalytics.privacy.unit import KeyValue


def statements_of(
    query: StatisticsQuery, bounding: Bounding, cells: tuple[Cell, ...] | None, read: WindowsRead | None, first: int = 0
) -> tuple[Statement, ...]:
    """The statements that count all parts: those of one number per cell together, led by part `first`; others alone."""
    plain = sorted((part for part in bounding.parts if not part.item), key=lambda part: part.measure != first)
    together = [tuple(plain)] if plain else []
    alone = [(part,) for part in bounding.parts if part.item]
    return tuple(_statement(query, bounding, cells, read, parts) for parts in (*together, *alone))


def domain_test(query: StatisticsQuery, cells: tuple[Cell, ...] | None) -> str:
    """Whether k0, k1, … are among the declared keys; empty where there is nothing to test."""
    tests = []
    for place, key in enumerate(query.keys):
        values = key.domain if cells is None else tuple(dict.fromkeys(cell[place] for cell in cells))
        if values is not None:
            tests.append(_among(query, place, values))
    return " AND ".join(tests)


def _among(query: StatisticsQuery, place: int, values: Sequence[KeyValue]) -> str:
    kind = query.keys[place].expression.type
    present = literals((value for value in values if value is not None), kind)
    tests = [f"k{place} IN ({present})"] if present else []
    tests += [f"k{place} IS NULL"] if None in values else []
    return f"({' OR '.join(tests) or 'FALSE'})"


def _statement(
    query: StatisticsQuery,
    bounding: Bounding,
    cells: tuple[Cell, ...] | None,
    read: WindowsRead | None,
    parts: tuple[Part, ...],
) -> Statement:
    item, test = parts[0].item, domain_test(query, cells)
    if bounding.way == "stored":
        sql = _stored(query, bounding, parts, test)
    else:
        rows = rows_of(query, parts, read, bounding.form.rows if bounding.rank else None)
        rows = numbered(query, parts[0], rows) if item else rows
        totals = Totals(query, bounding, parts, rows, test, read is not None and read.many)
        sql = _direct(totals) if bounding.way == "direct" else _per_unit(totals)
    return Statement(sql, tuple(part.measure for part in parts), item)


def _direct(totals: Totals) -> str:
    values = named(_total(totals.of(part)) for part in totals.parts)
    source = f"({totals.rows.sql}) AS r"
    return f"SELECT {listed(totals.keys, values)} FROM {source}{grouped(totals.keys)}{totals.having}"


def _per_unit(totals: Totals) -> str:
    keys = totals.keys
    summed = named(_total(f"COALESCE(SUM(v{i}), 0)") for i in range(len(totals.parts)))
    if not keys and totals.bounding.form.kind != "rows":
        return f"SELECT {listed(summed)} FROM ({cut_at_once(totals)}) AS b"
    # One table is quicker read thrice than kept; a join is not.
    kept = "MATERIALIZED" if totals.query.source.joins else "NOT MATERIALIZED"
    tables = f"WITH r AS {kept} ({totals.rows.sql}), heavy AS MATERIALIZED ({heavy(totals)})"
    values, others = named(totals.of(part) for part in totals.parts), "(SELECT * FROM r ANTI JOIN heavy USING (u)) AS l"
    light = f"SELECT {listed(keys, values)} FROM {others}{grouped(keys)}{totals.having}"
    return f"{tables} SELECT {listed(keys, summed)} FROM ({light} UNION ALL {cut(totals)}) AS b{grouped(keys)}"


def _stored(query: StatisticsQuery, bounding: Bounding, parts: tuple[Part, ...], test: str) -> str:
    assert bounding.stored is not None  # this way has a table
    keys = tuple(f"k{place}" for place in range(len(query.keys)))
    columns = [f"{written(key.expression)} AS k{place}" for place, key in enumerate(query.keys)]
    columns += [f"t0.{quoted(name)} AS n{i}" for i, name in enumerate((ROWS, *map(sum_column, bounding.stored.sums)))]
    tests = [f"{unit_of(query.source)} IS NOT NULL", *([] if query.where is None else [written(query.where)])]
    rows = f"SELECT {listed(columns)} FROM {quoted(bounding.stored.table)} AS t0 WHERE {' AND '.join(tests)}"
    values = named(_total(_of_stored(query, bounding, part)) for part in parts)
    having = Totals(query, bounding, parts, Rows(rows, keys, (), {}, {}), test, many=False).having
    return f"SELECT {listed(keys, values)} FROM ({rows}) AS r{grouped(keys)}{having}"


def _of_stored(query: StatisticsQuery, bounding: Bounding, part: Part) -> str:
    if part.kind == "units":
        return times(part.scale, "COUNT(*)")
    if part.kind == "rows":
        return times(part.scale, "COALESCE(SUM(n0), 0)")
    column = query.measures[part.measure].expression
    assert bounding.stored is not None and isinstance(column, ColumnOf)  # the table answers the question
    total = times(part.scale, f"COALESCE(SUM(n{bounding.stored.sums.index(column.name) + 1}), 0)")
    return f"{total} - {part.centre} * COALESCE(SUM(n0), 0)" if part.centre else total


def _total(value: str) -> str:
    # 2³¹ units stay below the limit, which is proved beforehand; the limit makes the cast total for any number.
    return limited(value, -TOTAL_LIMIT, TOTAL_LIMIT)
