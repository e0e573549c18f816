"""Answers of the real gateway on its real socket: as plain DuckDB has them, repeated free, and never over budget."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import duckdb
import polars as pl
import pytest
from support.real_world import Gateway, World

from kaianalytics.errors import BudgetRefused, KaiError
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.protocol import API

ROW_QUESTIONS = (
    ("service-improvement", "SELECT COUNT(*) AS n, SUM(pages) AS pages FROM sessions"),
    ("service-improvement", "SELECT device, service, COUNT(*) AS n, AVG(seconds) AS s FROM sessions GROUP BY ALL"),
    ("service-improvement", "SELECT * FROM sessions"),
    ("service-improvement", "SELECT customer_id, MAX(started_at) AS last FROM sessions GROUP BY customer_id"),
    ("ad-targeting", "SELECT placement, SUM(cost_yen) AS cost FROM ad_impressions WHERE clicked GROUP BY placement"),
    (
        "campaign-analysis",
        "WITH spent AS (SELECT customer_id, SUM(amount_yen) AS yen FROM orders GROUP BY customer_id) "
        "SELECT c.arm, COUNT(*) AS n, SUM(s.yen) AS yen FROM campaign_contacts AS c "
        "LEFT JOIN spent AS s ON s.customer_id = c.customer_id GROUP BY c.arm",
    ),
)


def figures(answer: dict[str, Any]) -> list[list[Any]]:
    """The rows of a release."""
    rows: list[list[Any]] = json.loads(answer["release"])["rows"]
    return rows


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame in one order of rows."""
    return frame.sort(frame.columns)


@pytest.mark.parametrize(("purpose", "sql"), ROW_QUESTIONS)
def test_rows_are_what_plain_duckdb_reads_in_the_store(gateway: Gateway, purpose: str, sql: str) -> None:
    answer = gateway.session("aiko", purpose).rows(sql)
    with duckdb.connect(str(gateway.world.store(purpose)), read_only=True) as plain:
        expected = plain.sql(sql).pl()
    assert in_order(answer).equals(in_order(expected))
    assert answer.height > 0


def test_a_release_lies_within_its_error_bars_of_the_bounded_truth(gateway: Gateway) -> None:
    answer = gateway.session().stats("SELECT COUNT(*) AS people FROM customers", rho="0.02")
    [[noisy]] = figures(answer)
    with duckdb.connect(str(gateway.world.store("service-improvement", "statistics")), read_only=True) as plain:
        [(exact,)] = plain.sql("SELECT COUNT(*) FROM customers").fetchall()
    [[margin]] = json.loads(answer["release"])["margins"]
    assert abs(noisy - exact) < 5 * margin  # one in 10²⁰ runs is outside
    assert margin > 1


def test_a_repeat_is_free_and_byte_identical_for_every_kernel_and_user_of_the_purpose(gateway: Gateway) -> None:
    sql = "SELECT service, COUNT(*) AS visits FROM sessions GROUP BY service"
    first = gateway.session("aiko").stats(sql)
    left = first["remaining"]["account"]
    again = gateway.session("aiko").stats(f"  {sql.lower().replace('select', 'SELECT')}  -- the same", rho="0.001")
    others = gateway.session("kaito").stats(sql)
    assert (first["charged"], again["charged"], others["charged"]) == (True, False, False)
    assert first["release"] == again["release"] == others["release"]
    assert again["remaining"]["account"] == others["remaining"]["account"] == left


def test_another_price_or_another_purpose_is_another_question(gateway: Gateway) -> None:
    sql = "SELECT COUNT(*) AS n FROM sessions WHERE device = 'tablet'"
    session = gateway.session()
    first, dearer = session.stats(sql, "0.0011"), session.stats(sql, "0.0012")
    elsewhere = gateway.session("aiko", "ad-targeting").stats(sql, "0.0011")
    assert first["charged"] and dearer["charged"] and elsewhere["charged"]
    assert len({first["release"], dearer["release"], elsewhere["release"]}) == 3


def test_identical_questions_at_one_time_are_charged_once(gateway: Gateway) -> None:
    sql = "SELECT device, SUM(pages) AS pages FROM sessions GROUP BY device"
    sessions = [gateway.session(user) for user in ("aiko", "kaito", "aiko", "kaito")]
    together = threading.Barrier(len(sessions))

    def ask(number: int) -> dict[str, Any]:
        together.wait()
        return sessions[number].stats(sql, "0.0013")

    with ThreadPoolExecutor(len(sessions)) as threads:
        answers = list(threads.map(ask, range(len(sessions))))
    assert sorted(answer["charged"] for answer in answers) == [False, False, False, True]
    assert len({answer["release"] for answer in answers}) == 1


def test_64_at_one_time_with_budget_for_ten_get_exactly_ten(world: World) -> None:
    world.edit("purposes.yaml", 'service-improvement: {rho: "0.4"', 'service-improvement: {rho: "0.0109"')
    world.kai("build", "--as-of", "2026-11-01")
    together = threading.Barrier(64)

    def ask(number: int) -> str:
        asker = gateway.session("aiko" if number % 2 else "kaito")
        together.wait()
        try:
            asker.stats(f"SELECT COUNT(*) AS n FROM sessions WHERE seconds < {number + 1}", rho="0.001")
        except KaiError as refused:
            assert isinstance(refused, BudgetRefused)
            return refused.code
        return "answered"

    with world.gateway() as gateway:
        with ThreadPoolExecutor(64) as threads:
            outcomes = sorted(threads.map(ask, range(64)))
        budget = gateway.session().door.request_json("GET", f"{API}/budget")
        purpose = next(line for line in budget["lines"] if line["name"] == "purpose")
    assert outcomes == ["PURPOSE_CAP"] * 54 + ["answered"] * 10
    assert (purpose["spent"], purpose["remaining"]) == ("0.01", "0.0009")
    charged = [event for event in world.events("statistics.asked") if event.facts().get("outcome") == "charged"]
    assert sum(event.facts()["rho_units"] for event in charged) == 10 * PrivacyLoss.of("0.001").rho_units
    assert all("is open" in " ".join(event.facts()["grounds"]) for event in charged)  # a decision carries its reasons
