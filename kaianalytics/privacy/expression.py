"""Expressions over one row, as values: a typed tree that no value in the data can make fail.

Laws: every node is born with its type, and an ill-typed one can't exist; every operation is total, which means that it
raises for no value of its arguments' types (numbers that are not finite count as missing in the end); what an
expression means is written three times and compared by tests: here in Python for declared keys (`evaluation`), as SQL
for the engine (`writing`), and by DuckDB for the analyst's own text.

`operations` is the one table of operations: name, types, range, and how each is written and evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from kaianalytics.privacy.unit import ColumnType

LiteralValue = str | int | Decimal | bool | date | datetime | None


@dataclass(frozen=True)
class ColumnOf:
    """A column of one relation of the question's source, by the relation's place in it."""

    relation: int
    name: str
    type: ColumnType
    nullable: bool
    kind: str = field(default="column", init=False, repr=False)


@dataclass(frozen=True)
class Literal:
    """A constant of one type; None is NULL of that type."""

    value: LiteralValue
    type: ColumnType
    kind: str = field(default="literal", init=False, repr=False)

    @property
    def nullable(self) -> bool:
        """Whether it is NULL."""
        return self.value is None


@dataclass(frozen=True)
class Call:
    """One operation of `operations` on its arguments, made by `operations.call` alone, which checks the types."""

    operation: str
    arguments: tuple[Expression, ...]
    type: ColumnType
    nullable: bool
    kind: str = field(default="call", init=False, repr=False)


Expression = ColumnOf | Literal | Call


def walk(expression: Expression) -> Iterator[Expression]:
    """Every node of the expression, itself first."""
    yield expression
    if isinstance(expression, Call):
        for argument in expression.arguments:
            yield from walk(argument)


def columns_of(expression: Expression | None) -> frozenset[ColumnOf]:
    """The columns that the expression reads."""
    return frozenset() if expression is None else frozenset(n for n in walk(expression) if isinstance(n, ColumnOf))


def conjuncts(predicate: Expression | None) -> Iterator[Expression]:
    """The parts that must all be true for the predicate to be true."""
    if isinstance(predicate, Call) and predicate.operation == "and":
        for part in predicate.arguments:
            yield from conjuncts(part)
    elif predicate is not None:
        yield predicate
