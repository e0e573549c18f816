"""`kai attack`, and what it is worth: with every layer nothing goes through; without it, what was foretold does.

An attack names the layers of which each stops it alone. So behind a wall that lacks some, exactly those go through all
of whose layers are missing; and for each layer of each attack there is a wall in which it is the only one left.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
import typer
from support.real_world import PROJECT, PYTHON
from support.without_layers import OF_THE_BUILD, built, copied, weaker_gateway

from kaianalytics.attack import layers as L
from kaianalytics.attack import suite
from kaianalytics.attack.adapting import adapted
from kaianalytics.attack.attempts import Attack, Target, Trial
from kaianalytics.attack.canaries import Canaries, Place
from kaianalytics.attack.corpus import ordinary_selects
from kaianalytics.attack.from_analysts import ROWS_ATTACKS
from kaianalytics.attack.from_outside import OUTSIDE_ATTACKS
from kaianalytics.attack.from_questions import STATISTICS_ATTACKS
from kaianalytics.attack.sources import (
    ABROAD,
    DROPPED,
    MARKED,
    NO_CONSENT,
    OPTED_OUT,
    PAST_RETENTION,
    STOPPED,
    STOPS_LATER,
)  # fmt: skip
from kaianalytics.attack.suite import Outcome, Result
from kaianalytics.attack.world import World
from kaianalytics.cli.attack import attack as command
from kaianalytics.custody.contracts import load
from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import BuildFault
from kaianalytics.policy.rules import first_day
from kaianalytics.policy.views import store_plan
from kaianalytics.records import audit
from kaianalytics.records.database import Records
from kaianalytics.sandbox import confine

CONTRACTS = PROJECT / "data_contracts"
PURPOSE = "service-improvement"
ATTACKS = (*ROWS_ATTACKS, *STATISTICS_ATTACKS, *OUTSIDE_ATTACKS)
HELD = tuple(attack for attack in ATTACKS if attack.holds)
LEAK = Trial("SELECT 1", "answered", found=frozenset({Place("somewhere")}))
FINE = Trial("SELECT 1", "refused: NO_VIEW", L.GUARD)

# what one gateway lacks; those of statistics stand apart, for where nothing is proved nothing is drawn or charged
WALLS = {
    "almost nothing": {
        L.GUARD, L.DECISION, L.STORE, L.PEOPLE, L.RETENTION, L.PSEUDONYMS, L.VERIFICATION, L.VIEW, L.SECURE_VIEW,
        L.ERROR_WORDS, L.SECOND_LOOK, L.LOCK_DOWN, L.LANDLOCK, L.CAPS, L.PROOF, L.SIGNATURE, L.AUDIENCE, L.EXPIRY,
        L.REVOCATION, L.OS_USER, L.BINDING, L.OWN_REVIEWS, L.REQUEST_SIZE,
    },
    "stores, errors and a sandbox are left": {L.GUARD, L.LOCK_DOWN, L.DECISION, L.VIEW, L.PROOF, L.SECURE_VIEW},
    "the guard and proofs are left": {
        L.STORE, L.VERIFICATION, L.VIEW, L.LOCK_DOWN, L.LANDLOCK, L.SECOND_LOOK, L.ERROR_WORDS, L.NOISE, L.LEDGER,
        L.COMMENTS,
    },
    "views and the engine's lock are left": {L.GUARD, L.LANDLOCK, L.STORE, L.VERIFICATION, L.DECISION, L.PROOF},
    "no guard, and who asked to stop is there": {L.GUARD, L.STOPS},
    "figures are drawn anew, and come at once": {L.ONE_DRAW, L.BUCKETS},
    "nothing is proved": {L.PROOF},
}  # fmt: skip
"""Which layers a gateway lacks, by what is said of it."""


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[frozenset[str], World]:
    """A world for each way of building without layers, which nobody has served."""
    ways = {frozenset(lacks & OF_THE_BUILD) for lacks in WALLS.values()}
    return {way: built(tmp_path_factory.mktemp("built") / "w", CONTRACTS, date.today(), way) for way in ways}


@pytest.mark.parametrize("wall", WALLS)
def test_what_goes_through_is_what_no_layer_holds_against(
    worlds: dict[frozenset[str], World], tmp_path: Path, wall: str
) -> None:
    lacks = WALLS[wall]
    world = copied(worlds[frozenset(lacks & OF_THE_BUILD)], tmp_path / "w")
    with weaker_gateway(world, lacks) as gateway:
        # without a guard, enough of the shipped statements that some of them are after what is there
        target = Target(gateway, PURPOSE, every=10 if L.GUARD in lacks else 60)
        through = {name(attack) for attack in HELD if goes_through(attack, target)}
    missing = lacks | ({L.LANDLOCK} if confine.missing() else set())
    foretold = {name(attack) for attack in HELD if set(attack.holds) <= missing}
    assert (sorted(through - foretold), sorted(foretold - through)) == ([], [])


def goes_through(attack: Attack, target: Target) -> bool:
    return any(attack.went_through(trial, target) for trial in attack.tries(target))


def name(attack: Attack) -> str:
    return f"{attack.door}: {attack.name}"


def test_a_store_that_is_not_as_planned_is_not_published(tmp_path: Path) -> None:
    """Where raw keys are written for pseudonyms, and the verification is there."""
    with pytest.raises(BuildFault) as stopped:
        built(tmp_path / "w", CONTRACTS, date.today(), {L.PSEUDONYMS})
    assert stopped.value.code == "VERIFICATION"


def test_each_layer_of_each_attack_is_once_the_only_one_left_and_once_missing_with_the_others() -> None:
    lacking = [*WALLS.values(), {L.PSEUDONYMS}]  # the last is the build that is not published
    for attack in HELD:
        holds = set(attack.holds)
        assert any(holds <= lacks for lacks in lacking), f"nothing shows that this could work: {attack.name}"
        for layer in holds:
            others = holds - {layer}
            assert any(others <= lacks and layer not in lacks for lacks in lacking), (attack.name, layer)
    of_kernels = {"limits", "cgroups", "namespaces", "capabilities", "seccomp"}  # in test_kernel_attacks, as here
    assert {layer for attack in HELD for layer in attack.holds} | of_kernels | {L.DOOR} == set(L.LAYERS)


# The command


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command says of the sample contracts, typed by a custodian who has a home."""
    folder = tmp_path_factory.mktemp("owner")
    Home.create(folder / "home", CONTRACTS, folder / "sources")
    Keys.create(Home.open(folder / "home"))
    environment = {**os.environ, "KAI_HOME": str(folder / "home"), "TMPDIR": str(folder), "COLUMNS": "160"}
    command = [PYTHON.parent / "kai", "attack", "--quick", "--json", folder / "a.json", "--html", folder / "a.html"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    read = json.loads((folder / "a.json").read_text(encoding="utf-8"))
    return {**read, "code": done.returncode, "said": done.stdout, "folder": folder}


def test_the_command_finds_nothing_in_the_sample_contracts_and_says_what_stopped_it(found: dict[str, Any]) -> None:
    assert (found["code"], found["went_through"]) == (0, 0), found["said"]
    assert "0 went through" in found["said"]
    doors = {attack["door"].partition(":")[0] for attack in found["attacks"]}
    inside = set() if confine.missing() else {"kernel", "worker"}
    assert doors == {"rows", "statistics", "socket", "logs"} | inside
    assert {attack["purpose"] for attack in found["attacks"]} == {"ad-targeting", "campaign-analysis", PURPOSE}
    made = {attack["attack"] for attack in found["attacks"] if attack["stopped_by"]}
    assert {attack.name for attack in ATTACKS} <= made


def test_the_command_saw_canaries_where_they_may_be_seen(found: dict[str, Any]) -> None:
    assert set(found["seen_where_it_may_be"]) == {"ad-targeting", "campaign-analysis", PURPOSE}
    assert all(found["seen_where_it_may_be"].values())


def test_the_command_leaves_an_event_in_the_owners_chain_and_nothing_else(found: dict[str, Any]) -> None:
    folder: Path = found["folder"]
    home = Home.open(folder / "home")
    with closing(Records.of(home, Keys.load(home))) as records, records.reading() as view:
        (event,) = audit.events(view)
    assert (event.kind, event.facts()["went_through"]) == ("attack.run", 0)
    assert event.facts()["tries"] == found["tries"]
    left = {path.name for path in folder.iterdir()} - {"home", "a.json", "a.html"}
    assert not left, f"the copy was not removed: {left}"


def test_a_page_shows_every_try_and_runs_nothing(found: dict[str, Any]) -> None:
    page = (found["folder"] / "a.html").read_text(encoding="utf-8")
    assert "<script" not in page and page.count("<li>") == found["tries"]


# What the command itself could get wrong


def test_planted_fault_a_search_that_finds_nothing_is_noticed() -> None:
    outcome = Outcome(controlled={"ads", "care"})
    outcome.seen["ads"] = 3
    assert outcome.blind == ["care"]


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(),
        Outcome([Result("a", "rows", "p", (), (LEAK,), (LEAK,))]),
        Outcome([Result("a", "rows", "p", (), (FINE,), ())], controlled={"p"}),
    ],
    ids=["nothing was tried", "a canary came back", "nothing was seen where it may be"],
)
def test_the_command_fails_where_it_must(outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAI_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(suite, "run", lambda order, tell: outcome)
    with pytest.raises(typer.Exit) as ended:
        command(contracts=CONTRACTS)
    assert ended.value.exit_code == 1


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("string", lambda value: f"x{value.upper()}y"),
        ("string", lambda value: value.replace(value[-1], "q")),
        ("integer", lambda value: f"[[{value}]]"),
        ("integer", lambda value: f"{value}.0"),
        ("number", str),
        ("date", lambda value: f"{value} 00:00:00"),
        ("timestamp", lambda value: value.isoformat()),
    ],
)
def test_a_canary_is_found_however_it_is_written(kind: Any, shown: Callable[[Any], str]) -> None:
    canaries, place = Canaries(Random(1)), Place("here", "p", "c")
    value = canaries.value(kind, place)
    assert canaries.found(shown(value)) == {place}
    assert canaries.found(shown(value), said=shown(value)) == frozenset()
    assert canaries.found("712345 1733-01-01 canary and all else") == frozenset()


