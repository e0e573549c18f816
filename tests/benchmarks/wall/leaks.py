"""Thousands of sessions opened, asked and closed: what the gateway holds before, and after."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from asking import ROWS, Asker
from page import Table, duration, megabytes
from support.leftovers import Leftovers, left_by, resident

from wall.bars import BYTES_A_SESSION, Part, at_most, nothing_of

SESSIONS, AT_ONCE, WARM, POINTS = 2_000, 4, 48, 20
SETTLE_SECONDS = 10.0
_UNEXPLAINED = "not explained: it comes in steps, and neither caches nor something kept has been shown to be all of it"


@dataclass(frozen=True)
class Point:
    """The gateway's memory after so many sessions."""

    sessions: int
    resident: int


def leaks(askers: list[Asker], pid: int, temporary: Path, sessions: int = SESSIONS) -> Part:
    """What is left; `pid` is the gateway's, which nobody else may be asking, and `temporary` its TMPDIR."""
    folders = askers[0].home.root, temporary
    _through(askers, WARM, at_once=3 * AT_ONCE)  # what is made once, or kept for the next, is made now
    time.sleep(2)  # workers that were told to end have ended
    before, started = left_by(pid, *folders), time.perf_counter()
    points = [Point(0, resident(pid))]
    while points[-1].sessions < sessions:
        _through(askers, sessions // POINTS)
        points.append(Point(points[-1].sessions + sessions // POINTS, resident(pid)))
    took = time.perf_counter() - started
    after = _settled(pid, folders, before)
    slope, line = _slope(points), _line(points[len(points) // 2 :])
    held = [
        nothing_of("processes left by closed sessions", after.processes - before.processes),
        nothing_of("descriptors of the gateway left", after.descriptors - before.descriptors),
        nothing_of("threads of the gateway left", after.threads - before.threads),
        nothing_of("files left in the home and in temporary folders", len(after.files - before.files)),
        at_most("memory that a closed session leaves", max(slope, 0.0), BYTES_A_SESSION, _UNEXPLAINED, _bytes),
    ]
    words = (
        f"{sessions:,} sessions, {AT_ONCE} at a time, each asking one question, in {duration(took)}: "
        f"{sessions / took:.0f} a second. Memory is the gateway's; what each leaves is the median of {POINTS} "
        f"steps. A line through the later half, which a step of a cache tilts, rises by {_bytes(line)} a session."
    )
    rows = [(f"{each.sessions:,}", megabytes(each.resident)) for each in (points[0], *points[4::4])]
    return Part(held, [Table("What sessions leave", words, ("sessions so far", "gateway's memory"), rows)])


def _through(askers: list[Asker], number: int, at_once: int = AT_ONCE) -> None:
    def one(turn: int) -> None:
        asker = askers[turn % len(askers)]
        session = asker.open()
        session.sql(ROWS)
        asker.close(session)

    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(one, range(number)))


def _settled(pid: int, folders: tuple[Path, Path], before: Leftovers) -> Leftovers:
    """What there is once it is no more than before, or once it had the time to become so."""
    until = time.monotonic() + SETTLE_SECONDS
    while (now := left_by(pid, *folders)).more_than(before) and time.monotonic() < until:
        time.sleep(0.2)
    return now


def _slope(points: list[Point]) -> float:
    """Bytes a session, by the median of all steps: what is kept of each is in most of them, a cache's growth in few."""
    steps = pairwise(points)
    return statistics.median((after.resident - at.resident) / (after.sessions - at.sessions) for at, after in steps)


def _line(points: list[Point]) -> float:
    """Bytes a session, by least squares."""
    xs, ys = [float(point.sessions) for point in points], [float(point.resident) for point in points]
    return statistics.linear_regression(xs, ys).slope


def _bytes(count: float) -> str:
    return f"{count:,.0f} bytes"
