"""The SQL of a bounded aggregate: what the engine runs so that no unit adds more than its bounds to the exact figures.

Laws, kept by construction: (1) rows without a unit and rows outside the declared keys are dropped first, so they use
up nothing; (2) each value is clamped before it is cast, and missing or non-finite ones are left out, so that no value
can raise an error; (3) per unit and cell, the rows counted and the values summed are capped; (4) per unit, the cells
are capped, chosen by a fixed hash of the unit's own rows; (5) only whole numbers are added up. The text is built from
expressions: a literal of the analyst is always a literal, and a name is always quoted.

Expressions are built once and used once, so nothing is copied: a filter or a domain may hold thousands of literals.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

from sqlglot import exp

from kaianalytics.privacy.predicate import (
    All,
    Comparison,
    Constant,
    Flag,
    LiteralValue,
    Membership,
    Missing,
    Not,
    Operator,
    Pattern,
    Predicate,
    Some,
)
from kaianalytics.privacy.query import StatisticsQuery
from kaianalytics.privacy.unit import KeyValue, StatisticsColumn, ValueBounds

TOTAL_LIMIT = 2**62

_UNIT = "u"
_COMPARE: dict[Operator, type[exp.Binary]] = {
    "=": exp.EQ,
    "<>": exp.NEQ,
    "<": exp.LT,
    "<=": exp.LTE,
    ">": exp.GT,
    ">=": exp.GTE,
    "is distinct from": exp.NullSafeNEQ,
    "is not distinct from": exp.NullSafeEQ,
}


def bounded_statement(query: StatisticsQuery, key_values: Sequence[Sequence[KeyValue]], *, cap_cells: bool) -> str:
    """The one statement that answers the query exactly within its bounds.

    Its columns are the keys (k0, k1, …) and a BIGINT per aggregate (a0, a1, …), both in the order of the SELECT;
    present cells only. `key_values` are the values that each key may take; `cap_cells` says whether (4) is needed.
    """
    parts = _per_unit_and_cell(query, _admitted_rows(query, key_values))
    if cap_cells:
        parts = _capped_cells(query, parts)
    return _over_units(query, parts).sql(dialect="duckdb", copy=False)


def _admitted_rows(query: StatisticsQuery, key_values: Sequence[Sequence[KeyValue]]) -> exp.Select:
    source = exp.alias_(exp.table_(query.view.name, quoted=True), "t", table=True)
    columns = [exp.alias_(_source(query.view.unit.column), _UNIT)]
    columns += [exp.alias_(_source(key.column), f"k{i}") for i, key in enumerate(query.keys)]
    columns += [exp.alias_(_steps(column), f"v{i}") for i, column in _summed(query)]
    filters = [_present(_source(query.view.unit.column))]
    filters += [_among(key.column, values) for key, values in zip(query.keys, key_values, strict=True)]
    filters += [] if query.where is None else [_filter(query.where)]
    return exp.select(*columns).from_(source).where(exp.and_(*filters, copy=False), copy=False)


def _per_unit_and_cell(query: StatisticsQuery, rows: exp.Select) -> exp.Select:
    keys = _key_columns(query)
    figures = [exp.alias_(_capped(query, i), f"a{i}") for i in range(len(query.aggregates))]
    grouped = exp.select(exp.column(_UNIT), *keys, *figures).from_(rows.subquery("r", copy=False), copy=False)
    return grouped.group_by(exp.column(_UNIT), *keys, copy=False)


def _capped_cells(query: StatisticsQuery, parts: exp.Select) -> exp.Select:
    keys = _key_columns(query)
    order = exp.Order(expressions=[_hash(query), *keys])
    rank = exp.Window(this=exp.RowNumber(), partition_by=[exp.column(_UNIT)], order=order)
    kept = exp.LTE(this=rank, expression=_number(query.view.contribution.groups))
    figures = [exp.column(f"a{i}") for i in range(len(query.aggregates))]
    return exp.select(*keys, *figures).from_(parts.subquery("c", copy=False), copy=False).qualify(kept, copy=False)


def _over_units(query: StatisticsQuery, parts: exp.Select) -> exp.Select:
    keys = _key_columns(query)
    figures = []
    for i in range(len(query.aggregates)):
        # 2³¹ units stay below the limit, which is proved beforehand; the clamp makes the cast total for any number.
        total = _clamp(_zero_if_none(exp.Sum(this=exp.column(f"a{i}"))), -TOTAL_LIMIT, TOTAL_LIMIT)
        figures.append(exp.alias_(exp.cast(total, "BIGINT"), f"a{i}"))
    summed = exp.select(*keys, *figures).from_(parts.subquery("b", copy=False), copy=False)
    return summed.group_by(*keys, copy=False) if keys else summed


def _capped(query: StatisticsQuery, i: int) -> exp.Expr:
    rows = query.view.contribution.rows_per_group
    column = dict(_summed(query)).get(i)
    if column is None:
        return _call("LEAST", exp.Count(this=exp.Star()), _number(rows))
    low, high = sum_limits(_bounds(column), rows)
    return exp.cast(_clamp(_zero_if_none(exp.Sum(this=exp.column(f"v{i}"))), low, high), "BIGINT")


def sum_limits(bounds: ValueBounds, rows: int) -> tuple[int, int]:
    """Between which numbers of steps one unit's sum in one cell lies: that of no row, or of up to `rows` rows."""
    return rows * min(bounds.lower_steps, 0), rows * max(bounds.upper_steps, 0)


