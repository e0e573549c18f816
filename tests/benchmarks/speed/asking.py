"""One question in the engine, step by step as the gateway takes them, and what bounding and noise cost its figures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb
from measured import Series, in_turns

from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.privacy.bounding.assembling import assemble
from kaianalytics.privacy.bounding.compiling import BoundsAsked, compile_query
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.answer import answer
from kaianalytics.privacy.measuring.measurement import Measurement, plan_noise
from kaianalytics.privacy.plan import Noisy, Plan
from kaianalytics.privacy.query import KeyColumn
from kaianalytics.privacy.reading.lowering import lower
from kaianalytics.privacy.unit import StatisticsView

TURNS, Z95 = 5, 1.96
QUESTION_DELTA = Decimal("0.00000001")
Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Engine:
    """A store that is asked, the views that its questions are proved from, and the loss that each may cost."""

    worker: duckdb.DuckDBPyConnection
    views: Mapping[str, StatisticsView]
    loss: PrivacyLoss
    guard: Guard

    def planned(self, sql: str, asked: Mapping[str, int] | None = None) -> tuple[Plan, Measurement]:
        """The question bounded, as asked if it is, and its loss proved."""
        query = lower(self.guard.admit(sql, tuple(self.views)).tree, self.views)
        plan = compile_query(query, BoundsAsked.of(asked), self.loss, query.source.view.profile)
        return plan, plan_noise(plan, self.loss, delta=QUESTION_DELTA)

    def read(self, plan: Plan) -> list[Rows]:
        """What the plan's statements give."""
        return [self.worker.execute(statement.sql).fetchall() for statement in plan.statements]


@dataclass(frozen=True)
class Compared:
    """The plan's SQL beside the exact query: how long each took, in which form, and the error of that plan, in %."""

    ours: float
    exact: float
    form: str
    error: float

    @property
    def ratio(self) -> float:
        """How many times the exact query's time the plan's SQL takes."""
        return self.ours / self.exact


@dataclass(frozen=True)
class Whole:
    """A whole answer: its SQL, everything beside that, and how many numbers it has (candidate keys × aggregates)."""

    seconds: float
    sql: float
    numbers: int
    shown: int

    @property
    def beside(self) -> float:
        """All but the SQL."""
        return self.seconds - self.sql


def compared(
    engine: Engine, sql: str, plain: duckdb.DuckDBPyConnection, exact: str, asked: Mapping[str, int] | None = None
) -> Compared:
    """Both in turns, the first turn not counted; `asked` are bounds as an analyst asks for them."""
    plan, measurement = engine.planned(sql, asked)
    read = {"ours": lambda _: engine.read(plan), "exact": lambda _: plain.execute(exact).fetchall()}
    taken = in_turns(TURNS + 1, read)
    ours, plainly = (Series(taken[name].seconds[1:]).median for name in ("ours", "exact"))
    found = assemble(plan, engine.read(plan))
    error = _error(plan, measurement, Noisy(found.cells, found.vectors), plain.execute(exact).fetchall())
    return Compared(ours, plainly, _form(plan), error)


def whole(engine: Engine, sql: str, turns: int = TURNS) -> Whole:
    """Everything that an answer takes in the engine, from its text to its rows; the median of some turns."""
    taken = sorted((_whole(engine, sql) for _ in range(turns + 1)), key=lambda each: each.beside)
    return taken[len(taken) // 2]


def _whole(engine: Engine, sql: str) -> Whole:
    started = time.perf_counter()
    plan, measurement = engine.planned(sql)
    before = time.perf_counter()
    results = engine.read(plan)
    after = time.perf_counter()
    exact = assemble(plan, results)
    shown = answer(plan, measurement, measurement.release(exact))
    numbers = sum(map(len, exact.vectors))
    return Whole(time.perf_counter() - started, after - before, numbers, len(shown.rows))


def _form(plan: Plan) -> str:
    form, sql = plan.form, plan.statements[0].sql
    limits = [f"{word} {bound}" for word, bound in (("groups", form.groups), ("rows", form.rows)) if bound is not None]
    how = " (pre-aggregate)" if "kai_pre_" in sql else " (per unit)" if "heavy" in sql else ""
    return " ".join(limits if form.kind in ("rows", "groups") else [form.kind, *limits]) + how


def _error(plan: Plan, measurement: Measurement, bounded: Noisy, exact: Rows) -> float:
    """The median over all figures of √(bias² + noise²) beside the true figure: bias as measured, noise as drawn."""
    table = answer(plan, measurement, bounded)
    keys = sum(isinstance(item, KeyColumn) for item in plan.query.select)
    true = {tuple(row[:keys]): row[keys:] for row in exact}
    errors = [
        ((float(value) - float(wanted)) ** 2 + (float(margin or 0) / Z95) ** 2) ** 0.5 / abs(float(wanted))
        for row, margins in zip(table.rows, table.margins, strict=True)
        for value, margin, wanted in zip(row[keys:], margins[keys:], true.get(tuple(row[:keys]), ()), strict=False)
        if value is not None and wanted
    ]
    return 100 * statistics.median(errors) if errors else float("nan")
