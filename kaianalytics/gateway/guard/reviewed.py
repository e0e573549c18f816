"""What was reviewed of the one engine that the guard knows: its functions and types, in families that stand or fall.

`reviewed.toml` beside this is the source of truth; this reads it and proves its shape. Laws:

1. A function stands once per kind, a type and a collation once, each in a family with a decision and a reason.
2. Whatever function is refused says what to do instead.
3. A table that breaks a law is no table: nothing starts with it.
"""

from __future__ import annotations

import shlex
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from kaianalytics.errors import Fault

FILE = Path(__file__).with_name("reviewed.toml")

# The engine's own words for what a function is, and `unlisted` for what it calls without listing it.
KINDS = ("scalar", "macro", "aggregate", "window", "table", "table_macro", "pragma", "unlisted")


class Decision(StrEnum):
    """What is decided of a family."""

    ADMITTED = "admitted"
    OPERATORS = "operators"  # admitted where written as operators
    STATISTICS = "statistics"  # admitted for statistics alone
    REFUSED = "refused"


@dataclass(frozen=True)
class Family:
    """Functions that stand or fall together: by kind, with the decision, its reason, and what to do instead."""

    title: str
    decision: Decision
    reason: str
    instead: str
    names: Mapping[str, frozenset[str]]

    @property
    def all_names(self) -> frozenset[str]:
        """Its functions of every kind."""
        return frozenset().union(*self.names.values())


@dataclass(frozen=True)
class TypeFamily:
    """Types that stand or fall together."""

    title: str
    decision: Decision
    reason: str
    names: frozenset[str]


@dataclass(frozen=True)
class Reviewed:
    """All that was reviewed of one engine."""

    engine: str
    families: tuple[Family, ...]
    types: tuple[TypeFamily, ...]
    collations: frozenset[str]
    collations_reason: str

    @property
    def functions(self) -> frozenset[tuple[str, str]]:
        """Every reviewed function as (name, kind), those apart that the engine does not list."""
        return frozenset(
            (name, kind)
            for family in self.families
            for kind, names in family.names.items()
            if kind != "unlisted"
            for name in names
        )

    @property
    def type_names(self) -> frozenset[str]:
        """Every reviewed type."""
        return frozenset().union(*(family.names for family in self.types))

    def names(self, *decisions: Decision, kinds: Iterable[str] = KINDS) -> frozenset[str]:
        """The functions of some kinds for which one of the decisions stands."""
        families = [family for family in self.families if family.decision in decisions]
        return frozenset(name for family in families for kind in kinds for name in family.names.get(kind, ()))


@cache
def reviewed() -> Reviewed:
    """The package's own table."""
    return read(FILE.read_text(encoding="utf-8"))


def read(text: str) -> Reviewed:
    """A table from its text; ENGINE_TABLE where it breaks a law of this module."""
    try:
        told = tomllib.loads(text)
        made = Reviewed(
            engine=str(told["engine"]),
            families=tuple(_family(entry) for entry in told["family"]),
            types=tuple(_types(entry) for entry in told["types"]),
            collations=frozenset(_once("a collation", _words(told["collations"]["names"]))),
            collations_reason=str(told["collations"]["reason"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _broken("it is not written as its first lines say") from error
    _once("a function", [(name, kind) for family in made.families for kind in KINDS for name in family.names[kind]])
    _once("a type", [name for family in made.types for name in family.names])
    return made


def _family(entry: Mapping[str, Any]) -> Family:
    decision, reason, instead = Decision(entry["decision"]), str(entry["reason"]), str(entry.get("instead", ""))
    if entry.keys() - {"title", "decision", "reason", "instead", *KINDS} or not reason:
        raise _broken(f"the family `{entry['title']}` is not written as its first lines say")
    if (decision is Decision.REFUSED) != bool(instead):
        raise _broken(f"the family `{entry['title']}` says what to do instead exactly if it is refused")
    names = {kind: frozenset(_once("a function", _words(entry.get(kind, "")))) for kind in KINDS}
    return Family(str(entry["title"]), decision, reason, instead, names)


def _types(entry: Mapping[str, Any]) -> TypeFamily:
    names = frozenset(_once("a type", _words(entry["names"])))
    return TypeFamily(str(entry["title"]), Decision(entry["decision"]), str(entry["reason"]), names)


def _words(text: str) -> list[str]:
    return [" ".join(name.split()) for name in shlex.split(text)]


def _once(what: str, names: list[Any]) -> list[Any]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise _broken(f"{what} stands in it twice: {twice[0]}")
    return names


def _broken(how: str) -> Fault:
    return Fault(
        "ENGINE_TABLE",
        f"The reviewed table of the engine can't be used: {how}.",
        rule="each function stands once, in a family with a decision and a reason (gateway/guard/reviewed.py)",
        hint="mend reviewed.toml, then `kai engine check`",
    )
