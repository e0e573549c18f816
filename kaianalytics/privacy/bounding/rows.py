"""The SQL of a question's rows: joined, filtered, evaluated, and each value made a whole number, before any bounding.

Laws, kept by construction: rows without a unit are dropped; rows of one unit meet rows of the same unit (and window)
and public rows only, whatever the statement joins on; each value is clamped before it is counted, and what is missing
or not finite adds nothing, so that no value can raise an error; a literal of the analyst is always a literal, and a
name is always quoted.

The columns of a row: `u` its unit, `w` its window, `k0` … the keys, `c0` … conditions of measures, `x0` … values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from sqlglot import exp

from kaianalytics.privacy.bounding.counting import Part, per
from kaianalytics.privacy.bounding.texts import day, double, literal, quoted, whole_number
from kaianalytics.privacy.bounding.windows import WindowsRead, windowed
from kaianalytics.privacy.expression import ColumnOf, Expression, conjuncts
from kaianalytics.privacy.expressions.operations import call
from kaianalytics.privacy.expressions.writing import sql_of
from kaianalytics.privacy.query import Join, Measure, Relation, Source, StatisticsQuery
from kaianalytics.privacy.refusals import unsupported
from kaianalytics.privacy.unit import ColumnType, PrivacyUnit

NULL = "NULL"


@dataclass(frozen=True)
class Rows:
    """A SELECT of the rows that count, and under which names it gives what each measure needs (by its place)."""

    sql: str
    keys: tuple[str, ...]
    units: tuple[str, ...]
    values: Mapping[int, str]
    conditions: Mapping[int, str]

    @property
    def contents(self) -> tuple[str, ...]:
        """All that bounding can see of a row, but its unit."""
        return (*self.keys, *dict.fromkeys((*self.conditions.values(), *self.values.values())))


def rows_of(query: StatisticsQuery, parts: tuple[Part, ...], read: WindowsRead | None, rank: int | None = None) -> Rows:
    """The rows that parts are counted from; `rank`: only so many of each unit, the first as the store ranks them."""
    inner, outer = _Columns(), _Columns()
    units = [f"{unit_of(query.source)} AS u", *(f"{_window(query.source, place)} AS w" for place in read_first(read))]
    keys = [f"{written(key.expression)} AS k{i}" for i, key in enumerate(query.keys)]
    values, conditions = {}, {}
    for part in parts:
        measure = query.measures[part.measure]
        if condition := _condition(query, part):
            conditions[part.measure] = inner.named("c", condition)
        if measure.expression is not None and part.kind not in ("rows", "units"):
            value = inner.named("e", written(measure.expression))
            values[part.measure] = outer.named("x", counted(value, part, measure))
    names = [name.rsplit(" ", 1)[1] for name in (*units, *keys)]
    source = f"SELECT {', '.join([*units, *keys, *inner.all])} FROM {source_of(query, read, rank)}"
    kept = [*names, *dict.fromkeys(conditions.values()), *outer.all]
    sql = f"SELECT {', '.join(kept)} FROM ({source}) AS s" if outer.all else source
    return Rows(sql, tuple(names[len(units) :]), tuple(names[: len(units)]), values, conditions)


@dataclass
class _Columns:
    """Expressions, each once, under names that are given to them."""

    _found: dict[str, str] = field(default_factory=dict)

    def named(self, letter: str, expression: str) -> str:
        return self._found.setdefault(expression, f"{letter}{len(self._found)}")

    @property
    def all(self) -> list[str]:
        return [f"{expression} AS {name}" for expression, name in self._found.items()]


def _condition(query: StatisticsQuery, part: Part) -> str:
    """When a row counts in the measure; what is weighed by another measure counts where that one counts as well."""
    weigher = [] if part.weigher is None else conjuncts(query.measures[part.weigher].where)
    parts = dict.fromkeys((*weigher, *conjuncts(query.measures[part.measure].where)))
    return " AND ".join(written(condition) for condition in parts)


# --- values as whole numbers


def counted(value: str, part: Part, measure: Measure) -> str:
    """X of a value (see `counting`), or the place of the number that it counts in; NULL where it counts nowhere."""
    return _COUNTED[part.kind](value, part, measure)


def _sum(value: str, part: Part, measure: Measure) -> str:
    assert measure.expression is not None and measure.bounds is not None  # a sum has both
    if measure.expression.type != "number" and part.grid == 1 and not part.offset:
        whole = f"CAST({value} AS INTEGER)" if measure.expression.type == "boolean" else value
        return (
            f"CASE WHEN {whole} BETWEEN {part.low} AND {part.high} THEN TRY_CAST({whole} AS BIGINT) "
            f"WHEN {whole} > {part.high} THEN {part.high} WHEN {whole} < {part.low} THEN {part.low} END"
        )

    def steps(inside: str) -> str:
        shifted = f"({inside} - {double(float(part.offset))})" if part.offset else inside
        return whole_number(f"{shifted} * {double(per(part.grid))}")

    return _clamped(value, measure, steps, part.low, part.high)


def _leaf(value: str, part: Part, measure: Measure) -> str:
    assert part.tree is not None and measure.bounds is not None  # a tree has both
    low, last = Fraction(part.tree.lower), part.tree.leaves - 1
    width = float(part.tree.leaves / (Fraction(part.tree.upper) - low))

    def leaf(inside: str) -> str:
        place = whole_number(f"FLOOR(({inside} - {double(float(low))}) * {double(width)})")
        return f"LEAST({place}, {last})"

    return _clamped(value, measure, leaf, 0, last)


def _clamped(value: str, measure: Measure, inside: Callable[[str], str], low: int, high: int) -> str:
    """A whole number made of the value, which is computed only where the value lies within the bounds."""
    assert measure.bounds is not None and measure.expression is not None  # the caller has looked
    of = value if measure.expression.type == "number" else f"CAST({value} AS DOUBLE)"
    lower, upper = double(float(measure.bounds.lower)), double(float(measure.bounds.upper))
    # Not-a-number is above all numbers to DuckDB, and is caught by the second test, as is infinity.
    return (
        f"CASE WHEN {of} BETWEEN {lower} AND {upper} THEN {inside(of)} "
        f"WHEN ISFINITE({of}) THEN CASE WHEN {of} > {upper} THEN {high} ELSE {low} END END"
    )


def _bin(value: str, part: Part, measure: Measure) -> str:
    """The bin whose lower edge is the last that the value reaches; the last one holds its upper edge as well."""
    edges = [double(float(edge)) for edge in measure.edges]
    below = [f"WHEN {value} < {edge} THEN {i - 1 if i else NULL}" for i, edge in enumerate(edges[:-1])]
    return f"CASE {' '.join(below)} WHEN {value} <= {edges[-1]} THEN {len(edges) - 2} END"


_COUNTED: Mapping[str, Callable[[str, Part, Measure], str]] = {
    "sum": _sum,
    "tree": _leaf,
    "histogram": _bin,
    "top": lambda value, part, measure: value,  # the statement finds its place in the domain
}


# --- where rows come from


def source_of(query: StatisticsQuery, read: WindowsRead | None, rank: int | None) -> str:
    """FROM, its joins, and WHERE."""
    source = query.source
    check_populations(source)
    joined = " ".join(_joined(source, place) for place in range(1, len(source.relations)))
    tests = [f"{unit_of(source)} IS NOT NULL"]
    if query.where is not None:
        tests.append(written(query.where))
    if rank is not None:
        tests.append(f"{_column(source.unit, source.view.rank)} <= {rank}")
    for place in read_first(read):
        assert read is not None
        tests.append(f"{_window(source, place)} BETWEEN {day(read.days[0])} AND {day(read.days[-1])}")
    return f"{_relation(source, 0)} {joined} WHERE {' AND '.join(tests)}"


def read_first(read: WindowsRead | None) -> tuple[int, ...]:
    """The place of the relation that names a row's window, if there are windows."""
    return () if read is None else read.relations[:1]


