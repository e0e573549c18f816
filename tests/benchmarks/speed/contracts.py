"""Contracts as values for the stores that the engine's speed is measured on: one purpose, one population, no home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from kaianalytics.policy.clauses import PrivacyPolicy
from kaianalytics.policy.contract import (
    Basis,
    Column,
    ColumnRule,
    Contracts,
    DataContract,
    PreAggregateRule,
    PurposeRule,
)
from kaianalytics.policy.purpose import Allowance, Population, Purpose, Purposes
from kaianalytics.policy.roles import Roles
from kaianalytics.policy.views import StorePlan, store_plan
from kaianalytics.privacy.unit import ContributionBounds, Profile, Quantiles

PURPOSE, POPULATION = "benchmark", "customers"
KEEP, PSEUDONYM = ColumnRule("keep"), ColumnRule("pseudonym")
DELTA = Decimal("0.000001")


def column(name: str, kind: str, **facts: Any) -> Column:
    """A column that is kept; its `range` and `step` bound what is summed, its `enum` says its groups."""
    low, high = facts.pop("range", (None, None))
    rule = facts.pop("rule", KEEP)
    defaults: dict[str, Any] = {"classification": "personal", "required": True, "minimum": low, "maximum": high}
    return Column(name=name, type=kind, rules={PURPOSE: rule}, **{**defaults, **facts})  # type: ignore[arg-type]


def key(name: str, domain: str, **facts: Any) -> Column:
    """A key, which the store holds as a pseudonym's number."""
    return column(name, "string", classification="key", key=domain, rule=PSEUDONYM, **facts)


def public(name: str, kind: str, **facts: Any) -> Column:
    """A column about nobody."""
    return column(name, kind, classification="public", **facts)


def product(
    name: str,
    unit: str | None,
    columns: Sequence[Column],
    contribution: ContributionBounds | None = None,
    profile: Profile | None = None,
    pre_aggregates: tuple[PreAggregateRule, ...] = (),
) -> DataContract:
    """One table about customers, or without a unit about nobody."""
    return DataContract(
        product=name,
        version="1",
        title=name,
        source=f"{name}.parquet",
        format="parquet",
        columns=tuple(columns),
        purposes={PURPOSE: PurposeRule(PURPOSE, Basis("notified"), frozenset({"statistics"}))},
        population=POPULATION if unit else None,
        unit=unit,
        contribution=contribution,
        profile=profile,
        pre_aggregates=pre_aggregates,
    )


def quantiles(**shares: float) -> Quantiles:
    """Shares of units in percent, as p50=3, p100=40, and what they have at most."""
    return tuple((Decimal(name[1:]) / 100, Decimal(most)) for name, most in shares.items())


def plan_of(products: Mapping[str, DataContract]) -> StorePlan:
    """The statistics store of these contracts."""
    allowance = Allowance(Decimal(1), DELTA)
    people = Population(POPULATION, next(iter(products)), "unit", allowance, {PURPOSE: allowance}, allowance)
    purposes = Purposes("1", {PURPOSE: Purpose(PURPOSE, PURPOSE, "3.5", open=True)}, {POPULATION: people})
    policy = PrivacyPolicy("1", date(2022, 4, 1), "nobody", {})
    nobody = Roles("1", {}, {}, frozenset(), (), "")
    return store_plan(Contracts(purposes, policy, nobody, products, ""), PURPOSE, "statistics")
