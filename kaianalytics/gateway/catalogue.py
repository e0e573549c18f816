"""What may be known without a question of data: the views of a purpose, what is left to spend, what is served."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from kaianalytics.gateway.context import Context
from kaianalytics.gateway.serving import ACCESS_LEVELS, Serving
from kaianalytics.gateway.statistics.budgeting import budget
from kaianalytics.gateway.tokens import Session
from kaianalytics.policy.contract import Access
from kaianalytics.policy.views import ColumnPlan, TablePlan
from kaianalytics.privacy.unit import StatisticsView
from kaianalytics.protocol import Dataset
from kaianalytics.records import row_uses


class Catalogue:
    """Public facts of the served build and of the ledger."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def health(self) -> dict[str, Any]:
        """That the gateway answers, on which snapshot, and which purposes are open."""
        serving = self._context.serving()
        purposes = serving.contracts.purposes.purposes
        return {
            "status": "ok",
            "snapshot": serving.snapshot(self._context.stop_epoch()),
            "as_of": serving.as_of,
            "isolation": self._context.isolation.sentence,
            "purposes": [(key, purposes[key].title) for key in serving.open_purposes],
        }

    def datasets(self, session: Session) -> list[dict[str, Any]]:
        """The views that the session's purpose may ask, and how; a report's session sees statistics alone."""
        serving = self._context.serving()
        levels = ACCESS_LEVELS if session.kind == "interactive" else ("statistics",)
        plans = {level: serving.plans[session.purpose, level].tables for level in levels}
        names = sorted({name for tables in plans.values() for name in tables})
        left = self._rows_left(serving, session, plans["rows"]) if "rows" in plans else {}
        return [asdict(_dataset(serving, session.purpose, name, plans, left.get(name, ""))) for name in names]

    def _rows_left(self, serving: Serving, session: Session, views: Iterable[str]) -> dict[str, str]:
        asked = row_uses.Asked(session.user, session.purpose, serving.rows_caps(views))
        with self._context.records.reading() as view:
            found = row_uses.left(view, self._context.clock().date().isoformat(), asked)
        return {name: f"{left.rows:,} rows and {left.bytes:,} bytes may leave today" for name, left in found.items()}

    def budget(self, session: Session, rho: str, population: str) -> dict[str, Any]:
        """What is left of each allowance of a population; `rho` may name a price, and both may be ''."""
        return asdict(budget(self._context, self._context.serving(), session, rho, population))


def _dataset(serving: Serving, purpose: str, name: str, plans: dict[Access, Any], rows_left: str) -> Dataset:
    access: tuple[str, ...] = tuple(level for level, tables in plans.items() if name in tables)
    level: Access = "statistics" if "statistics" in access else "rows"
    table: TablePlan = plans[level][name]
    stored = serving.build.manifest.store(purpose, level)
    fresh = stored.tables[name].fresh.isoformat() if stored and name in stored.tables else serving.as_of
    columns = tuple(_column(column, table.statistics) for column in table.columns)
    return Dataset(name, table.title, access, columns, fresh, _bounds(table.statistics), rows_left)


def _column(column: ColumnPlan, view: StatisticsView | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": column.name, "type": column.type, "nullable": column.nullable}
    if column.description:
        facts["description"] = column.description
    if view is None:
        return facts
    known = view.columns[column.name]
    if known.bounds:
        facts["sum within"] = f"{known.bounds.lower:f} … {known.bounds.upper:f}"
    if known.domain:
        facts["keys"] = len(known.domain.values)
    if known.identifier:
        facts["pseudonym"] = True
    if known.references:
        facts["refers to"] = ", ".join(known.references)
    return facts


def _bounds(view: StatisticsView | None) -> str:
    if view is None or view.unit is None or view.contribution is None:
        return ""
    bounds, limits = view.contribution, []
    if bounds.rows is not None:
        limits.append(f"with at most {_count(bounds.rows, 'row')} in all")
    if bounds.groups is not None and bounds.rows_per_group is not None:
        in_each = f"with at most {_count(bounds.rows_per_group, 'row')} in each"
        limits.append(f"in at most {_count(bounds.groups, 'group')}, {in_each}")
    within = f", {view.windows.span} by {view.windows.span} of {view.windows.column}" if view.windows else ""
    return f"statistics count each {view.unit.column} {' and '.join(limits)}{within}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