def unit_of(source: Source) -> str:
    """The unit of a joined row."""
    return _column(source.unit, source.privacy_unit.key)


def check_populations(source: Source) -> None:
    """Refuses a join of views about different populations: each unit's rows would hang on another account's."""
    units = [relation.view.unit for relation in source.relations if relation.view.unit]
    if len({unit.population for unit in units}) > 1:
        raise unsupported("POPULATIONS_DIFFER")


def _joined(source: Source, place: int) -> str:
    join = source.joins[place - 1]
    tests = [*_same_unit(source, place, join), *_same_window(source, place)]
    tests += [written(call("=", one, two)) for one, two in join.on if not _compared_anyway(source, one, two)]
    tests += [] if join.where is None else [written(join.where)]
    kind = {"inner": "INNER JOIN", "left": "LEFT JOIN", "semi": "SEMI JOIN", "anti": "ANTI JOIN"}[join.kind]
    return f"{kind} {_relation(source, place)} ON {' AND '.join(tests) or 'TRUE'}"


def _same_unit(source: Source, place: int, join: Join) -> list[str]:
    own, earlier = source.relations[place].view.unit, _units_before(source, place)
    if own is None or not earlier:
        return []
    # Of those that are all of one unit, the one that the statement joins on: the engine may then begin with these two.
    other = next((one.relation for one, two in join.on if _both_units(source, one, two)), earlier[0])
    first = source.relations[other].view.unit
    assert first is not None  # chosen for having one
    one, two = (unit.key if own.stored and first.stored else unit.column for unit in (first, own))
    same = f"{_column(other, one)} = {_column(place, two)}"
    keyed = join.unique and any(not _both_units(source, *pair) for pair in join.on)
    # A row meets one other at most, found by its key: a test of the one is quicker than a join on two columns.
    return [f"CASE WHEN {same} THEN TRUE ELSE FALSE END"] if keyed and join.kind == "inner" else [same]


