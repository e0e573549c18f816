"""Planted faults that the soak must catch: a lost charge, an unrecorded answer, wrong rows, another release."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.real_world import World

sys.path.insert(0, str(Path(__file__).parent))

from soak import KILLED, Load, Tally, demand_charges

from kaianalytics.client.transport import RowsAnswer
from kaianalytics.errors import Fault

QUESTION = ("aiko", "service-improvement", "SELECT COUNT(*) AS n FROM sessions WHERE seconds < 1")


class Saying:
    """A door that says what it was told to say."""

    def __init__(self, release: str, charged: bool) -> None:
        self._told = {"release": release, "charged": charged}

    def request_json(self, *_: Any) -> dict[str, Any]:
        return self._told

    def request_rows(self, *_: Any) -> RowsAnswer:
        sink = pl.DataFrame({"n": [1]}).write_ipc_stream(None)
        return RowsAnswer(sink.getvalue(), "", "")


@pytest.fixture
def load() -> Load:
    """The load's own checks, without sessions."""
    made = Load.__new__(Load)
    made._tally, made._truth = Tally(), {"SELECT 2": pl.DataFrame({"n": [2]})}
    return made


def test_a_charge_that_the_chain_lacks_and_an_answer_that_it_does_not_name_are_caught(world: World) -> None:
    tally = Tally(answered={QUESTION: "{}"}, digests={"d" * 64})
    tally.charged[QUESTION] += 1
    demand_charges(world, tally)  # type: ignore[arg-type]  # of a world it takes the chain alone
    said = " ".join(tally.findings)
    assert "1 questions were asked, 0 are charged" in said
    assert "more charges than there are" in said
    assert "1 answers of rows that clients hold are not in the chain" in said


def test_a_chain_of_nothing_asked_holds(world: World) -> None:
    tally = Tally()
    assert demand_charges(world, tally)["in the chain"] == 0  # type: ignore[arg-type]
    assert [finding for finding in tally.findings if "ledger" not in finding] == []


def test_wrong_rows_and_another_release_are_caught(load: Load) -> None:
    load.rows(Saying("", False), "SELECT 2")  # type: ignore[arg-type]
    load.statistic(Saying("one", True), QUESTION)  # type: ignore[arg-type]
    load.statistic(Saying("two", False), QUESTION)  # type: ignore[arg-type]
    load.statistic(Saying("one", True), QUESTION)  # type: ignore[arg-type]
    assert [finding.split(":")[0] for finding in load._tally.findings] == [
        "wrong rows", "asked again, it is another release or charged", "asked again, it is another release or charged",
    ]  # fmt: skip


def test_an_error_that_no_kill_explains_is_caught() -> None:
    tally = Tally()
    for code in ("INTERNAL", *sorted(KILLED)):
        tally.error("asking", Fault(code, "It broke."))
    assert len(tally.findings) == 1
