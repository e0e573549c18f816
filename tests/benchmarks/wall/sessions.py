"""How many sessions can be opened in a second, and what small questions take while many sessions ask."""

from __future__ import annotations

import duckdb
from asking import ROWS, THREADS, Asker
from measured import Series, repeated
from page import Table, duration

from kaianalytics.client.connection import Connection
from wall.bars import SESSION_SECONDS, Part, at_most
from wall.load import Ask, Load, load

SESSIONS = (1, 16, 64)
SECONDS, PACE = 6.0, 1.0
OPENERS, FIRST = 8, 20


def sessions(askers: list[Asker]) -> Part:
    """Both tables; the gateway must be running. Sessions are spread evenly over the askers, who are users."""
    opened = {number: load([_opening(asker) for asker in askers[:number]], SECONDS / 2) for number in (1, OPENERS)}
    first = _first_answers(askers[0])
    asked = _asked(askers)
    held = at_most(
        "a session's worker: its first answer beside its second",
        first.median, SESSION_SECONDS, "the fork, its layers, the store opened, its views made and read",
    )  # fmt: skip
    return Part([held], [_openings(opened, first), _questions(asked)])


def _opening(asker: Asker) -> Ask:
    def ask() -> None:
        asker.close(asker.open())

    return ask


def _first_answers(asker: Asker) -> Series:
    """What the first question of a session takes longer than the second, of sessions opened before."""
    open_ = [asker.open() for _ in range(FIRST)]
    firsts = repeated(FIRST, lambda turn: open_[turn].sql(ROWS))
    seconds = repeated(FIRST, lambda turn: open_[turn].sql(ROWS))
    for session in open_:
        asker.close(session)
    return Series(tuple(a - b for a, b in zip(firsts.seconds, seconds.seconds, strict=True)))


def _asked(askers: list[Asker]) -> dict[tuple[int, str], tuple[Load, Load | None]]:
    found: dict[tuple[int, str], tuple[Load, Load | None]] = {}
    for number in SESSIONS:
        whose = [askers[i % len(askers)] for i in range(number)]
        open_ = [asker.open() for asker in whose]
        asks = [_small(session) for session in open_]
        with duckdb.connect(str(askers[0].store("rows")), read_only=True, config={"threads": THREADS}) as plain:
            beside = load([_exact(plain.cursor()) for _ in range(number)], SECONDS / 2)
        found[number, "back to back"] = load(asks, SECONDS), beside
        found[number, "one a second"] = load(asks, SECONDS, PACE), None
        for asker, session in zip(whose, open_, strict=True):
            asker.close(session)
    return found


def _small(session: Connection) -> Ask:
    return lambda: session.sql(ROWS)


def _exact(cursor: duckdb.DuckDBPyConnection) -> Ask:
    return lambda: cursor.sql(ROWS).pl()


def _openings(opened: dict[int, Load], first: Series) -> Table:
    words = (
        "A session is opened under an identity and closed by its own token; both are recorded. Its worker starts with "
        f"the first question: what that takes beside the second, in {first.times} sessions, is the worker's start."
    )
    rows = [
        (f"opened and closed, {number} at a time", f"{each.rate:.0f} a second", duration(each.taken.median))
        for number, each in opened.items()
    ]
    rows.append(("a worker's start", "", duration(first.median)))
    return Table("Sessions", words, ("what", "rate", "median"), rows)


def _questions(asked: dict[tuple[int, str], tuple[Load, Load | None]]) -> Table:
    words = (
        f"One small question over and over for {SECONDS:.0f} seconds, from so many sessions of several users. Back to "
        "back, they wait for the cores and for each other's records; one a second each is as busy people ask. "
        "Beside it, as many threads of one process on plain DuckDB."
    )
    rows = []
    for (number, pace), (ours, beside) in asked.items():
        exact = ("", "") if beside is None else (duration(beside.taken.median), duration(beside.taken.p99))
        spans = (duration(ours.taken.median), duration(ours.taken.p99))
        rows.append((str(number), pace, f"{ours.rate:.0f}", *spans, *exact, str(ours.taken.times)))
    columns = ("sessions", "pace", "answers a second", "p50", "p99", "DuckDB p50", "DuckDB p99", "n")
    return Table("Small questions", words, columns, rows)