@pytest.mark.parametrize("kind", ["string", "integer", "number", "timestamp"])
def test_a_canary_is_found_in_the_bytes_of_an_answer_even_beneath_a_null(kind: Any) -> None:
    canaries, place = Canaries(Random(2)), Place("here", "p", "c")
    column = pa.array([canaries.value(kind, place)])
    nothing = pa.Array.from_buffers(column.type, 1, [pa.py_buffer(b"\0"), *column.buffers()[1:]])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pa.schema([("x", column.type)])) as stream:
        stream.write_batch(pa.record_batch([nothing], names=["x"]))
    assert canaries.found(sink.getvalue()) == {place}


def test_the_end_of_one_value_and_the_beginning_of_the_next_are_no_canary() -> None:
    canaries = Canaries(Random(4))
    word = str(canaries.value("string", Place("here")))
    cut = f"{word[:10]}{word}{word[:10]}"  # as texts lie in a column: one behind the other
    assert canaries.found(b"\xff" + cut.encode()) == {Place("here")}
    assert canaries.found(cut.encode()) == {Place("here"), Place("an altered canary")}


def test_a_day_of_who_may_not_be_there_is_found_in_every_class_that_is_made_of_it() -> None:
    canaries, place = Canaries(Random(3)), Place("here", "p", "c")
    day = canaries.value("date", place, of_nobody=True)
    assert isinstance(day, date)
    for part in ("week", "month", "year", "decade"):
        assert canaries.found(str(first_day(day, part))) == {place}  # type: ignore[arg-type]


