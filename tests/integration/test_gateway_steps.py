"""The statistics walk killed between every two steps: never undercounted, nothing recorded lost, redeemed once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.real_world import World
from support.walker import SESSION, STEPS, enforcement

from kaianalytics.gateway.tokens import Session
from kaianalytics.protocol import StatisticsRequest
from kaianalytics.records.database import Records

WALKER = Path(__file__).parents[1] / "support" / "walker.py"
ROOT = Path(__file__).parents[2]
CHARGED = STEPS.index("charge committed")  # from here on the account has paid
RELEASED = STEPS.index("release committed")  # from here on the answer is recorded
BOUNDS = ("", "private")


@pytest.fixture(scope="module")
def walked(template: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A home whose gateway has started once, so that its caps are declared."""
    world = template.copy(tmp_path_factory.mktemp("walked"))
    with world.gateway():
        pass
    return world


def killed(world: World, step: str, sql: str, bounds: str) -> bytes:
    """What a process said that asked, and was killed after a step."""
    command = [sys.executable, str(WALKER), str(world.home.root), step, sql, bounds]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{WALKER.parents[1]}"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, f"it lived past {step!r}"
    return done.stdout


def paid(world: World) -> tuple[int, int]:
    """How many charges there are and what they add up to, once it is sure that the chain says the same."""
    records = Records.of(world.home, world.keys)
    try:
        found = records.verify()
        return found.charges, found.spent["customers"].rho_units
    finally:
        records.close()


def outcomes(world: World, after: int) -> list[str]:
    return [event.facts()["outcome"] for event in world.events("statistics.asked", after=after)]


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("step", STEPS)
def test_killed_after_a_step_it_owes_what_it_has_read_and_keeps_what_it_released(
    walked: World, step: str, bounds: str
) -> None:
    number = STEPS.index(step) + len(STEPS) * BOUNDS.index(bounds)
    sql = f"SELECT device, COUNT(*) AS n FROM sessions WHERE pages > {number % 20} AND seconds > {number} GROUP BY 1"
    asked = StatisticsRequest(sql, rho="0.0003", bounds=bounds or None)
    before, last = paid(walked), walked.last_event()
    said = killed(walked, step, sql, bounds)
    at = STEPS.index(step)
    after = paid(walked)
    assert after[0] - before[0] == (at >= CHARGED)
    assert (after[1] > before[1]) == (at >= CHARGED)
    with enforcement(walked.home) as point:
        first, second = (point.answer_statistics(SESSION, asked) for _ in range(2))
        others = point.answer_statistics(Session(**{**vars(SESSION), "user": "kaito"}), asked)
    expected = "charged" if at < CHARGED else "redeemed" if at < RELEASED else "repeated"
    assert outcomes(walked, last)[-3:] == [expected, "repeated", "repeated"]
    assert [answer["charged"] for answer in (first, second, others)] == [expected != "repeated", False, False]
    assert first["release"] == second["release"] == others["release"]
    if said:
        assert json.loads(said)["release"] == first["release"]
    assert paid(walked)[0] - before[0] == 1  # whatever was killed, the question was paid for once


def test_a_charge_that_was_redeemed_and_lost_again_is_paid_for_again(walked: World) -> None:
    sql = "SELECT COUNT(*) AS lost FROM sessions WHERE pages > 3"
    before, last = paid(walked)[0], walked.last_event()
    for _ in range(2):
        killed(walked, "read", sql, "")
    assert outcomes(walked, last) == ["charged", "redeemed"]
    with enforcement(walked.home) as point:
        assert point.answer_statistics(SESSION, StatisticsRequest(sql, rho="0.0003"))["charged"]
    assert outcomes(walked, last) == ["charged", "redeemed", "charged"]
    assert paid(walked)[0] - before == 2


def test_nobody_redeems_anothers_charge(walked: World) -> None:
    sql = "SELECT COUNT(*) AS theirs FROM sessions WHERE pages > 4"
    last = walked.last_event()
    killed(walked, "charged", sql, "")
    asked: Any = StatisticsRequest(sql, rho="0.0003")
    with enforcement(walked.home) as point:
        point.answer_statistics(Session(**{**vars(SESSION), "user": "kaito"}), asked)
    assert outcomes(walked, last) == ["charged", "charged"]
