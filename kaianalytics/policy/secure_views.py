"""What a worker shows of its store: a secure view for each table, in one of two shapes.

Laws: a view names every column it shows. While a table holds rows of a stopped unit, its view leaves that unit out, and
that of a pre-aggregate as well; only then, for leaving out takes time. A `rows` view shows no hidden column. It is a
secure one while it leaves a row out, and has a WHERE, for a secure view that only projects lets statistics of the base
table through. While it leaves out nothing there is nothing to hide, and it is an ordinary view: a secure one keeps
filters out of the scan and the sizes of tables from the order of joins, which doubled the time of what was measured.

A `statistics` view shows the hidden columns, and its unit's column is the unit's number under the column's own name. It
is never a secure view: what that hides, it would hide from our own compiler alone. No analyst's text reaches that
worker, what the compiler writes raises no error, and its figures leave with noise.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlglot import exp

from kaianalytics.policy.statistics import KAI_UNIT
from kaianalytics.policy.views import StorePlan, TablePlan
from kaianalytics.privacy.bounding.pre_aggregates import ROWS, sum_column
from kaianalytics.privacy.unit import PreAggregate

STORE = "store"  # the name under which a worker attaches its one file
STOPS = "kai_stops"  # the worker's table of stopped units: `unit` their pseudonym, `kai_unit` their number
WORKER_CATALOG = "memory"  # DuckDB's name of a connection's own in-memory catalog


class ViewSql(NamedTuple):
    """The statements that make, or replace, one view: `stopping` where `held`, which asks it of the store, is true."""

    open: str
    stopping: str
    held: str  # whether the table holds rows of a stopped unit


def views_sql(plan: StorePlan) -> tuple[ViewSql, ...]:
    """The views of one store, those of its pre-aggregates included."""
    return tuple(view for table in plan.tables.values() for view in (view_sql(table), *_pre_aggregates(table)))


def view_sql(table: TablePlan) -> ViewSql:
    """The statements by which a worker makes, or replaces, the table's view in its own catalog."""
    kind = "VIEW" if table.statistics else "SECURE VIEW"  # while it leaves somebody out
    if not table.numbered:
        return _view(kind, table.product, {column.name: column.name for column in table.columns}, table.unit, "unit")
    shown = {column.name: KAI_UNIT if column.name == table.unit else column.name for column in table.columns}
    return _view(kind, table.product, {**shown, **{name: name for name in table.hidden}}, KAI_UNIT, KAI_UNIT)


def _pre_aggregates(table: TablePlan) -> list[ViewSql]:
    made = table.statistics.pre_aggregates if table.statistics else ()
    return [_view("VIEW", each.table, {name: name for name in columns_of(each)}, KAI_UNIT, KAI_UNIT) for each in made]


def columns_of(pre: PreAggregate) -> tuple[str, ...]:
    """The columns of a pre-aggregate's table, in its order."""
    return (KAI_UNIT, *pre.keys, ROWS, *map(sum_column, pre.sums))


def _view(kind: str, name: str, columns: dict[str, str], unit: str | None, stop: str) -> ViewSql:
    """`columns` are the view's columns and what each is in the store; `unit` is told from `stop` in the stop table."""
    source = exp.to_table(name, db="main", catalog=STORE, alias="t")
    shown = (exp.column(stored, table="t").as_(column) for column, stored in columns.items())
    select = exp.select(*shown).from_(source)
    stopped = _stopped(unit, stop) if unit else exp.false()
    held = exp.select(exp.Exists(this=exp.select("1").from_(source.copy()).where(stopped)))
    # sqlglot does not know SECURE, so the statements' heads are written by hand around a quoted name
    everybody, others = (f'"{name}" AS {_text(select.where(told))}' for told in (exp.true(), exp.not_(stopped)))
    return ViewSql(f"CREATE OR REPLACE VIEW {everybody}", f"CREATE OR REPLACE {kind} {others}", _text(held))


def _stopped(unit: str, stop: str) -> exp.Expression:
    stops = exp.to_table(STOPS, db="main", catalog=WORKER_CATALOG, alias="s")
    same = exp.column(stop, table="s").eq(exp.column(unit, table="t"))
    return exp.Exists(this=exp.select("1").from_(stops).where(same))


def _text(expression: exp.Expression) -> str:
    return expression.sql(dialect="duckdb", identify=True)
