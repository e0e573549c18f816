"""The workload in this engine, in process: the guard's tree, lowered, bounded, measured, run, assembled, answered.

The tables have the shape of a `statistics` store, and the views that of a contract. What is not here is what accuracy
does not rest on: the gateway, the ledger, the sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from accuracy.bounds import Bound
from accuracy.job import Answers, Draws
from accuracy.workload import UNIT, Question, TableOf, Workload
from kaianalytics.gateway.guard import Guard
from kaianalytics.privacy.answer import answer
from kaianalytics.privacy.asked import BoundsAsked
from kaianalytics.privacy.assembling import assemble
from kaianalytics.privacy.bounding import compile_query
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.lowering import lower
from kaianalytics.privacy.measurement import plan_noise
from kaianalytics.privacy.unit import (
    ColumnType,
    ContributionBounds,
    KeyDomain,
    PrivacyUnit,
    Profile,
    StatisticsColumn,
    StatisticsView,
    ValueBounds,
)


class Ours:
    """The engine over the workload's tables."""

    def __init__(self, workload: Workload, sources: Mapping[str, Path]) -> None:
        self._workload = workload
        self._guard = Guard()
        self._store = duckdb.connect(config={"threads": 2})
        for table in workload.tables:
            self._store.execute(_stored(table, sources[table.name]))
        self._views = {table.name: view_of(table) for table in workload.tables}
        self._profiled = {
            table.name: replace(self._views[table.name], profile=profile_of(table)) for table in workload.tables
        }

    def answers(self, loss: PrivacyLoss, told: Sequence[Bound], times: int) -> tuple[Answers, Answers, Answers]:
        """Told bounds, a profile, private bounds: three columns, each question at this loss."""
        questions = self._workload.questions
        told_ = tuple(
            self._draws(question, self._views, BoundsAsked.of(asked_bound(question, bound)), loss, times)
            for question, bound in zip(questions, told, strict=True)
        )
        profiled = tuple(
            self._draws(question, self._profiled, BoundsAsked.none(), loss, times) for question in questions
        )
        private = tuple(
            self._draws(question, self._views, BoundsAsked.of("private"), loss, times) for question in questions
        )
        each = f"ρ = {loss.rho:f} for each question"
        return (
            Answers(told_, f"{each}; `bounds=` as said above"),
            Answers(profiled, f"{each}; the profile declared in the contract"),
            Answers(private, f'{each}; `bounds="private"`'),
        )

    def _draws(
        self, question: Question, views: Mapping[str, StatisticsView], asked: BoundsAsked, loss: PrivacyLoss, times: int
    ) -> Draws:
        admitted = self._guard.admit(question.sql, list(views))
        query = lower(admitted.tree, views)
        plan = compile_query(query, asked, loss, query.source.view.profile)
        measurement = plan_noise(plan, loss)
        exact = assemble(plan, [self._store.execute(statement.sql).fetchall() for statement in plan.statements])
        return [_figures(question, answer(plan, measurement, measurement.release(exact)).rows) for _ in range(times)]


def view_of(table: TableOf) -> StatisticsView:
    """The table as a contract declares it, without a profile."""
    columns = {
        UNIT: StatisticsColumn(UNIT, "integer", nullable=False, identifier=True),
        **{key: _key(key, values) for key, values in table.keys.items()},
        **{name: _value(name, values.lower, values.upper, values.step) for name, values in table.values.items()},
        **{flag: StatisticsColumn(flag, "boolean", nullable=False) for flag in table.flags},
    }
    unit = PrivacyUnit(UNIT, "customers", stored="kai_unit")
    return StatisticsView(table.name, unit, ContributionBounds(rows=table.rows), columns, rank="kai_rank")


def profile_of(table: TableOf) -> Profile:
    """The table's profile, as a contract declares it."""
    points = {
        name: tuple((Decimal(share), Decimal(most)) for share, most in quantiles)
        for name, quantiles in table.profile.items()
    }
    return Profile(table.customers, points.pop("rows"), points)


def asked_bound(question: Question, bound: Bound) -> Mapping[str, Any]:
    """A bound as an analyst asks for it: a norm is counted in rows of the largest value."""
    if bound.form == "rows":
        return {"rows": int(bound.size)}
    weight = question.values.upper if question.aggregate == "sum" else 1
    return {"norm": str(round(Decimal(bound.size) / weight, 3))}


def _stored(table: TableOf, source: Path) -> str:
    """The table as the builder writes it: numbers for units, a rank by a hash of the row, in the units' order."""
    select = table.select.format(source=source)
    return (
        f"CREATE TABLE {table.name} AS SELECT * REPLACE (hash({UNIT}) AS {UNIT}), hash({UNIT}) AS kai_unit, "
        f"row_number() OVER (PARTITION BY {UNIT} ORDER BY hash(r), r) AS kai_rank FROM ({select}) AS r "
        "ORDER BY kai_unit, kai_rank"
    )


def _key(name: str, values: tuple[str | int, ...]) -> StatisticsColumn:
    kind: ColumnType = "integer" if isinstance(values[0], int) else "string"
    return StatisticsColumn(name, kind, nullable=False, domain=KeyDomain(name, kind, values))


def _value(name: str, lower: int, upper: int, step: str) -> StatisticsColumn:
    bounds = ValueBounds(Decimal(lower), Decimal(upper), Decimal(step))
    return StatisticsColumn(name, "integer" if step == "1" else "number", nullable=False, bounds=bounds)


def _figures(question: Question, rows: Sequence[Sequence[Any]]) -> list[float]:
    """The figures in the order of the cells; NaN where one is withheld or its cell is not shown."""
    keys = len(question.by)
    found = {tuple(row[:keys]): row[keys] for row in rows}
    return [float("nan") if found.get(cell) is None else float(found[cell]) for cell in question.cells]
