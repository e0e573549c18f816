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
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.statistics.finding import Finding, finding_of
from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.bounding.assembling import assemble
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.answer import answer
from kaianalytics.privacy.measuring.measurement import Measurement, plan_noise
from kaianalytics.privacy.measuring.prices import Price
from kaianalytics.privacy.plan import Exact, Plan
from kaianalytics.privacy.reading.lowering import lower
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
        self._read: dict[tuple[str, ...], Exact] = {}
        self._guard = Guard()
        self._store = duckdb.connect(config={"threads": 2})
        for table in workload.tables:
            self._store.execute(_stored(table, sources[table.name]))
        self._views = {table.name: view_of(table) for table in workload.tables}
        self._profiled = {
            table.name: replace(self._views[table.name], profile=profile_of(table)) for table in workload.tables
        }

    def told(self, bounds: Sequence[Bound], loss: PrivacyLoss, times: int) -> Answers:
        """Each question with bounds asked for."""
        asked = [asked_bound(question, bound) for question, bound in zip(self._workload.questions, bounds, strict=True)]
        return self._answered(self._views, list(map(BoundsAsked.of, asked)), loss, times, "`bounds=` as said above")

    def profiled(self, loss: PrivacyLoss, times: int) -> Answers:
        """Each question where the contract declares a profile."""
        nothing = [BoundsAsked.none()] * len(self._workload.questions)
        return self._answered(self._profiled, nothing, loss, times, "the contract's profile")

    def private(self, loss: PrivacyLoss, times: int) -> Answers:
        """Each question with bounds found from the data, at a part of its loss."""
        private = [BoundsAsked.of("private")] * len(self._workload.questions)
        return self._answered(self._views, private, loss, times, '`bounds="private"`')

    def _answered(
        self,
        views: Mapping[str, StatisticsView],
        asked: Sequence[BoundsAsked],
        loss: PrivacyLoss,
        times: int,
        how: str,
    ) -> Answers:
        questions = zip(self._workload.questions, asked, strict=True)
        draws = tuple(self._draws(question, views, bounds, loss, times) for question, bounds in questions)
        return Answers(draws, f"ρ = {loss.rho:.6f} for each question, zCDP; {how}")

    def _draws(
        self, question: Question, views: Mapping[str, StatisticsView], asked: BoundsAsked, loss: PrivacyLoss, times: int
    ) -> Draws:
        query = lower(self._guard.admit(question.sql, list(views)).tree, views)
        if (
            asked.private and question.aggregate != "customers"
        ):  # there, no bound is to be found: a customer counts once
            finding = finding_of(query, asked, Price(loss), None)
            return [self._found(question, finding) for _ in range(times)]
        plan = compile_query(query, BoundsAsked.none() if asked.private else asked, loss)
        measurement = plan_noise(plan, loss)
        return [self._drawn(question, measurement) for _ in range(times)]

    def _found(self, question: Question, finding: Finding) -> list[float]:
        """One draw whose bounds are found first: the two draws together cost the question's loss."""
        noisy = finding.measurement.release(self._exact(finding.measurement.plan))
        return self._drawn(question, finding.settled(finding.profile(noisy)).measurement)

    def _drawn(self, question: Question, measurement: Measurement) -> list[float]:
        noisy = measurement.release(self._exact(measurement.plan))
        return _figures(question, answer(measurement.plan, measurement, noisy).rows)

    def _exact(self, plan: Plan) -> Exact:
        """What the plan's statements give; remembered, for it is the same at every draw."""
        texts = tuple(statement.sql for statement in plan.statements)
        if texts not in self._read:
            self._read[texts] = assemble(plan, [self._store.execute(text).fetchall() for text in texts])
        return self._read[texts]


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
