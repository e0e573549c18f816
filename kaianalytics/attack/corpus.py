"""The statements that ship: hostile ones, each with the code of its refusal, and ordinary ones, which are admitted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

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


def _lines(name: str) -> list[str]:
    text = (files("kaianalytics.attack") / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("--")]
