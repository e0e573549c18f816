"""How a `statistics` store numbers units and their rows, so that a bound on rows costs a comparison, or nothing.

Laws:
    1. A unit's number follows from its pseudonym alone (`pseudonyms.number_of`); every key is stored as its number.
    2. A row's rank among its unit's rows, with windows among those of one window, follows from what these rows hold and
       from nothing else: no other unit's rows, no clock, no source order. It is the order of a hash, so that the first
       ranks are a fair choice.
    3. A row's window is that of its event, or of its arrival where it came later: what the source says, never when it
       was built.
    4. Where the contract bounds rows in all, the first ranks alone are stored.
    5. Rows lie by the year of their first date, if they have one, so that a scan can pass over years that are not asked
       for; within it in order of unit, window, rank. So they never lie in the source's order.
    6. Numbers are stored as doubles, in which all arithmetic is done: they need not be made so for each question, and a
       scan can tell from a comparison which rows it need not read.
"""

from __future__ import annotations

from sqlglot import exp

from kaianalytics.policy.statistics import KAI_RANK, KAI_UNIT, KAI_WINDOW
from kaianalytics.policy.views import ColumnPlan, TablePlan
from kaianalytics.warehouse.expressions import cast, named
from kaianalytics.warehouse.pseudonyms import number_of
from kaianalytics.warehouse.tables import Recipe, content_hash, used_rows, window_of

_NEVER = exp.Literal.number(0)  # the year of what has none


def numbered_table(recipe: Recipe, rows: exp.Subquery | exp.Table) -> exp.Select:
    """What a `statistics` store holds of a product about people, in its order, of rows such as `named_rows` gives."""
    plan = recipe.plan
    kept = [column for column in plan.columns if column.name != plan.unit]
    values = [_stored(c) for c in kept]
    unit, window = number_of(named(str(plan.unit))), [named(KAI_WINDOW)] if plan.windows else []
    numbers = exp.select(
        unit.as_(KAI_UNIT), *window, *(value.as_(c.name, quoted=True) for value, c in zip(values, kept, strict=True))
    ).from_(rows)
    content = content_of(plan)
    order = exp.Order(expressions=[content_hash(content), *content])  # rows that tie in all of it are one row twice
    rank = exp.Window(this=exp.RowNumber(), partition_by=[named(KAI_UNIT), *window], order=order)
    columns = [*content[1:], *(named(name) for name in plan.hidden)]
    ranked = exp.select(*content, *window, cast(rank, "INTEGER").as_(KAI_RANK)).from_(numbers.subquery("numbers"))
    stored = exp.select(*columns).from_(ranked.subquery("ranked"))
    if plan.rows_bound is not None:
        stored = stored.where(exp.LTE(this=named(KAI_RANK), expression=exp.Literal.number(plan.rows_bound)))
    return stored.order_by(*lying(plan), *(named(name) for name in plan.hidden))


def _stored(column: ColumnPlan) -> exp.Expression:
    if column.rule.action == "pseudonym":
        return number_of(named(column.name))
    return cast(named(column.name), "DOUBLE") if column.type == "number" else named(column.name)


def lying(plan: TablePlan) -> list[exp.Expression]:
    """What rows lie in order of before their unit: a year, or nothing."""
    dates = [named(column.name) for column in plan.columns if column.type in ("date", "timestamp")]
    return [exp.Coalesce(this=exp.Anonymous(this="year", expressions=[day]), expressions=[_NEVER]) for day in dates[:1]]


def content_of(plan: TablePlan) -> list[exp.Column]:
    """What a stored row holds, its unit first; the order of ranks is made of it."""
    return [named(KAI_UNIT), *(named(column.name) for column in plan.columns if column.name != plan.unit)]


def count_units(recipe: Recipe) -> exp.Select:
    """How many rows each unit has of those that are used, in each window where there are windows."""
    unit = cast(named(str(recipe.plan.unit), "s"), "VARCHAR").as_(KAI_UNIT)
    window = window_of(recipe) if recipe.plan.windows else cast(exp.null(), "DATE")
    rows = used_rows(recipe, unit, window.as_(KAI_WINDOW)).subquery("rows")
    each, counted = (named(KAI_UNIT), named(KAI_WINDOW)), exp.Count(this=exp.Star()).as_("rows")
    return exp.select(*each, counted).from_(rows).group_by(*each)


def stored_rows(plan: TablePlan) -> exp.Expression:
    """How many of the rows that `count_units` counted are stored: all of them, or no more than the bound on rows."""
    rows = named("rows")
    if plan.rows_bound is None:
        return rows
    return exp.Least(this=rows, expressions=[exp.Literal.number(plan.rows_bound)])
