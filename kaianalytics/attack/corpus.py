"""The statements that ship: hostile ones, each with the code of its refusal, and ordinary ones, which are admitted.

`hostile_statements.sql` was written by hand, one attack a line. `every_place.sql` is multiplied out: each forbidden
thing in each place where a statement may hold such a thing, and beside it the fine thing in the same place, so that
what is refused is refused for what it holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files

from kaianalytics.errors import GuardRefused

VIEWS = ("sessions", "orders", "customers")
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")


@dataclass(frozen=True)
class Hostile:
    """One hostile statement, and the code of the guard's refusal."""

    code: str
    sql: str


def hostile_statements() -> tuple[Hostile, ...]:
    """Every hostile statement of `hostile_statements.sql`, whose lines are `CODE | statement`."""
    pairs = (line.split(" |", 1) for line in _lines("hostile_statements.sql"))
    return tuple(Hostile(code, _ESCAPE.sub(lambda found: chr(int(found[1], 16)), sql)) for code, sql in pairs)


def ordinary_selects() -> tuple[str, ...]:
    """Every ordinary statement of `ordinary_selects.sql`, one a line, on views named sessions, orders and customers."""
    return tuple(_lines("ordinary_selects.sql"))


def hostile_in_every_place() -> tuple[Hostile, ...]:
    """Each forbidden thing of `every_place.sql` in each place of its sort."""
    return tuple(
        Hostile(words[2], _put(place, thing))
        for words, thing in _of_every_place("forbidden")
        for place in _places(words[1])
    )


def fine_in_every_place() -> tuple[str, ...]:
    """The fine thing of each sort in each place of its sort."""
    return tuple(_put(place, thing) for words, thing in _of_every_place("fine") for place in _places(words[1]))


def one_of_each_shape() -> tuple[str, ...]:
    """Statements that together have every part of a tree that any of them has."""
    return (*(one.sql for one in hostile_statements()), *ordinary_selects(), *fine_in_every_place())


def misjudged(judge: Callable[[str], object]) -> Iterator[tuple[str, str]]:
    """The statements that a judge treats otherwise than they should be, each with what happened.

    `judge` returns for what it admits, and raises GuardRefused for what it refuses.
    """
    for one in (*hostile_statements(), *hostile_in_every_place()):
        found = _outcome(judge, one.sql)
        if found != one.code:
            yield one.sql, f"{found} instead of {one.code}"
    for sql in (*ordinary_selects(), *fine_in_every_place()):
        found = _outcome(judge, sql)
        if found != _ADMITTED:
            yield sql, f"{found} instead of {_ADMITTED}"


_ADMITTED = "admitted"


def _outcome(judge: Callable[[str], object], sql: str) -> str:
    try:
        judge(sql)
    except GuardRefused as refusal:
        return refusal.code
    return _ADMITTED


def _places(sort: str) -> Iterator[str]:
    return (place for words, place in _of_every_place("place") if words[1] == sort)


def _of_every_place(what: str) -> Iterator[tuple[list[str], str]]:
    for line in _lines("every_place.sql"):
        head, _, text = line.partition(" | ")
        if (words := head.split())[0] == what:
            yield words, text


def _put(place: str, thing: str) -> str:
    """The statement with the thing in its place; as in `str.format`, a doubled brace is one."""
    return "{".join(part.replace("{}", thing).replace("}}", "}") for part in place.split("{{"))


def _lines(name: str) -> list[str]:
    text = (files("kaianalytics.attack") / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("--")]
