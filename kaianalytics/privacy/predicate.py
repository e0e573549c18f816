"""Filters as values: small frozen nodes, and their truth on one row under SQL's three-valued logic.

Laws: every node is total, which means that no value of its column can make it fail; a column meets literals of its own
type only; a row is kept where the filter is true, neither where it is false nor where it is unknown. `truth` is used on
declared keys, never on data: the data is filtered by the engine, with the SQL of the same nodes; each node carries its
`kind` as a field, so that a digest over fields alone tells AND from OR.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from kaianalytics.privacy.unit import ColumnType, KeyValue

LiteralValue = str | int | Decimal | bool | date | datetime
Operator = Literal["=", "<>", "<", "<=", ">", ">=", "is distinct from", "is not distinct from"]

LITERAL_TYPES: Mapping[ColumnType, type] = {
    "string": str,
    "integer": int,
    "number": Decimal,
    "boolean": bool,
    "date": date,
    "timestamp": datetime,
}

_COMPARE: Mapping[Operator, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "is distinct from": operator.ne,
    "is not distinct from": operator.eq,
}


@dataclass(frozen=True)
class Constant:
    """TRUE or FALSE."""

    value: bool
    kind: str = field(default="constant", init=False, repr=False)


@dataclass(frozen=True)
class Flag:
    """A bare boolean column."""

    column: str
    kind: str = field(default="flag", init=False, repr=False)


@dataclass(frozen=True)
class Missing:
    """`column IS NULL`."""

    column: str
    kind: str = field(default="missing", init=False, repr=False)


@dataclass(frozen=True)
class Comparison:
    """A column compared with one literal."""

    column: str
    operator: Operator
    value: LiteralValue
    kind: str = field(default="comparison", init=False, repr=False)


@dataclass(frozen=True)
class Membership:
    """`column IN (literals)`."""

    column: str
    values: tuple[LiteralValue, ...]
    kind: str = field(default="membership", init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a membership lists at least one value")


@dataclass(frozen=True)
class Pattern:
    """`column LIKE 'pattern'`, without an escape character."""

    column: str
    pattern: str
    kind: str = field(default="pattern", init=False, repr=False)


@dataclass(frozen=True)
class Not:
    """The opposite; unknown stays unknown."""

    child: Predicate
    kind: str = field(default="not", init=False, repr=False)


@dataclass(frozen=True)
class All:
    """Predicates joined by AND."""

    children: tuple[Predicate, ...]
    kind: str = field(default="all", init=False, repr=False)


@dataclass(frozen=True)
class Some:
    """Predicates joined by OR."""

    children: tuple[Predicate, ...]
    kind: str = field(default="some", init=False, repr=False)


Leaf = Constant | Flag | Missing | Comparison | Membership | Pattern
Predicate = Leaf | Not | All | Some


def leaves(predicate: Predicate) -> Iterator[Leaf]:
    """Every leaf of the filter."""
    match predicate:
        case Not(child):
            yield from leaves(child)
        case All(children) | Some(children):
            for child in children:
                yield from leaves(child)
        case _:
            yield predicate


def columns_of(predicate: Predicate) -> frozenset[str]:
    """The names of the columns that the filter reads."""
    return frozenset(leaf.column for leaf in leaves(predicate) if not isinstance(leaf, Constant))


def conjuncts(predicate: Predicate | None) -> Iterator[Predicate]:
    """The parts that must all be true for the filter to be true."""
    if isinstance(predicate, All):
        for child in predicate.children:
            yield from conjuncts(child)
    elif predicate is not None:
        yield predicate


def truth(predicate: Predicate, row: Mapping[str, KeyValue]) -> bool | None:
    """Whether the filter is true, false or unknown (None) on one row of declared keys."""
    match predicate:
        case Not(child):
            inner = truth(child, row)
            return None if inner is None else not inner
        case All(children):
            return _joined([truth(child, row) for child in children], decisive=False)
        case Some(children):
            return _joined([truth(child, row) for child in children], decisive=True)
        case Constant(value):
            return value
        case _:
            return _leaf_truth(predicate, row[predicate.column])


def _joined(parts: list[bool | None], *, decisive: bool) -> bool | None:
    if decisive in parts:
        return decisive
    return None if None in parts else not decisive


def _leaf_truth(leaf: Flag | Missing | Comparison | Membership | Pattern, value: KeyValue) -> bool | None:
    if isinstance(leaf, Missing):
        return value is None
    if isinstance(leaf, Comparison) and leaf.operator in ("is distinct from", "is not distinct from"):
        return _COMPARE[leaf.operator](value, leaf.value)
    if value is None:
        return None
    match leaf:
        case Flag():
            return bool(value)
        case Membership(_, values):
            return value in values
        case Pattern(_, pattern):
            return _like(pattern, str(value))
        case Comparison(_, comparison, literal):
            return _COMPARE[comparison](value, literal)


def _like(pattern: str, text: str) -> bool:
    # Greedy with one step back to the last %, so that no pattern takes longer than pattern × text.
    at, star, resume, here = 0, -1, 0, 0
    while here < len(text):
        if at < len(pattern) and pattern[at] == "%":
            star, resume, at = at, here, at + 1
        elif at < len(pattern) and pattern[at] in ("_", text[here]):
            at, here = at + 1, here + 1
        elif star >= 0:
            at, resume = star + 1, resume + 1
            here = resume
        else:
            return False
    return not pattern[at:].strip("%")
