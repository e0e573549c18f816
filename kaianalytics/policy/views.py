"""Contract × purpose → what each store holds: the plan that the builder follows and verifies, and the view SQL.

A plan is pure public fact. The builder may write nothing that the plan does not list, and its verification compares the
written schema with the plan; so what a purpose does not cover is not in the file that serves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from sqlglot import exp

from kaianalytics.errors import PolicyRefused
from kaianalytics.policy.clauses import PrivacyPolicy
from kaianalytics.policy.contract import Access, Basis, Column, ColumnRule, Contracts, DataContract, Retention
from kaianalytics.policy.reading import canonical_digest
from kaianalytics.policy.rules import keys_after, type_after
from kaianalytics.privacy.unit import (
    ColumnType,
    KeyDomain,
    PrivacyUnit,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)

STORE = "store"  # the name under which a worker attaches its one file
STOPS = "kai_stops"  # the worker's table of stopped units, one column `unit`
WORKER_CATALOG = "memory"  # DuckDB's name of a connection's own in-memory catalog


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
    statistics: StatisticsView | None  # None in a `rows` store, and where no statistics can be asked (a public table)


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


def view_sql(table: TablePlan) -> str:
    """The statement by which a worker makes the table's secure view in its own catalog.

    It names every column, and leaves out units in the worker's stop table, so that a stop holds at once. A table about
    nobody gets `WHERE TRUE` instead: a secure view that only projects lets statistics of the base table through.
    """
    source = exp.to_table(table.product, db="main", catalog=STORE, alias="t")
    select = exp.select(*(exp.column(column.name, table="t") for column in table.columns)).from_(source)
    select = select.where(_not_stopped(table.unit) if table.unit else exp.true())
    # sqlglot does not know SECURE, so the statement's head is written by hand around quoted names.
    return f'CREATE SECURE VIEW "{table.product}" AS {select.sql(dialect="duckdb", identify=True)}'


def slice_digest(contracts: Contracts, purpose: str) -> str:
    """The digest of all that this purpose's answers depend on, and of nothing else.

    Both store plans, the populations' residence, consents and stops, and the policy's version and clauses. Words for
    people, budgets and roles are left out: changing them changes no answer.
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
    return TablePlan(
        product=product.product,
        title=product.title,
        columns=columns,
        basis=product.purposes[purpose].basis,
        population=product.population,
        unit=product.unit,
        retention=product.retention,
        statistics=_statistics(_within_residence(contracts, product), columns) if access == "statistics" else None,
    )


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


def _statistics(product: DataContract, columns: tuple[ColumnPlan, ...]) -> StatisticsView | None:
    if product.population is None or product.unit is None or product.contribution is None:
        return None
    return StatisticsView(
        name=product.product,
        unit=PrivacyUnit(product.unit, product.population),
        contribution=product.contribution,
        columns={plan.name: _statistics_column(product.column(plan.source), plan) for plan in columns},
    )


def _statistics_column(column: Column, plan: ColumnPlan) -> StatisticsColumn:
    return StatisticsColumn(
        name=plan.name,
        type=plan.type,
        nullable=plan.nullable,
        identifier=plan.rule.action == "pseudonym",
        bounds=_bounds(column) if plan.rule.action == "keep" else None,
        domain=_domain(column, plan),
    )


def _bounds(column: Column) -> ValueBounds | None:
    """The declared range of a kept number; a number without a step has none, for sums are exact integers of steps."""
    if column.type == "boolean":
        return ValueBounds(Decimal(0), Decimal(1))
    step = column.step or (Decimal(1) if column.type == "integer" else None)
    if column.type not in ("integer", "number") or step is None or column.minimum is None or column.maximum is None:
        return None
    return ValueBounds(Decimal(column.minimum), Decimal(column.maximum), step)


def _domain(column: Column, plan: ColumnPlan) -> KeyDomain | None:
    keys = keys_after(column, plan.rule)
    if not keys:
        return None
    return KeyDomain(plan.name, plan.type, (*keys, None) if plan.nullable else keys)


def _not_stopped(unit: str) -> exp.Expression:
    stops = exp.to_table(STOPS, db="main", catalog=WORKER_CATALOG, alias="s")
    same = exp.column("unit", table="s").eq(exp.column(unit, table="t"))
    return exp.Exists(this=exp.select("1").from_(stops).where(same)).not_()


def _table_slice(table: TablePlan) -> object:
    columns = [
        (c.name, c.source, c.rule.action, c.rule.how, c.source_type, c.type, c.nullable, c.key) for c in table.columns
    ]
    return [table.product, columns, table.basis, table.population, table.unit, table.retention, table.statistics]


def _policy_slice(policy: PrivacyPolicy, clause: str) -> object:
    clauses = {key: stated.statement for key, stated in policy.clauses.items() if key in (clause, clause.split(".")[0])}
    return [policy.version, clauses]


def _population_slice(contracts: Contracts, name: str) -> object:
    population = contracts.purposes.populations[name]
    about = [population.product, population.key, population.residence, population.countries]
    return [about, population.consents, population.stops]