def _steps(column: StatisticsColumn) -> exp.Expr:
    """One row's value in whole steps, clamped; NULL, which no sum counts, where it is missing or not finite."""
    bounds = _bounds(column)
    low, high = bounds.lower_steps, bounds.upper_steps
    if column.type != "number" and bounds.step == 1:
        value = exp.cast(_source(column.name), "INTEGER") if column.type == "boolean" else _source(column.name)
        return _where_present(column, exp.cast(_clamp(value, low, high), "BIGINT"))
    inside = _call("GREATEST", _call("LEAST", _double(column), _as_double(bounds.upper)), _as_double(bounds.lower))
    steps = exp.Round(this=exp.Div(this=inside, expression=_as_double(bounds.step)))
    # The clamp on whole numbers is the one that counts: the one before keeps the cast from failing.
    return _where_present(column, _clamp(exp.cast(steps, "BIGINT"), low, high))


def _where_present(column: StatisticsColumn, value: exp.Expr) -> exp.Expr:
    present = _present(_source(column.name))
    if column.type == "number":
        present = exp.and_(present, _call("ISFINITE", _double(column)))
    return exp.case().when(present, value)


def _hash(query: StatisticsQuery) -> exp.Expr:
    """A fixed, evenly spread rank of one unit's cells, from the unit and the cell alone."""
    text: exp.Expr = exp.cast(exp.column(_UNIT), "VARCHAR")
    for key in _key_columns(query):
        shown = exp.DPipe(this=exp.Literal.string("="), expression=exp.cast(key, "VARCHAR"))
        part = exp.Coalesce(this=shown, expressions=[exp.Literal.string("")])
        text = exp.DPipe(this=exp.DPipe(this=text, expression=exp.Literal.string("|")), expression=part)
    return exp.MD5(this=text)


def _filter(predicate: Predicate) -> exp.Expr:
    match predicate:
        case Not(child):
            return exp.not_(exp.paren(_filter(child), copy=False), copy=False)
        case All(children):
            return exp.and_(*(exp.paren(_filter(child), copy=False) for child in children), copy=False)
        case Some(children):
            return exp.or_(*(exp.paren(_filter(child), copy=False) for child in children), copy=False)
        case Constant(value):
            return exp.Boolean(this=value)
        case Flag(column):
            return _source(column)
        case Missing(column):
            return exp.Is(this=_source(column), expression=exp.null())
        case Pattern(column, pattern):
            return exp.Like(this=_source(column), expression=exp.Literal.string(pattern))
        case Membership(column, values):
            return exp.In(this=_compared(column, values[0]), expressions=[_literal(value) for value in values])
        case Comparison(column, operator, value):
            return _COMPARE[operator](this=_compared(column, value), expression=_literal(value))


def _among(column: str, values: Sequence[KeyValue]) -> exp.Expr:
    listed = [_literal(value) for value in values if value is not None]
    choices = [exp.In(this=_source(column), expressions=listed)] if listed else []
    missing = [exp.Is(this=_source(column), expression=exp.null())] if None in values else []
    return exp.paren(exp.or_(*choices, *missing, copy=False), copy=False)


def _literal(value: LiteralValue) -> exp.Expr:
    match value:
        case bool():
            return exp.Boolean(this=value)
        case int():
            return _text_cast(str(value), exp.DataType.Type.BIGINT)
        case Decimal():
            return _as_double(value)
        case datetime():
            return _text_cast(value.isoformat(sep=" "), exp.DataType.Type.TIMESTAMP)
        case date():
            return _text_cast(value.isoformat(), exp.DataType.Type.DATE)
        case str():
            return exp.Literal.string(value)


def _compared(column: str, value: LiteralValue) -> exp.Expr:
    # A number may be stored as DECIMAL or DOUBLE; every one of either is a double, so this cast can't fail.
    return exp.cast(_source(column), "DOUBLE") if isinstance(value, Decimal) else _source(column)


def _summed(query: StatisticsQuery) -> list[tuple[int, StatisticsColumn]]:
    named = [(i, aggregate.column) for i, aggregate in enumerate(query.aggregates)]
    return [(i, query.view.columns[name]) for i, name in named if name is not None]


def _key_columns(query: StatisticsQuery) -> list[exp.Column]:
    return [exp.column(f"k{i}") for i in range(len(query.keys))]


def _bounds(column: StatisticsColumn) -> ValueBounds:
    assert column.bounds is not None  # checked when the query was born
    return column.bounds


def _source(name: str) -> exp.Column:
    return exp.column(name, table="t", quoted=True)


def _double(column: StatisticsColumn) -> exp.Expr:
    return exp.cast(_source(column.name), "DOUBLE")


def _as_double(value: Decimal) -> exp.Expr:
    return _text_cast(str(value), exp.DataType.Type.DOUBLE)


def _text_cast(text: str, to: exp.DType) -> exp.Expr:
    return exp.Cast(this=exp.Literal.string(text), to=exp.DataType(this=to))


def _number(value: int) -> exp.Expr:
    return exp.Literal.number(value)


def _present(expression: exp.Expr) -> exp.Expr:
    return exp.not_(exp.Is(this=expression, expression=exp.null()))


def _clamp(value: exp.Expr, low: int, high: int) -> exp.Expr:
    return _call("GREATEST", _call("LEAST", value, _number(high)), _number(low))


def _zero_if_none(value: exp.Expr) -> exp.Expr:
    # Before any clamp: to GREATEST and LEAST a NULL is no value at all, and the other side would be the answer.
    return exp.Coalesce(this=value, expressions=[_number(0)])


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))
