"""Whether units and rows of a finished statistics store are numbered as they must be: a part of the verification.

Numbered as in `number_findings`; a finding names a product or a column, never a value (law 5):
    1. A declared primary key stands in no two rows.
    2. There are as many units as the sources have among the rows that are used.
    3. Each window holds as many rows as the sources' own times put there, no unit more than its bound.
    4. The ranks of one unit, in one window, are 1, 2, 3, … within the bound, in the order of a hash of what rows hold.
    5. Rows lie in the order of their year, if they have one, and of their unit.
    6. A window is a first day, and no earlier than what is seen of the event lies in.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
from sqlglot import exp

from kaianalytics.policy.statistics import KAI_RANK, KAI_UNIT, KAI_WINDOW
from kaianalytics.policy.views import TablePlan
from kaianalytics.warehouse.expressions import first_day_of, named, table, text
from kaianalytics.warehouse.numbering import content_of, lying, stored_rows
from kaianalytics.warehouse.tables import content_hash

BUILT = "built"  # the name under which the finished store is attached


def built_table(product: str) -> exp.Table:
    """A table of the finished store, under its own alias."""
    return table(product, BUILT, catalog=BUILT)


def number_findings(
    con: duckdb.DuckDBPyConnection, product: str, plan: TablePlan, units: exp.Select | None
) -> Iterator[str]:
    """What is not as it must be; `units` are the sources' own counts, for a table whose rows are numbered."""
    for column in _unique(plan):  # 1
        if _differ(con, built_table(product), exp.Count(this=column), _distinct(column)):
            yield f"has a primary key, `{column.name}`, that stands in two rows"
    if units is None:
        return
    if _units(con, built_table(product)) != _units(con, units.subquery("units")):  # 2
        yield "has other units than were counted for it"
    stored = exp.select(named(KAI_WINDOW), exp.Sum(this=stored_rows(plan)).as_("rows")).from_(units.subquery("units"))
    if _tally(con, stored) != _tally(con, _by_window(product, plan)):  # 3
        yield "has other rows in its windows than the sources' times say"
    if _any(con, _misranked(product, plan)):  # 4
        yield "has ranks that are not those of its rows"
    if _any(con, _disordered(product, plan)):  # 5
        yield "does not lie in the order of its units"
    if plan.windows and _any(con, _misplaced(product, plan)):  # 6
        yield "has windows that are none"


def _unique(plan: TablePlan) -> list[exp.Column]:
    known = plan.statistics.columns.values() if plan.statistics else ()
    return [named(KAI_UNIT if column.name == plan.unit else column.name) for column in known if column.unique]


def _units(con: duckdb.DuckDBPyConnection, rows: exp.Table | exp.Subquery) -> int:
    [(units,)] = con.execute(text(exp.select(_distinct(named(KAI_UNIT))).from_(rows))).fetchall()
    return int(units)


def _by_window(product: str, plan: TablePlan) -> exp.Select:
    window = named(KAI_WINDOW) if plan.windows else exp.cast(exp.null(), "DATE").as_(KAI_WINDOW)
    rows = exp.select(window).from_(built_table(product)).subquery("stored")
    return exp.select(named(KAI_WINDOW), exp.Count(this=exp.Star()).as_("rows")).from_(rows)


def _tally(con: duckdb.DuckDBPyConnection, counted: exp.Select) -> dict[object, int]:
    rows = con.execute(text(counted.group_by(named(KAI_WINDOW)))).fetchall()
    return {window: int(number) for window, number in rows}


def _misranked(product: str, plan: TablePlan) -> exp.Select:
    """Rows whose rank is not one more than that of the row before, or that come before it by the hash."""
    content = content_of(plan)
    group = [named(KAI_UNIT), *([named(KAI_WINDOW)] if plan.windows else [])]
    hashed = content_hash(content)
    before = {
        "rank_before": exp.Coalesce(this=_lag(named(KAI_RANK), group), expressions=[exp.Literal.number(0)]),
        "hash_before": exp.Coalesce(this=_lag(hashed, group), expressions=[exp.Literal.number(0)]),
    }
    ranked = exp.select(named(KAI_RANK), hashed.copy().as_("hashed"), *(value.as_(n) for n, value in before.items()))
    rows = exp.select("1").from_(ranked.from_(built_table(product)).subquery("ranked"))
    following = exp.Add(this=exp.column("rank_before"), expression=exp.Literal.number(1))
    wrong = exp.NEQ(this=named(KAI_RANK), expression=following) | exp.GT(
        this=exp.column("hash_before"), expression=exp.column("hashed")
    )
    if plan.rows_bound is not None:
        wrong = wrong | exp.GT(this=named(KAI_RANK), expression=exp.Literal.number(plan.rows_bound))
    return rows.where(wrong)


def _disordered(product: str, plan: TablePlan) -> exp.Select:
    """Rows that come before the one that they lie behind."""
    order = [*lying(plan), named(KAI_UNIT)]
    before = [exp.Window(this=exp.Lag(this=each.copy())).as_(f"before{i}") for i, each in enumerate(order)]
    own = [each.as_(f"own{i}") for i, each in enumerate(order)]
    rows = exp.select(*own, *before).from_(built_table(product)).subquery("lying")
    wrong: exp.Expr = exp.false()
    for i in reversed(range(len(order))):
        mine, theirs = exp.column(f"own{i}"), exp.column(f"before{i}")
        wrong = exp.LT(this=mine, expression=theirs) | (exp.EQ(this=mine.copy(), expression=theirs.copy()) & wrong)
    return exp.select("1").from_(rows).where(wrong)


def _misplaced(product: str, plan: TablePlan) -> exp.Select:
    assert plan.windows is not None  # asked of a plan with windows alone
    window, span = named(KAI_WINDOW), plan.windows.span
    wrong: exp.Expr = exp.NEQ(this=window, expression=first_day_of(window.copy(), span))
    if any(column.name == plan.windows.column for column in plan.columns):
        event = first_day_of(named(plan.windows.column), span)
        late = exp.LT if plan.windows.arrived else exp.NEQ
        wrong = wrong | late(this=window.copy(), expression=event)
    return exp.select("1").from_(built_table(product)).where(wrong)


def _lag(value: exp.Expression, group: list[exp.Column]) -> exp.Window:
    order = exp.Order(expressions=[named(KAI_RANK)])
    return exp.Window(this=exp.Lag(this=value.copy()), partition_by=[each.copy() for each in group], order=order)


def _distinct(column: exp.Column) -> exp.Count:
    return exp.Count(this=exp.Distinct(expressions=[column.copy()]))


def _differ(con: duckdb.DuckDBPyConnection, rows: exp.Table, one: exp.Expression, other: exp.Expression) -> bool:
    [(first, second)] = con.execute(text(exp.select(one, other).from_(rows))).fetchall()
    return bool(first != second)


def _any(con: duckdb.DuckDBPyConnection, rows: exp.Select) -> bool:
    return con.execute(text(rows.limit(1))).fetchall() != []
