"""Contract × purpose → what each store holds: the plan that the builder follows and verifies.

A plan is pure public fact. The builder may write nothing that the plan does not list, and its verification compares the
written schema with the plan; so what a purpose does not cover is not in the file that serves it. What a worker shows of
a store is in `policy.secure_views`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kaianalytics.errors import PolicyRefused
from kaianalytics.policy.clauses import PrivacyPolicy
from kaianalytics.policy.contract import (
    Access,
    Basis,
    Column,
    ColumnRule,
    Contracts,
    DataContract,
    Retention,
    WindowRule,
)
from kaianalytics.policy.reading import canonical_digest
from kaianalytics.policy.rules import type_after
from kaianalytics.policy.statistics import KAI_RANK, KAI_UNIT, KAI_WINDOW, statistics_view
from kaianalytics.privacy.unit import ColumnType, StatisticsView


@dataclass(frozen=True)
class ColumnPlan:
    """One column of a store: where it comes from, how it is changed, and what it is afterwards."""

    name: str
    source: str
    rule: ColumnRule
    source_type: ColumnType
    type: ColumnType  # after the rule
    nullable: bool
    key: str | None = None  # pseudonym domain
    description: str = ""


@dataclass(frozen=True)
class TablePlan:
    """One product's table in one store."""

    product: str
    title: str
    columns: tuple[ColumnPlan, ...]
    basis: Basis
    population: str | None
    unit: str | None  # name of the unit's column, in the source and in the store
    retention: Retention | None
    statistics: StatisticsView | None  # None in a `rows` store
    windows: WindowRule | None = None  # of the source's own times; in a `statistics` store alone

    @property
    def numbered(self) -> bool:
        """Whether units and their rows are numbered: of a table about people, in a `statistics` store."""
        return self.statistics is not None and self.unit is not None

    @property
    def rows_bound(self) -> int | None:
        """How many rows of one unit, in one window, are stored; None for all."""
        bounds = self.statistics.contribution if self.statistics else None
        return bounds.rows if bounds else None

    @property
    def hidden(self) -> tuple[str, ...]:
        """The columns beside the planned ones, which no analyst names, in the store's order."""
        return (KAI_UNIT, *([KAI_WINDOW] if self.windows else []), KAI_RANK) if self.numbered else ()


@dataclass(frozen=True)
class StorePlan:
    """All that one store may hold."""

    purpose: str
    access: Access
    tables: Mapping[str, TablePlan]


def store_plan(contracts: Contracts, purpose: str, access: Access) -> StorePlan:
    """The plan of one open purpose's store; PolicyRefused for a purpose that is not open, which has no store."""
    stated = contracts.purposes.purposes.get(purpose)
    if stated is None or not stated.open:
        raise PolicyRefused(
            "PURPOSE_NOT_OPEN" if stated else "PURPOSE_UNKNOWN",
            f"Purpose `{purpose}` has no store.",
            rule="stores are built for open purposes alone",
            hint="see purposes.yaml for the purposes that are open",
        )
    tables = {
        name: _table(contracts, product, purpose, access)
        for name, product in sorted(contracts.products.items())
        if purpose in product.purposes and access in product.purposes[purpose].access
    }
    return StorePlan(purpose, access, tables)


def slice_digest(contracts: Contracts, purpose: str) -> str:
    """The digest of all that this purpose's answers depend on, and of nothing else.

    Both store plans, the populations' residence, consents, stops and the δ of a question, and the policy's version and
    clauses. Words for people, budgets and roles are left out: changing them changes no answer.
    """
    plans = [store_plan(contracts, purpose, "rows"), store_plan(contracts, purpose, "statistics")]
    names = {table.population for plan in plans for table in plan.tables.values() if table.population}
    return canonical_digest(
        {
            "purpose": purpose,
            "clause": contracts.purposes.purposes[purpose].clause,
            "policy": _policy_slice(contracts.policy, contracts.purposes.purposes[purpose].clause),
            "stores": [{name: _table_slice(table) for name, table in plan.tables.items()} for plan in plans],
            "populations": {name: _population_slice(contracts, name) for name in names},
        }
    )


def _table(contracts: Contracts, product: DataContract, purpose: str, access: Access) -> TablePlan:
    columns = tuple(
        _column(column, column.rules[purpose], product)
        for column in product.columns
        if purpose in column.rules and column.rules[purpose].action != "drop"
    )
    people, statistics = product.unit is not None, access == "statistics"
    return TablePlan(
        product=product.product,
        title=product.title,
        columns=columns,
        basis=product.purposes[purpose].basis,
        population=product.population,
        unit=product.unit,
        retention=product.retention,
        statistics=_statistics(contracts, product, purpose) if statistics else None,
        windows=product.windows if people and statistics else None,
    )


def _statistics(contracts: Contracts, product: DataContract, purpose: str) -> StatisticsView | None:
    return statistics_view(_within_residence(contracts, product), purpose, contracts.products)


def _within_residence(contracts: Contracts, product: DataContract) -> DataContract:
    """The product with the residences that may be processed as the only ones it declares: no other is in a store."""
    population = contracts.purposes.populations.get(product.population or "")
    if population is None or product.product != population.product:
        return product
    columns = tuple(
        replace(column, enum=tuple(value for value in column.enum if value in population.countries))
        if column.name == population.residence
        else column
        for column in product.columns
    )
    return replace(product, columns=columns)


def _column(column: Column, rule: ColumnRule, product: DataContract) -> ColumnPlan:
    return ColumnPlan(
        name=column.name,
        source=column.name,
        rule=rule,
        source_type=column.type,
        type=type_after(rule, column.type),
        nullable=not (column.required or column.name == product.unit),  # rows that name no unit are in no store
        key=column.key if rule.action == "pseudonym" else None,
        description=column.description,
    )


def _table_slice(table: TablePlan) -> object:
    columns = [
        (c.name, c.source, c.rule.action, c.rule.how, c.source_type, c.type, c.nullable, c.key) for c in table.columns
    ]
    terms = [table.basis, table.population, table.unit, table.retention, table.statistics, table.windows]
    return [table.product, columns, *terms]


def _policy_slice(policy: PrivacyPolicy, clause: str) -> object:
    clauses = {key: stated.statement for key, stated in policy.clauses.items() if key in (clause, clause.split(".")[0])}
    return [policy.version, clauses]


def _population_slice(contracts: Contracts, name: str) -> object:
    population = contracts.purposes.populations[name]
    about = [population.product, population.key, population.residence, population.countries]
    deltas = [population.reporting_delta, population.question_delta]  # a price in ε, and a threshold, rest on them
    return [about, population.consents, population.stops, deltas]
