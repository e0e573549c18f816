"""Statistical questions by chance: refused by name, or planned; and without noise what plain DuckDB answers.

1. A question ends in a refusal with a code, or in a plan with its proof of loss; never in another exception.
2. The SQL that the compiler wrote raises no error, whatever the rows hold.
3. Where bounds never bind, the figures without noise are plain DuckDB's: but for the steps that sums are counted in,
   and wherever plain DuckDB itself can answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from random import Random

import duckdb
import pytest
from support.plain_answers import Row, answer_of, by_keys, plain_shop
from support.reading_kit import LOOKUPS, VIEWS

from fuzz.questions import Questions
from kaianalytics.errors import GuardRefused, KaiError, QueryUnsupported
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.guard.allowed import STATISTICS_FUNCTIONS
from kaianalytics.privacy.bounding.compiling import compile_query
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.measuring.measurement import plan_noise
from kaianalytics.privacy.plan import Plan
from kaianalytics.privacy.query import Figure
from kaianalytics.privacy.reading.lowering import lower

SEED, QUESTIONS, PARTS = 20261101, 600, 3
LOSS, DELTA = PrivacyLoss.of("1"), Decimal("1e-6")


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    guard = Guard()
    yield guard
    guard.close()


@pytest.fixture(scope="module")
def shop() -> duckdb.DuckDBPyConnection:
    return plain_shop()


@pytest.fixture(scope="module")
def counts() -> Iterator[Counter[str]]:
    counted: Counter[str] = Counter()
    yield counted
    if counted.total() >= QUESTIONS:
        assert counted["right"] >= QUESTIONS / 5, counted
        assert counted["refused"] >= QUESTIONS / 20, counted


def planned(guard: Guard, sql: str) -> Plan | None:
    """The plan of a question with its proof; None where it is refused by name."""
    try:
        admitted = guard.admit(sql, (*VIEWS, *LOOKUPS), STATISTICS_FUNCTIONS)
        plan = compile_query(lower(admitted.tree, VIEWS, LOOKUPS))
        plan_noise(plan, LOSS, None, DELTA)
    except (GuardRefused, QueryUnsupported) as refusal:
        assert isinstance(refusal, KaiError) and refusal.code.isupper() and refusal.message
        return None
    return plan


def judged(guard: Guard, shop: duckdb.DuckDBPyConnection, sql: str, *, exact: bool) -> str:
    """What came of one question."""
    plan = planned(guard, sql)
    if plan is None:
        return "refused"
    for statement in plan.statements:
        shop.execute(statement.sql).fetchall()  # no error, whatever the rows hold (2)
    if not exact:
        return "planned"
    try:
        theirs = by_keys(plan.query, shop.execute(sql).fetchall())
    except duckdb.Error:
        return "planned"  # the engine's own operations are total, plain DuckDB's are not
    differing = difference(plan, answer_of(plan, shop), theirs)
    assert differing == "", differing
    return "right"


def difference(plan: Plan, ours: dict[Row, Row], theirs: dict[Row, Row]) -> str:
    """Where the figures differ by more than the steps that sums are counted in; '' where they don't."""
    if not theirs.keys() <= ours.keys():
        return f"groups are missing: {sorted(map(str, theirs.keys() - ours.keys()))[:3]}"
    figures = [item for item in plan.query.select if isinstance(item, Figure)]
    square = float(max(vector.step for vector in plan.vectors))  # what squares are counted in, where there are any
    for keys, plain in theirs.items():
        for figure, mine, true in zip(figures, ours[keys], plain, strict=True):
            if true is None or not math.isfinite(true) or mine is None or not math.isfinite(mine):
                continue  # of nothing there is no mean; the engine says so in its own way
            near = square if figure.role in ("variance", "deviation") else 1e-3
            if not math.isclose(mine, float(true), rel_tol=1e-4, abs_tol=near):
                return f"{figure.name} of {keys} is {mine}, and plainly {true}"
    return ""


@pytest.mark.parametrize("part", range(PARTS))
def test_refused_by_name_or_right(
    guard: Guard, shop: duckdb.DuckDBPyConnection, counts: Counter[str], part: int
) -> None:
    for number in range(part * QUESTIONS // PARTS, (part + 1) * QUESTIONS // PARTS):
        exact = number % 3 > 0
        sql = Questions(Random(f"{SEED}/{number}")).one(exact=exact)
        try:
            counts[judged(guard, shop, sql, exact=exact)] += 1
        except Exception as error:
            raise AssertionError(f"question {number} of seed {SEED}: {sql}") from error


def test_planted_faults_are_noticed(guard: Guard, shop: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT o.gift, count(*), sum(o.amount) FROM orders o GROUP BY ALL"
    plan = planned(guard, sql)
    assert plan is not None
    ours, theirs = answer_of(plan, shop), by_keys(plan.query, shop.execute(sql).fetchall())
    assert difference(plan, ours, theirs) == ""
    off_by_one = {keys: (figures[0] + 1, *figures[1:]) for keys, figures in ours.items()}
    assert "and plainly" in difference(plan, off_by_one, theirs)
    assert "groups are missing" in difference(plan, dict(list(ours.items())[:1]), theirs)