def test_who_may_not_be_there_has_canaries_in_each_column_that_can_hold_one(tmp_path: Path) -> None:
    made = World.create(tmp_path / "w", CONTRACTS, date.today(), seed=5).made
    for kind in (MARKED, STOPPED, OPTED_OUT, ABROAD, NO_CONSENT, STOPS_LATER):
        for column in ("device", "service", "pages", "seconds", "referrer"):
            assert made.planted(Place(kind, "sessions", column)) is not None, (kind, column)
    assert made.planted(Place(PAST_RETENTION, "sessions", "device"))
    assert made.planted(Place(DROPPED, "sessions", "referrer"))
    assert made.planted(Place(DROPPED, "sessions", "device")) is None  # which some purpose shows as it is


def test_statements_stay_as_they_are_on_the_views_they_were_written_for_and_lose_no_other_name() -> None:
    contracts = load(CONTRACTS)
    own = store_plan(contracts, PURPOSE, "rows").tables
    assert adapted(ordinary_selects(), own, contracts.products) == list(ordinary_selects())
    ads = store_plan(contracts, "ad-targeting", "rows").tables
    (changed,) = adapted(["SELECT device, 'orders' FROM SESSIONS AS s"], ads, ["ad_impressions"])
    assert changed == "SELECT placement, 'ad_impressions' FROM ad_impressions AS s"
