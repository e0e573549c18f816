"""The parts of FROM, and what a JOIN makes of two of them.

Laws: an equality of two columns along a declared relationship joins; any other condition is a filter, in which no
identifier is read; a join without such an equality is refused by name, as is every kind of join but INNER, LEFT, SEMI
and ANTI, of which the last two show nothing of their right side. Tables that only a comma or CROSS JOIN puts together
are joined by such equalities of the WHERE beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kaianalytics.privacy.expression import ColumnOf, Expression
from kaianalytics.privacy.expressions.operations import call
from kaianalytics.privacy.query import JoinKind, Relation
from kaianalytics.privacy.reading.functions import all_of
from kaianalytics.privacy.reading.joining import Optional, Pair, related, relationships
from kaianalytics.privacy.reading.literals import met
from kaianalytics.privacy.reading.scalars import MAX_DEPTH, condition_of
from kaianalytics.privacy.reading.scope import Scope, Table, optional
from kaianalytics.privacy.reading.syntax import Node, alias_of, column_path, kind, names, read, sequence
from kaianalytics.privacy.refusals import listed, quoted, unsupported

_KINDS: Mapping[str, JoinKind] = {"INNER": "inner", "LEFT": "left", "SEMI": "semi", "ANTI": "anti"}
_NO_JOIN = {
    "RIGHT": "JOIN_RIGHT",
    "FULL": "JOIN_FULL",
    "NATURAL": "JOIN_NATURAL",
    "ASOF": "JOIN_ASOF",
}


@dataclass(frozen=True)
class Part:
    """What one part of FROM gives; `members` are its relations, numbered as they are met in the text."""

    tables: tuple[Table, ...]
    members: tuple[int, ...]
    pairs: tuple[Pair, ...] = ()
    optional: Mapping[int, Optional] = field(default_factory=dict)
    where: tuple[Expression, ...] = ()
    merged: Mapping[str, Expression] = field(default_factory=dict)
    crossed: bool = False  # whether some of it is left to WHERE to join


@dataclass(frozen=True)
class JoinClause:
    """A JOIN as written: its two sides, its kind, its ON and its USING, neither of which is there if `crossed`."""

    left: Node
    right: Node
    kind: JoinKind
    on: Node | None
    using: Sequence[str]
    crossed: bool


def join_clause(node: Node) -> JoinClause:
    """The parts of a JOIN, once it is sure that it is of a known kind with a condition, or left to WHERE."""
    fields = ("type", "left", "right", "condition", "join_type", "ref_type", "using_columns", "is_implicit")
    _, left, right, condition, join_type, ref_type, using, implicit = read(node, *fields)
    for word, plain in ((ref_type, ("REGULAR", "CROSS")), (join_type, tuple(_KINDS))):
        if word not in plain:
            raise unsupported(_NO_JOIN.get(str(word), "SYNTAX_UNSUPPORTED"), part="This join")
    crossed = (ref_type, join_type, condition, using) == ("CROSS", "INNER", None, [])
    if not crossed and (implicit is not False or (condition is None) != bool(using) or ref_type == "CROSS"):
        raise unsupported("SYNTAX_UNSUPPORTED", part="This join")
    return JoinClause(left, right, _KINDS[join_type], condition, names(using), crossed)


def joined(clause: JoinClause, left: Part, right: Part, relations: Sequence[Relation]) -> Part:
    """The two sides as one part."""
    _refuse_same_names(left, right)
    if clause.crossed:
        return replace(_inner(left, right, (), (), {}), crossed=True)
    scope = scope_of(relations, left, right)
    sides = _sides(clause, scope, scope_of(relations, left), scope_of(relations, right))
    pairs, others = _divided(sides, right, relations)
    if not pairs:
        raise _undeclared(sides, left, right, relations)
    where = [_filter(one, two, scope) for one, two in others]
    where += [condition_of(part, scope) for part in conjuncts_of(clause.on) if _equality(part) is None]
    merged = {name: scope_of(relations, left).any_column((name,)) for name in clause.using}
    if clause.kind == "inner":
        return _inner(left, right, tuple(pairs), tuple(where), merged)
    return attached(left, right, Optional(clause.kind, tuple(pairs), all_of((*right.where, *where))), merged)


def scope_of(relations: Sequence[Relation], *parts: Part) -> Scope:
    """What may be named over some parts of FROM."""
    merged = {name: value for part in parts for name, value in part.merged.items()}
    return Scope(relations, tuple(table for part in parts for table in part.tables), merged)


def _inner(
    left: Part, right: Part, pairs: tuple[Pair, ...], where: tuple[Expression, ...], merged: Mapping[str, Expression]
) -> Part:
    return Part(
        (*left.tables, *right.tables),
        (*left.members, *right.members),
        (*left.pairs, *right.pairs, *pairs),
        {**left.optional, **right.optional},
        (*left.where, *right.where, *where),
        {**left.merged, **right.merged, **merged},
        left.crossed or right.crossed,
    )


def attached(left: Part, right: Part, how: Optional, merged: Mapping[str, Expression]) -> Part:
    """The left side with one relation attached to it, of which a SEMI or ANTI JOIN shows nothing."""
    if len(right.members) != 1:
        raise unsupported("LEFT_JOIN_NESTED")
    shown = tuple(map(optional, right.tables)) if how.kind == "left" else ()
    return Part(
        (*left.tables, *shown),
        (*left.members, *right.members),
        left.pairs,
        {**left.optional, right.members[0]: how},
        left.where,
        {**left.merged, **merged},
        left.crossed,
    )


def joined_by_where(part: Part, where: Sequence[Node], relations: Sequence[Relation]) -> tuple[Part, list[Node]]:
    """The part with the joins that were left to the conditions of its WHERE, and the conditions that are left."""
    if not part.crossed:
        return part, list(where)
    scope, pairs, left = scope_of(relations, part), list(part.pairs), []
    for condition in where:
        pair = _pair_of(condition, part, scope)
        if pair is None:
            left.append(condition)
        else:
            pairs.append(pair)
    if not _connected(part.members, [*pairs, *(pair for one in part.optional.values() for pair in one.on)]):
        raise unsupported("JOIN_CROSS")
    return replace(part, pairs=tuple(pairs), crossed=False), left


def _pair_of(condition: Node, part: Part, scope: Scope) -> Pair | None:
    """The two columns that a condition of WHERE joins; a column that may be missing joins nothing."""
    paths = _equality(condition)
    if paths is None or not all(scope.has(path[-1]) for path in paths):
        return None
    one, two = map(scope.any_column, paths)
    if not isinstance(one, ColumnOf) or not isinstance(two, ColumnOf) or not related(one, two, scope.relations):
        return None
    return None if {one.relation, two.relation} & part.optional.keys() else (one, two)


def _connected(members: Sequence[int], pairs: Sequence[Pair]) -> bool:
    met, reached = {members[0]}, 0
    while len(met) > reached:
        reached = len(met)
        for one, two in pairs:
            if {one.relation, two.relation} & met:
                met |= {one.relation, two.relation}
    return met >= set(members)


Sides = list[tuple[Expression, Expression]]


def _sides(clause: JoinClause, scope: Scope, left: Scope, right: Scope) -> Sides:
    """The two sides of each equality of columns in ON or USING."""
    sides = [(left.any_column((name,)), right.any_column((name,))) for name in clause.using]
    equal = [paths for part in conjuncts_of(clause.on) if (paths := _equality(part)) is not None]
    return sides + [(scope.any_column(one), scope.any_column(two)) for one, two in equal]


def _divided(sides: Sides, right: Part, relations: Sequence[Relation]) -> tuple[list[Pair], Sides]:
    """The equalities along which the join goes, its own side second, and the others."""
    pairs, others = [], []
    for one, two in sides:
        pair = pair_of(one, two, right, relations) or pair_of(two, one, right, relations)
        if pair is None:
            others.append((one, two))
        else:
            pairs.append(pair)
    return pairs, others


def pair_of(one: Expression, two: Expression, right: Part, relations: Sequence[Relation]) -> Pair | None:
    """The pair of two columns, the second of the right side, if a join may go along it."""
    if not isinstance(one, ColumnOf) or not isinstance(two, ColumnOf):
        return None
    crosses = two.relation in right.members and one.relation not in right.members
    return (one, two) if crosses and related(one, two, relations) else None


def _filter(one: Expression, two: Expression, scope: Scope) -> Expression:
    if scope.identifying(one) or scope.identifying(two):
        raise unsupported("JOIN_UNDECLARED", columns=_said(one, two), declared="none between them")
    return call("=", *met((one, two)))


def _undeclared(sides: Sides, left: Part, right: Part, relations: Sequence[Relation]) -> Exception:
    if not sides:
        return unsupported("JOIN_NOT_EQUI")
    declared = listed(tuple(relationships(left.members, right.members, relations)))
    return unsupported("JOIN_UNDECLARED", columns=_said(*sides[0]), declared=declared)


def _said(*sides: Expression) -> str:
    return " and ".join(quoted(side.name) if isinstance(side, ColumnOf) else "an expression" for side in sides)


def conjuncts_of(node: Node | None, depth: int = 0) -> Iterator[Node]:
    """The conditions that a condition puts together by AND."""
    if node is None:
        return
    if kind(node) == "CONJUNCTION_AND" and depth < MAX_DEPTH:
        for child in sequence(read(node, "class", "type", "children")[-1]):
            yield from conjuncts_of(child, depth + 1)
    else:
        yield node


def _equality(node: Node) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The names of two columns that a condition makes equal; None for any other condition."""
    if kind(node) != "COMPARE_EQUAL" or alias_of(node):
        return None
    _, _, left, right = read(node, "class", "type", "left", "right")
    if any(kind(side) != "COLUMN_REF" or alias_of(side) for side in (left, right)):
        return None
    return column_path(left), column_path(right)


def _refuse_same_names(left: Part, right: Part) -> None:
    taken = {table.name.lower() for table in left.tables}
    for table in right.tables:
        if table.name and table.name.lower() in taken:
            raise unsupported("TABLE_NAME_REPEATED", name=quoted(table.name))