def _same_window(source: Source, place: int) -> list[str]:
    before = [other for other in windowed(source) if other < place]
    inside = source.relations[place].view.windows and before
    return [f"{_window(source, before[0])} = {_window(source, place)}"] if inside else []


def _units_before(source: Source, place: int) -> list[int]:
    return [i for i, relation in enumerate(source.relations[:place]) if relation.view.unit]


def _compared_anyway(source: Source, one: ColumnOf, two: ColumnOf) -> bool:
    """Whether the units' keys already say it; where an earlier LEFT JOIN found nothing, its own unit is missing too."""
    optional = one.relation > 0 and source.joins[one.relation - 1].kind == "left"
    return _both_units(source, one, two) and not optional


def _both_units(source: Source, one: ColumnOf, two: ColumnOf) -> bool:
    """Whether both columns name their rows' units."""
    return all(_is_unit(source.relations[column.relation].view.unit, column.name) for column in (one, two))


def _is_unit(unit: PrivacyUnit | None, name: str) -> bool:
    return unit is not None and unit.column == name


def _relation(source: Source, place: int) -> str:
    relation = source.relations[place]
    return f"{quoted(relation.view.name) if relation.rows is None else _table(relation)} AS {_alias(relation, place)}"


def _alias(relation: Relation, place: int) -> str:
    return f"t{place}" if relation.rows is None else f"t{place}({', '.join(map(quoted, relation.view.columns))})"


def _table(relation: Relation) -> str:
    """The analyst's own small table, written out."""
    types: list[ColumnType] = [column.type for column in relation.view.columns.values()]
    if not relation.rows:
        return f"(SELECT {', '.join(literal(None, kind) for kind in types)} WHERE FALSE)"
    rows = (", ".join(literal(value, kind) for value, kind in zip(row, types, strict=True)) for row in relation.rows)
    return f"(VALUES {', '.join(f'({row})' for row in rows)})"


def _window(source: Source, place: int) -> str:
    windows = source.relations[place].view.windows
    assert windows is not None  # chosen for having them
    return _column(place, windows.stored)


def _column(place: int, name: str) -> str:
    return f"t{place}.{quoted(name)}"


def written(expression: Expression) -> str:
    """The expression over the relations t0, t1, …"""
    tree = sql_of(expression, lambda column: exp.column(column.name, table=f"t{column.relation}", quoted=True))
    return tree.sql(dialect="duckdb", copy=False)
