"""The page of measurements: medians and percentiles by hand, and what must not stand on it."""

from __future__ import annotations

import platform
import re
import time
from datetime import date
from pathlib import Path

import pytest
from children import ROOT, run
from machine import facts
from measured import Series, in_turns
from page import Table, duration, page, ratio
from parts import parts

TABLE = Table("Asking", "Warm.", ("question", "p50"), [("`kai.sql`", duration(0.0123))])


def test_the_median_and_the_95th_of_a_hundred() -> None:
    series = Series(tuple(float(n) for n in range(100, 0, -1)))
    assert (series.median, series.p95, series.p99, series.times) == (50.5, 95.0, 99.0, 100)


def test_the_95th_of_few_is_the_largest() -> None:
    assert Series((0.2, 0.9, 0.1)).p95 == 0.9


def test_nothing_measured_is_no_series() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Series(())


def test_compared_things_are_measured_in_turns() -> None:
    order: list[str] = []
    taken = in_turns(2, {"a": lambda turn: order.append(f"a{turn}"), "b": lambda turn: order.append(f"b{turn}")})
    assert order == ["a0", "b0", "a1", "b1"]
    assert taken["a"].times == taken["b"].times == 2


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0001234, "0.12 ms"), (0.0123, "12.3 ms"), (1.234, "1.2 s"), (99.94, "99.9 s"), (123.4, "123 s")],
)
def test_durations_as_people_read_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_ratio_is_of_medians() -> None:
    assert ratio(Series((0.01, 0.03, 0.5)), Series((0.001, 0.002, 0.9))) == "15.0 ×"


def test_a_row_of_another_width_is_no_table() -> None:
    with pytest.raises(ValueError, match="other columns"):
        Table("Asking", "", ("question", "p50"), [("`kai.sql`",)])


def test_the_page_tells_the_run_and_names_no_machine() -> None:
    text = page(facts("python tests/benchmarks/run.py --large", 0.5, date(2026, 11, 1)), [TABLE])
    assert "| `kai.sql` | 12.3 ms |" in text
    assert "`python tests/benchmarks/run.py --large`" in text and "2026-11-01" in text
    assert str(ROOT) not in text
    assert not re.search(rf"\b{re.escape(platform.node() or 'localhost')}\b", text)


def test_a_command_is_timed_and_its_memory_is_its_own() -> None:
    ran = run(["python3", "-c", "import time; held = bytearray(300_000_000); time.sleep(0.2)"])
    assert ran.seconds > 0.2
    assert ran.peak > 300_000_000


def test_a_command_that_fails_gives_no_figure() -> None:
    before = time.perf_counter()
    with pytest.raises(RuntimeError, match="ended with 3"):
        run(["python3", "-c", "import sys; print('why'); sys.exit(3)"])
    assert time.perf_counter() - before < 30


def test_each_part_of_a_question_is_measured_in_the_room_as_it_is(tmp_path: Path) -> None:
    rows = parts(tmp_path / "parts", ROOT / "data_contracts").rows
    assert len(rows) == 5 and all(median != "–" and int(times) > 50 for _, median, _, times in rows)
