"""What the engine may know of a product under one purpose: columns, unit, bounds and the rest, no data.

Laws: what the purpose does not see has no place here, references and pre-aggregates included; a reference is there only
where both its ends are, under the same kind of rule; bounds and keys are the declared ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from kaianalytics.policy.contract import Column, ColumnRule, DataContract, PreAggregateRule, WindowRule
from kaianalytics.policy.rules import day_of, keys_after, type_after
from kaianalytics.privacy.bounding.windows import start_of
from kaianalytics.privacy.unit import (
    KeyDomain,
    PreAggregate,
    PrivacyUnit,
    Profile,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
    Windows,
)

KAI_UNIT, KAI_RANK, KAI_WINDOW = "kai_unit", "kai_rank", "kai_window"  # hidden columns of a statistics store
PRE_AGGREGATE = "kai_pre_"  # how the tables of pre-aggregates begin


def statistics_view(product: DataContract, purpose: str, products: Mapping[str, DataContract]) -> StatisticsView | None:
    """The product as the purpose's statistics see it; None where it has no bounds although it is about people."""
    columns = _columns(product, purpose, products)
    if product.population is None or product.unit is None:
        return StatisticsView(product.product, None, None, columns)
    if product.contribution is None:
        return None
    return StatisticsView(
        name=product.product,
        unit=PrivacyUnit(product.unit, product.population, KAI_UNIT),
        contribution=product.contribution,
        columns=columns,
        rank=KAI_RANK,
        profile=_profile(product.profile, columns),
        windows=windows_of(product, product.windows),
        pre_aggregates=tuple(
            PreAggregate(PRE_AGGREGATE + rule.name, rule.keys, rule.sums)
            for rule in product.pre_aggregates
            if can_pre_aggregate(product, rule, purpose)
        ),
    )


def windows_of(product: DataContract, rule: WindowRule | None) -> Windows | None:
    """The windows of a product, from the declared ranges of its times."""
    if rule is None:
        return None
    event, arrived = product.column(rule.column), product.column(rule.arrived or rule.column)
    first, last = day_of(event.minimum or ""), max(day_of(event.maximum or ""), day_of(arrived.maximum or ""))
    return Windows(rule.column, rule.span, start_of(first, rule.span), last, KAI_WINDOW)


def can_pre_aggregate(product: DataContract, rule: PreAggregateRule, purpose: str) -> bool:
    """Whether the purpose sees every key with declared values, and every sum with its bounds."""
    columns = _columns(product, purpose, {})
    keys = all(name in columns and columns[name].domain for name in rule.keys)
    return keys and all(name in columns and columns[name].bounds for name in rule.sums)


def _columns(product: DataContract, purpose: str, products: Mapping[str, DataContract]) -> dict[str, StatisticsColumn]:
    seen = {column.name: column.rules.get(purpose, ColumnRule("drop")) for column in product.columns}
    return {
        column.name: _column(product, column, seen[column.name], _references(column, purpose, products))
        for column in product.columns
        if seen[column.name].action != "drop"
    }


def _column(product: DataContract, column: Column, rule: ColumnRule, references: tuple[str, ...]) -> StatisticsColumn:
    kind, nullable = type_after(rule, column.type), not (column.required or column.name == product.unit)
    keys = keys_after(column, rule)
    return StatisticsColumn(
        name=column.name,
        type=kind,
        nullable=nullable,
        identifier=rule.action == "pseudonym",
        bounds=_bounds(column) if rule.action == "keep" else None,
        domain=KeyDomain(column.name, kind, (*keys, None) if nullable else keys) if keys else None,
        references=references,
        unique=product.key is column and rule.action in ("keep", "pseudonym"),
    )


def _bounds(column: Column) -> ValueBounds | None:
    """The declared range of a kept number; a number without a step has none, for sums are exact integers of steps."""
    if column.type == "boolean":
        return ValueBounds(Decimal(0), Decimal(1))
    step = column.step or (Decimal(1) if column.type == "integer" else None)
    if column.type not in ("integer", "number") or step is None or column.minimum is None or column.maximum is None:
        return None
    return ValueBounds(Decimal(column.minimum), Decimal(column.maximum), step)


def _references(column: Column, purpose: str, products: Mapping[str, DataContract]) -> tuple[str, ...]:
    return tuple(each for each in column.references if _reaches(column, each, purpose, products))


def _reaches(column: Column, reference: str, purpose: str, products: Mapping[str, DataContract]) -> bool:
    """Whether the purpose's statistics hold the other end as well, and as the same kind of value."""
    name, _, target = reference.rpartition(".")
    product = products.get(name)
    granted = product.purposes.get(purpose) if product else None
    if product is None or granted is None or "statistics" not in granted.access or not product.has(target):
        return False
    other, own = product.column(target), column.rules[purpose]
    same_type = own.action == "pseudonym" or other.type == column.type
    return other.rules.get(purpose) == own and own.action in ("keep", "pseudonym") and same_type


def _profile(profile: Profile | None, columns: Mapping[str, StatisticsColumn]) -> Profile | None:
    if profile is None:
        return None
    totals = {name: points for name, points in profile.totals.items() if name in columns and columns[name].bounds}
    return replace(profile, totals=totals)
