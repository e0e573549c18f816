"""From one product's source to one table of a store: which rows, and what is left of each column.

Laws:
    1. The scratch database holds the raw values; a store receives only the result of the plan's expressions.
    2. A row is used if its unit's basis holds, every other person that it names is one whose basis holds, and it lies
       inside retention; a row that lacks any of these facts is left out, with the first reason of `row_reason`.
    3. Rows lie in the order of their unit's pseudonym, then of a hash of what the store holds of them: never in the
       source's order.
    4. A public table is about nobody: all of its rows are used, in the order of what they hold.
How a `statistics` store numbers units and rows is in `numbering`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlglot import exp

from kaianalytics.policy.statistics import KAI_WINDOW
from kaianalytics.policy.views import ColumnPlan, TablePlan
from kaianalytics.warehouse.expressions import cast, first_day_of, is_given, is_null, literal, named, ruled, table
from kaianalytics.warehouse.pseudonyms import NAME, RAW
from kaianalytics.warehouse.standing import REASON, UNIT

NO_UNIT, UNKNOWN_UNIT, OTHER_PERSON, RETENTION = "no unit", "unknown unit", "names another person", "retention"
_ORDER = "order of units"  # with spaces: no column of a contract is called so


@dataclass(frozen=True)
class Recipe:
    """All that writing one table needs: the plan, and the scratch relations that its rows are joined with."""

    plan: TablePlan
    source: str  # view of the opened source
    as_of: date
    standing: str | None  # table of the units' standing; None for a public table
    unit_domain: str | None  # pseudonym domain of the units
    pseudonyms: Mapping[str, str]  # domain → table of its pseudonyms

    @property
    def pseudonymous(self) -> tuple[ColumnPlan, ...]:
        """The columns that hold pseudonyms."""
        return tuple(column for column in self.plan.columns if column.rule.action == "pseudonym")

    @property
    def others(self) -> tuple[ColumnPlan, ...]:
        """The columns that name a person other than the row's own unit."""
        return tuple(c for c in self.pseudonymous if c.key == self.unit_domain and c.source != self.plan.unit)


def row_reason(recipe: Recipe) -> exp.Expression:
    """Why a row is left out, or NULL where it is used; over the relations of `_rows`."""
    plan = recipe.plan
    reason = exp.Case()
    if plan.unit is not None:
        reason = reason.when(is_null(named(plan.unit, "s")), literal(NO_UNIT))
        reason = reason.when(is_null(named(UNIT, "p")), literal(UNKNOWN_UNIT))
        reason = reason.when(is_given(named(REASON, "p")), named(REASON, "p"))
        for place, column in enumerate(recipe.others):
            reason = reason.when(_names_someone_out(column, f"o{place}"), literal(OTHER_PERSON))
    if plan.retention is not None:
        kept_from = literal(recipe.as_of - timedelta(days=plan.retention.days))
        day = cast(named(plan.retention.column, "s"), "DATE")
        outside = exp.paren(is_null(day) | exp.LT(this=day, expression=kept_from))
        reason = reason.when(outside, literal(RETENTION))
    return reason if reason.args.get("ifs") else exp.null()


def count_reasons(recipe: Recipe) -> exp.Select:
    """How many of the source's rows there are for each reason; the NULL reason counts those that are used."""
    # By place, for the standing has a column of the same name.
    return _rows(recipe, row_reason(recipe), exp.Count(this=exp.Star())).group_by(exp.Literal.number(1))


def values_used(recipe: Recipe, column: ColumnPlan) -> exp.Select:
    """The distinct values, as text, of a key column in the rows that are used."""
    value = cast(named(column.source, "s"), "VARCHAR")
    return _rows(recipe, value.as_(RAW)).distinct().where(_used(recipe), is_given(value))


def store_table(recipe: Recipe) -> exp.Select:
    """What a `rows` store holds of the product, in the store's order."""
    held = [named(column.name) for column in recipe.plan.columns]
    shuffled = content_hash(held)
    return exp.select(*held).from_(named_rows(recipe).subquery("rows")).order_by(named(_ORDER), shuffled)


def named_rows(recipe: Recipe) -> exp.Select:
    """The rows that are used, as the plan's rules make them, with pseudonyms for keys; and their window, where told."""
    joins = {column.name: f"k{place}" for place, column in enumerate(recipe.pseudonymous)}
    values = [
        (named(NAME, joins[column.name]) if column.name in joins else ruled(column, "s")).as_(column.name, quoted=True)
        for column in recipe.plan.columns
    ]
    first = next((named(NAME, joins[c.name]) for c in recipe.pseudonymous if c.source == recipe.plan.unit), exp.null())
    windows = [window_of(recipe).as_(KAI_WINDOW)] if recipe.plan.windows else []
    rows = _rows(recipe, first.as_(_ORDER, quoted=True), *values, *windows).where(_used(recipe))
    for column in recipe.pseudonymous:
        alias = joins[column.name]
        same = cast(named(column.source, "s"), "VARCHAR").eq(named(RAW, alias))
        rows = rows.join(table(recipe.pseudonyms[str(column.key)], alias), on=same, join_type="left")
    return rows


def window_of(recipe: Recipe) -> exp.Expression:
    """The first day of a row's window: that of its event, or of its arrival where it came in a later one."""
    windows = recipe.plan.windows
    assert windows is not None  # asked of a plan with windows alone
    event = first_day_of(named(windows.column, "s"), windows.span)
    if windows.arrived is None:
        return event
    return exp.Greatest(this=event, expressions=[first_day_of(named(windows.arrived, "s"), windows.span)])


def content_hash(columns: Sequence[exp.Expression]) -> exp.Expression:
    """A number that spreads evenly over what a row holds."""
    return exp.Anonymous(this="hash", expressions=[column.copy() for column in columns])


def used_rows(recipe: Recipe, *columns: exp.Expr) -> exp.Select:
    """Columns of the source (s), for the rows that are used."""
    return _rows(recipe, *columns).where(_used(recipe))


def _used(recipe: Recipe) -> exp.Expression:
    return is_null(exp.paren(row_reason(recipe)))


def _rows(recipe: Recipe, *columns: exp.Expr) -> exp.Select:
    """The source's rows (s), with the standing of their unit (p) and of each other person they name (o0, o1, …)."""
    rows = exp.select(*columns).from_(table(recipe.source, "s"))
    if recipe.standing is None or recipe.plan.unit is None:
        return rows
    rows = rows.join(table(recipe.standing, "p"), on=_same_unit(recipe.plan.unit, "p"), join_type="left")
    for place, column in enumerate(recipe.others):
        on = _same_unit(column.source, f"o{place}")
        rows = rows.join(table(recipe.standing, f"o{place}"), on=on, join_type="left")
    return rows


def _same_unit(column: str, alias: str) -> exp.Expression:
    return cast(named(column, "s"), "VARCHAR").eq(named(UNIT, alias))


def _names_someone_out(column: ColumnPlan, alias: str) -> exp.Expression:
    out = exp.paren(is_null(named(UNIT, alias)) | is_given(named(REASON, alias)))
    return is_given(named(column.source, "s")) & out
