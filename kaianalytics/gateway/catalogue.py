"""What may be known without a question of data: the views of a purpose, what is left to spend, what is served."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Any

from kaianalytics.gateway.context import Context
from kaianalytics.gateway.serving import ACCESS_LEVELS, Serving
from kaianalytics.gateway.tokens import Session
from kaianalytics.policy.contract import Access
from kaianalytics.policy.views import ColumnPlan, TablePlan
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.unit import StatisticsView
from kaianalytics.protocol import Budget, BudgetLine, Dataset
from kaianalytics.records import ledger
from kaianalytics.records.ledger import Limit

TYPICAL = PrivacyLoss.of("0.002")  # the price at which a note counts questions; no question has it by default


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
        return [asdict(_dataset(serving, session.purpose, name, plans)) for name in names]

    def budget(self, session: Session) -> dict[str, Any]:
        """What is left of each allowance that the session's questions are charged to."""
        population = self._context.serving().populations(session.purpose)[0]
        with self._context.records.reading() as view:
            balance = ledger.balance(view, population, session.purpose, session.user)
        limits = {"account": balance.account, "purpose": balance.purpose, "analyst": balance.analyst}
        lines = tuple(_budget_line(name, limit) for name, limit in limits.items())
        return asdict(Budget(population, session.purpose, lines, _note(list(limits.values()))))


def _dataset(serving: Serving, purpose: str, name: str, plans: dict[Access, Any]) -> Dataset:
    access: tuple[str, ...] = tuple(level for level, tables in plans.items() if name in tables)
    level: Access = "statistics" if "statistics" in access else "rows"
    table: TablePlan = plans[level][name]
    stored = serving.build.manifest.store(purpose, level)
    fresh = stored.tables[name].fresh.isoformat() if stored and name in stored.tables else serving.as_of
    columns = tuple(_column(column, table.statistics) for column in table.columns)
    return Dataset(name, table.title, access, columns, fresh, _bounds(table.statistics))


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
    return facts


def _bounds(view: StatisticsView | None) -> str:
    if view is None:
        return ""
    bounds = view.contribution
    return (
        f"statistics count each {view.unit.column} in at most {_count(bounds.groups, 'group')}, "
        f"with at most {_count(bounds.rows_per_group, 'row')} in each"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _budget_line(name: str, limit: Limit) -> BudgetLine:
    return BudgetLine(name, _plain(limit.allowance.rho), _plain(limit.spent.rho), _plain(limit.left.rho))


def _note(limits: list[Limit]) -> str:
    left = min(limit.left.rho_units for limit in limits)
    return (
        f"At ρ {_plain(TYPICAL.rho)} a question: {left // TYPICAL.rho_units} more. "
        "A steward raises an allowance, with a reason: `kai budget raise`."
    )


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
