"""The names of a question are the same in every process: a repeat is free after a restart, and a certificate holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from kaianalytics.custody.contracts import load
from kaianalytics.errors import QueryUnsupported
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.guard.allowed import STATISTICS_FUNCTIONS
from kaianalytics.gateway.statistics.question import Ground, prepare
from kaianalytics.gateway.tokens import Session
from kaianalytics.policy.views import store_plan
from kaianalytics.protocol import StatisticsRequest

CONTRACTS = Path(__file__).parents[2] / "data_contracts"
PURPOSE = "service-improvement"
QUESTIONS = (
    "SELECT device, COUNT(*) AS n, AVG(seconds) AS s FROM sessions WHERE pages > 2 GROUP BY device ORDER BY n DESC",
    "SELECT seconds // 600 AS t, COUNT(*) AS n FROM sessions GROUP BY 1",
    "SELECT c.prefecture, COUNT(*) AS n, MEDIAN(s.seconds) AS m FROM sessions AS s "
    "JOIN customers AS c ON s.customer_id = c.customer_id WHERE c.plan IN ('free', 'plus') GROUP BY 1",
    "SELECT category, SUM(amount_yen) AS y, VARIANCE(amount_yen) AS v FROM orders "
    "WHERE ordered_at >= DATE '2026-09-01' GROUP BY 1",
    "SELECT COUNT(DISTINCT customer_id) AS n FROM orders WHERE ordered_at >= DATE '2026-10-01'",
)


def names() -> list[str]:
    """The digests of each question, with bounds from the contract and from the data."""
    contracts, guard = load(CONTRACTS), Guard()
    tables = store_plan(contracts, PURPOSE, "statistics").tables
    views = {name: table.statistics for name, table in tables.items() if table.statistics is not None}
    ground = Ground(views, {}, contracts.purposes.populations, "snapshot", lambda *subject: None)
    session = Session("s", "aiko", 0, PURPOSE, "interactive", "k")
    found = []
    for sql in QUESTIONS:
        admitted = guard.admit(sql, tuple(contracts.products), STATISTICS_FUNCTIONS)
        for bounds in (None, "private"):
            try:
                question = prepare(admitted, StatisticsRequest(sql, rho="0.01", bounds=bounds), session, ground)
            except QueryUnsupported as refused:
                assert refused.code == "BOUNDS_PRIVATE_NONE"
            else:
                found.append(f"{question.asked} {question.charge.question} {question.subject}")
    guard.close()
    return found


def test_a_questions_names_are_the_same_in_every_process() -> None:
    here = names()
    assert len(here) == len(set(here)) == 2 * len(QUESTIONS) - 1
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)}
        script = "import test_digests; print(chr(10).join(test_digests.names()))"
        said = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert said.stdout.split("\n")[:-1] == here


ORDERS_OF_ONE = (
    "SELECT device, COUNT(*) AS n, AVG(seconds) AS s, MEDIAN(pages) AS m, VARIANCE(pages) AS v, "
    "COUNT(*) FILTER (WHERE pages > 3) * 1.0 / COUNT(*) AS share FROM sessions GROUP BY device HAVING COUNT(*) > 5",
    "SELECT COUNT(*) FILTER (WHERE pages > 3) * 1.0 / COUNT(*) AS share, VARIANCE(pages) AS v, MEDIAN(pages) AS m, "
    "device, AVG(seconds) AS s, COUNT(*) AS n FROM sessions GROUP BY device ORDER BY s",
)


def test_the_same_measures_are_one_charge_in_whichever_order_they_are_selected() -> None:
    contracts, guard = load(CONTRACTS), Guard()
    tables = store_plan(contracts, PURPOSE, "statistics").tables
    views = {name: table.statistics for name, table in tables.items() if table.statistics is not None}
    ground = Ground(views, {}, contracts.purposes.populations, "snapshot", lambda *subject: None)
    session = Session("s", "aiko", 0, PURPOSE, "interactive", "k")
    one, two = (
        prepare(guard.admit(sql, ("sessions",), STATISTICS_FUNCTIONS), asked, session, ground)
        for sql in ORDERS_OF_ONE
        for asked in (StatisticsRequest(sql, rho="0.01"),)
    )
    guard.close()
    assert one.charge == two.charge and one.subject == two.subject and one.asked != two.asked
    assert [figure.name for figure in two.query.figures] == ["share", "v", "m", "s", "n"]
