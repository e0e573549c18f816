"""2,000 statements by chance: each refused, or answered as plain DuckDB answers on the permitted rows alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from fuzz.asking import directly, over_the_socket
from fuzz.making import statement
from fuzz.oracle import Ask, Oracle
from fuzz.plain import Plain
from fuzz.watching import Watch, words_of
from fuzz.world import FuzzWorld

SEED, STATEMENTS, PARTS, OVER_THE_SOCKET = 20261101, 2000, 8, 150


@pytest.fixture(scope="module")
def ask(fuzzed: FuzzWorld, plain: Plain) -> Iterator[Ask]:
    """Guard and worker in this process; nothing of them is left when they are closed."""
    plain.answer("SELECT 1")
    before = Watch(os.getpid())
    with directly(fuzzed) as asked:
        yield asked
    assert before.leaked() == ""


@pytest.fixture(scope="module")
def counts() -> Iterator[Counter[str]]:
    """What came of all statements, which says whether the stream was worth its time."""
    counted: Counter[str] = Counter()
    yield counted
    if counted.total() < STATEMENTS:
        return  # a part alone was asked for
    assert 0.35 <= 1 - counted["refused"] / STATEMENTS <= 0.65
    assert counted["right"] >= STATEMENTS / 5
    assert sum(counted[word] for word in ("out of resources", "left open", "not compared")) <= STATEMENTS / 50


@pytest.mark.parametrize("part", range(PARTS))
def test_refused_or_right(fuzzed: FuzzWorld, plain: Plain, ask: Ask, counts: Counter[str], part: int) -> None:
    oracle = Oracle(plain, fuzzed.canaries, counts=counts)
    for number in range(part * STATEMENTS // PARTS, (part + 1) * STATEMENTS // PARTS):
        oracle.origin = f"make it again with statement({SEED}, {number})"
        oracle.judge(statement(SEED, number), ask)


def test_over_the_socket_as_well_and_nothing_is_left_behind(fuzzed: FuzzWorld, plain: Plain) -> None:
    oracle = Oracle(plain, fuzzed.canaries)
    with fuzzed.gateway() as gateway:
        ask = over_the_socket(gateway)
        oracle.judge(statement(SEED, 0), ask)
        before = Watch(gateway.process.pid)
        for number in range(STATEMENTS, STATEMENTS + OVER_THE_SOCKET):
            oracle.origin = f"make it again with statement({SEED}, {number})"
            oracle.judge(statement(SEED, number), ask)
        assert before.leaked(workers=2) == ""
        assert gateway.process.poll() is None
        assert gateway.stop() == 0
    assert fuzzed.canaries_of_logs.search(words_of(fuzzed.root)) is None
    assert oracle.counts["right"] > OVER_THE_SOCKET / 8
    assert "In order" in fuzzed.kai("audit", "verify")


def test_the_same_seed_makes_the_same_statements() -> None:
    assert [statement(1, number) for number in range(50)] == [statement(1, number) for number in range(50)]
    assert (
        len({statement(1, number).sql for number in range(200)} - {statement(2, number).sql for number in range(200)})
        > 150
    )
