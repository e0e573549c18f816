"""The gateway killed, doubled, put back and stopped: every charge is kept, and nothing is left behind."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from support.real_world import Asker, Gateway, World, running_processes, soon
from support.waiting import Waiting, own_worker

from kaianalytics.errors import KaiError
from kaianalytics.privacy.loss import PrivacyLoss

KILLS = 5
RHO = "0.0001"
ENDLESS = "SELECT SUM(sqrt(a.pages + b.pages + c.pages)) AS x FROM sessions AS a, sessions AS b, sessions AS c"


@pytest.fixture(autouse=True)
def _meanwhile(frozen: object, dripping: object) -> None:
    """While these tests run, another gateway's slow clients wait for their time to be up."""


def question(number: int) -> str:
    """A question that no other number asks."""
    return f"SELECT COUNT(*) AS n FROM sessions WHERE seconds < {number}"


def asked_until_killed(asker: Asker, numbers: Sequence[int], answers: dict[int, str]) -> None:
    """Ask one question after another, and keep what was answered, until the gateway is gone."""
    for number in numbers:
        try:
            answers[number] = asker.stats(question(number), RHO)["release"]
        except KaiError as error:
            assert error.code in {"ANSWER_CUT_SHORT", "GATEWAY_AWAY"}
            return


def outcomes(world: World) -> list[str]:
    """What came of each question, as the chain has it."""
    return [event.facts()["outcome"] for event in world.events("statistics.asked")]


def gone(*pids: int) -> bool:
    """Whether none of the processes runs."""
    return not set(pids) & set(running_processes())


def left_behind(world: World) -> list[str]:
    """What a gateway has put in place while it runs."""
    return [file.name for file in (world.home.socket_path, world.home.gateway_info) if file.exists()]


def test_killed_at_any_moment_it_keeps_every_charge_and_charges_no_question_twice(world: World) -> None:
    chance = random.Random(20261101)
    answers: dict[int, str] = {}
    users = ("aiko", "kaito")
    asked_by: dict[int, str] = {0: "aiko"}
    asked = 1
    for _ in range(KILLS):
        gateway = world.start()
        askers = [gateway.session(user) for user in users]
        for asker in askers:  # a worker each, so that what is killed is a question and not a start
            asker.stats(question(0), RHO)
        share = [range(asked + number, asked + 80, 2) for number in range(2)]
        asked_by |= {number: user for user, numbers in zip(users, share, strict=True) for number in numbers}
        threads = [
            threading.Thread(target=asked_until_killed, args=(asker, numbers, answers), daemon=True)
            for asker, numbers in zip(askers, share, strict=True)
        ]
        known = len(answers)
        for thread in threads:
            thread.start()
        assert soon(lambda known=known: len(answers) > known)  # however slow the machine is
        time.sleep(chance.uniform(0.0, 0.2))
        workers = gateway.workers()
        gateway.kill()
        for thread in threads:
            thread.join(10)
        assert soon(lambda pids=tuple(workers): gone(*pids)), "a worker outlived its gateway"
        asked = max([asked, *answers]) + 4  # a question of each may have been cut short past the last answer
    with world.gateway() as gateway:
        askers = {user: gateway.session(user) for user in users}  # a charge is redeemed by who was charged
        again = {number: askers[asked_by[number]].stats(question(number), RHO) for number in range(asked)}
        assert "In order" in world.kai("audit", "verify")
    assert answers, "no kill came late enough for an answer"
    assert {number: again[number]["release"] for number in answers} == answers
    assert not any(again[number]["charged"] for number in answers)
    charged = [event for event in world.events("statistics.asked") if event.facts()["outcome"] == "charged"]
    assert len(charged) == asked  # each question once, whatever was killed between
    assert {event.facts()["rho_units"] for event in charged} == {PrivacyLoss.of(RHO).rho_units}


def test_a_charge_whose_release_was_never_recorded_is_redeemed_once(world: World) -> None:
    with world.gateway() as gateway:
        asker = gateway.session()
        asker.stats(question(1), RHO)
        os.kill(own_worker(gateway, set()), signal.SIGSTOP)  # the read will not come back
        cut_short: list[Any] = []
        thread = threading.Thread(target=lambda: asked_until_killed(asker, [2], dict(cut_short)), daemon=True)
        thread.start()
        assert soon(lambda: outcomes(world) == ["charged", "charged"])
        gateway.kill()
        thread.join(10)
    with world.gateway() as gateway:
        first, second = (gateway.session().stats(question(2), RHO) for _ in range(2))
        assert json.loads(first["release"])["release_id"] == json.loads(second["release"])["release_id"]
        assert first["remaining"]["account"] == second["remaining"]["account"]
    assert outcomes(world) == ["charged", "charged", "redeemed", "repeated"]


def test_a_second_gateway_is_told_which_process_holds_the_home(gateway: Gateway) -> None:
    second = gateway.world.type("gateway", "serve")
    assert second.code == 2
    assert "HOME_HELD" in second.said
    assert f"process {gateway.process.pid}" in second.said
    assert left_behind(gateway.world) == ["gateway.sock", "gateway.json"]
    assert gateway.session().one("SELECT COUNT(*) AS n FROM sessions") > 0


def test_an_older_ledger_put_back_is_noticed_and_nothing_starts(world: World) -> None:
    records = world.home.records.parent
    with world.gateway() as gateway:
        gateway.session().stats(question(1), RHO)
    shutil.copytree(records, world.root / "backup")
    with world.gateway() as gateway:
        gateway.session().stats(question(2), RHO)
    shutil.rmtree(records)
    shutil.copytree(world.root / "backup", records)
    for command in (("gateway", "serve"), ("audit", "verify"), ("stop", "C0000001")):
        refused = world.type(*command)
        assert refused.code == 2, command
        assert "LEDGER_ROLLED_BACK" in refused.said, command
    assert left_behind(world) == []


def test_stopped_it_leaves_no_socket_no_announcement_and_no_worker(world: World) -> None:
    gateway = world.start()
    asker = gateway.session()
    assert asker.one("SELECT COUNT(*) AS n FROM sessions") > 0
    waiting = Waiting(asker, ENDLESS)
    time.sleep(0.3)
    workers = gateway.workers()
    assert left_behind(world) == ["gateway.sock", "gateway.json"]
    assert gateway.stop() == 0
    assert left_behind(world) == []
    assert soon(lambda: gone(*workers)) and workers
    assert waiting.ended() == "CANCELLED"
    assert (world.home.root / "run" / "gateway.lock").read_bytes() == b""


def test_killed_it_leaves_no_worker_and_the_next_takes_its_place(world: World) -> None:
    gateway = world.start()
    waiting = Waiting(asker := gateway.session(), ENDLESS)
    assert soon(lambda: bool(gateway.workers()))
    workers = gateway.workers()
    gateway.kill()
    assert soon(lambda: gone(*workers))
    assert waiting.ended() == "ANSWER_CUT_SHORT"
    with world.gateway() as after:
        revived = Asker(asker.token, Gateway(world, after.process).door(asker.token), asker.grant)
        assert revived.one("SELECT COUNT(*) AS n FROM sessions") > 0  # the token outlives the process
