"""Attacks from inside a SQL worker: the whole table in real workers, with every layer, and with layers taken away.

What goes through is foretold exactly, and alike on every thread: the one that opened the store, one from before the
engine, one from after seccomp, and the engine's own. So a layer that nothing needs, an attack that could never work, a
hole, and a thread that a layer does not reach are all the same thing: a test that fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from support.worker_kit import view_over

from kaianalytics.attack.from_workers import (
    ATTACKS,
    CALLS,
    CAPABILITIES,
    LANDLOCK,
    LAYERS,
    LIMITS,
    LOCK,
    SECCOMP,
    STATEMENTS,
    Attack,
    Facts,
)
from kaianalytics.attack.in_workers import MAIN, THREADS, Victim, surroundings, victim
from kaianalytics.gateway.workers.process import StoreSpec, WorkerLimits
from kaianalytics.sandbox import confine

pytestmark = pytest.mark.skipif(bool(confine.missing()), reason=confine.missing())

BOUNDS = WorkerLimits(memory_mib=256, threads=4)
WALLS: dict[str, frozenset[str]] = {
    "the whole wall": frozenset(),
    "no Landlock": frozenset({LANDLOCK}),
    "no seccomp": frozenset({SECCOMP}),
    "the engine is not locked": frozenset({LOCK}),
    "no limits": frozenset({LIMITS}),
    "capabilities kept": frozenset({CAPABILITIES}),
    "no Landlock, and the engine is not locked": frozenset({LANDLOCK, LOCK}),
    "no Landlock and no seccomp": frozenset({LANDLOCK, SECCOMP}),
    "the engine's lock alone": LAYERS - {LOCK},
    "Landlock alone": LAYERS - {LANDLOCK},
    "seccomp alone": LAYERS - {SECCOMP},
    "no wall at all": LAYERS,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StoreSpec, Facts]]:
    stores = tmp_path_factory.mktemp("stores")
    for name in ("own", "other"):
        with duckdb.connect(str(stores / f"{name}.duckdb")) as connection:
            connection.execute("CREATE TABLE sessions AS SELECT 'C' || i AS unit FROM range(9) AS t(i)")
    spec = StoreSpec("ad-targeting", "rows", stores / "own.duckdb", (view_over("sessions", "unit"),))
    folder = tmp_path_factory.mktemp("surroundings")
    with surroundings(folder, spec.path, stores / "other.duckdb", BOUNDS) as facts:
        yield spec, facts


@pytest.fixture(scope="module", params=WALLS)
def attacked(request: pytest.FixtureRequest, world: tuple[StoreSpec, Facts]) -> Iterator[tuple[frozenset[str], Victim]]:
    without = WALLS[request.param]
    with victim(world[0], BOUNDS, without, world[1]) as made:
        yield without, made


def can_be_made(attack: Attack) -> bool:
    return not attack.as_root or os.geteuid() == 0


@pytest.mark.parametrize("thread", THREADS)
def test_what_goes_through_is_what_no_layer_holds_against(attacked: tuple[frozenset[str], Victim], thread: str) -> None:
    without, worker = attacked
    made = [attack for attack in (ATTACKS if thread == MAIN else CALLS) if can_be_made(attack)]
    through = {attack.name for attack in made if worker.lets_through(attack, thread)}
    foretold = {attack.name for attack in made if attack.stopped_by <= without}
    optional = {attack.name for attack in made if attack.optional}
    assert (sorted(through - foretold), sorted(foretold - through - optional)) == ([], [])


def test_layers_hold_on_every_thread_of_the_worker(attacked: tuple[frozenset[str], Victim]) -> None:
    without, worker = attacked
    tasks = list(Path(f"/proc/{worker.pid}/task").iterdir())
    told = {(fact("NoNewPrivs", task), fact("Seccomp", task), fact("CapEff", task) == "0" * 16) for task in tasks}
    unprivileged = os.geteuid() != 0 or CAPABILITIES not in without
    given_up = fact("NoNewPrivs", Path("/proc/self"))  # whoever runs the tests may have it already
    alone = given_up if {CAPABILITIES, LANDLOCK, SECCOMP} <= without else "1"
    assert told == {(alone, "0" if SECCOMP in without else "2", unprivileged)}
    assert len(tasks) > 4  # ours and the engine's


def fact(name: str, task: Path) -> str:
    """One line of what the system says of a thread."""
    lines = (task / "status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


def test_every_layer_is_needed_by_an_attack_that_nothing_else_stops() -> None:
    alone = {attack.holds[0] for attack in ATTACKS if len(attack.holds) == 1}
    assert alone == LAYERS
    assert len(CALLS) >= 40 and len(STATEMENTS) >= 10
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
