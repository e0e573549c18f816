"""The builder's SQL, made of sqlglot expressions: names are quoted, values are literals, and no text is spliced in.

sqlglot writes this SQL; it judges nobody's text. What a column rule means comes from `policy.rules`, so that a store's
labels and the key domains of its statistics can't differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from sqlglot import exp

from kaianalytics.policy.rules import MASK, Bands, Prefix, Truncation, generalisation
from kaianalytics.policy.views import ColumnPlan


def text(expression: exp.Expression) -> str:
    """The expression as DuckDB's SQL."""
    return expression.sql(dialect="duckdb")


def named(column: str, relation: str | None = None) -> exp.Column:
    """A column by its quoted name."""
    return exp.column(column, table=relation, quoted=True)


def table(name: str, alias: str | None = None, catalog: str | None = None) -> exp.Table:
    """A table or view by its quoted name, in the scratch database unless a catalog is given."""
    place = exp.table_(name, db="main" if catalog else None, catalog=catalog, quoted=True)
    if alias:
        place.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
    return place


def literal(value: str | date) -> exp.Expression:
    """A text, or a date."""
    if isinstance(value, date):
        return cast(exp.Literal.string(value.isoformat()), "DATE")
    return exp.Literal.string(value)


def cast(value: exp.Expression, physical: str, *, lenient: bool = False) -> exp.Expression:
    """`value` as a physical type; lenient gives NULL where it is none."""
    kind = exp.TryCast if lenient else exp.Cast
    return kind(this=value.copy(), to=exp.DataType.build(physical, dialect="duckdb"))


def among(value: exp.Expression, values: Iterable[str]) -> exp.Expression:
    """Whether `value` is one of `values`; false for none of them."""
    listed = [literal(one) for one in sorted(values)]
    return exp.In(this=value, expressions=listed) if listed else exp.false()


def is_null(value: exp.Expression) -> exp.Expression:
    """Whether `value` is missing."""
    return exp.Is(this=value.copy(), expression=exp.null())


def is_given(value: exp.Expression) -> exp.Expression:
    """Whether `value` is there."""
    return exp.not_(is_null(value))


def first_day_of(value: exp.Expression, span: str) -> exp.Expression:
    """The first day of the week, month, quarter or year that a time lies in; weeks begin on Mondays."""
    return cast(exp.Anonymous(this="date_trunc", expressions=[literal(span), value]), "DATE")


def ruled(column: ColumnPlan, relation: str) -> exp.Expression:
    """What the store holds of a column that is kept, masked or generalised; a pseudonym is joined, not computed."""
    raw = named(column.source, relation)
    if column.rule.action == "keep":
        return raw
    if column.rule.action == "mask":
        return exp.Case().when(is_given(raw), literal(MASK))
    if column.rule.action == "generalise":
        return _generalised(column, raw)
    raise ValueError(f"the rule {column.rule.action} of column {column.name} is not written by an expression")


def _generalised(column: ColumnPlan, raw: exp.Column) -> exp.Expression:
    meaning = generalisation(column.rule.how, column.source_type)
    if isinstance(meaning, Prefix):
        return exp.Left(this=raw, expression=exp.Literal.number(meaning.length))
    if isinstance(meaning, Bands):
        return _banded(raw, meaning)
    return _truncated(raw, meaning)


def _truncated(raw: exp.Column, meaning: Truncation) -> exp.Expression:
    if meaning.part == "hour":
        return cast(exp.Anonymous(this="date_trunc", expressions=[literal(meaning.part), raw]), "TIMESTAMP")
    return first_day_of(raw, meaning.part)


def _banded(raw: exp.Column, meaning: Bands) -> exp.Expression:
    """The label of the first band whose upper end lies above the value; NULL is tested first, for it lies in none."""
    banded = exp.Case().when(is_null(raw), exp.null())
    for band in meaning.bands[:-1]:
        banded = banded.when(
            exp.LT(this=raw.copy(), expression=exp.Literal.number(str(band.upper))), literal(band.label)
        )
    return banded.else_(literal(meaning.bands[-1].label))
