"""FROM and WITH: tables, joins and subqueries as one list of relations, each name standing for what it was made of.

Laws: a view about units stands in a question once; a subquery only filters, projects or joins, and is put in its
place, its WHERE where it would have been; anything else in it is refused by name; a query named in WITH is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kaianalytics.privacy.expression import ColumnOf, Expression
from kaianalytics.privacy.query import Relation, Source, Views
from kaianalytics.privacy.reading.functions import all_of, is_aggregate
from kaianalytics.privacy.reading.joining import Graph, Optional, ordered
from kaianalytics.privacy.reading.members import Member, among_selected
from kaianalytics.privacy.reading.naming import name_of
from kaianalytics.privacy.reading.parts import (
    Part,
    attached,
    conjuncts_of,
    join_clause,
    joined,
    joined_by_where,
    pair_of,
    scope_of,
)
from kaianalytics.privacy.reading.scalars import condition_of, expression_of
from kaianalytics.privacy.reading.scope import Scope, Table, is_unit, mapped, table_of
from kaianalytics.privacy.reading.syntax import (
    Node,
    alias_of,
    among,
    column_path,
    kind,
    names,
    not_understood,
    read,
    select_of,
    sequence,
    standing,
    star_of,
    table,
    walk_nodes,
    without_alias,
    word,
)
from kaianalytics.privacy.refusals import listed, quoted, unsupported

MAX_RELATIONS = 8
MAX_NESTING = 24

SELECT_FIELDS = (
    "type",
    "modifiers",
    "cte_map",
    "select_list",
    "from_table",
    "where_clause",
    "group_expressions",
    "group_sets",
    "aggregate_handling",
    "having",
)
_NO_TABLE = {
    "EMPTY": "VIEW_MISSING",
    "TABLE_FUNCTION": "TABLE_FUNCTION_UNSUPPORTED",
    "EXPRESSION_LIST": "VALUES_UNSUPPORTED",
}
_MATERIALIZED = ("CTE_MATERIALIZE_DEFAULT", "CTE_MATERIALIZE_ALWAYS", "CTE_MATERIALIZE_NEVER")
_MODIFIERS = {"ORDER_MODIFIER": "ORDER BY", "LIMIT_MODIFIER": "LIMIT", "DISTINCT_MODIFIER": "DISTINCT"}


@dataclass(frozen=True)
class From:
    """What FROM gives: the source, the scope over it, and the conditions of its inner joins and subqueries.

    `filters` are the conditions of WHERE that are still to be read.
    """

    source: Source
    scope: Scope
    where: tuple[Expression, ...]
    filters: tuple[Node, ...]


@dataclass(frozen=True)
class _Query:
    """A query named in WITH, the names given to its columns, and what it may itself name."""

    name: str
    node: Node
    columns: Sequence[str]
    named: Mapping[str, _Query]


def from_of(node: Node, where: Node | None, cte_map: Any, views: Views, lookups: Mapping[str, Relation]) -> From:
    """The relations of a SELECT whose FROM is `node`, beside a WHERE, and whose WITH is `cte_map`."""
    reader = _Reader(views, lookups)
    named = reader.named_in(cte_map, {})
    part, filters = reader.filtered(reader.part_of(node, named, 0), where, named, 0)
    reader.refuse_unused()
    source, places = ordered(Graph(tuple(reader.relations), part.pairs, part.optional))

    def moved(value: Expression) -> Expression:
        return mapped(value, lambda column: replace(column, relation=places[column.relation]))

    tables = [Table(one.name, {name: moved(value) for name, value in one.columns.items()}) for one in part.tables]
    merged = {name: moved(value) for name, value in part.merged.items()}
    scope = Scope(source.relations, tuple(tables), merged)
    return From(_renumbered(source, places), scope, tuple(map(moved, part.where)), tuple(filters))


def _renumbered(source: Source, places: Mapping[int, int]) -> Source:
    def moved(column: ColumnOf) -> ColumnOf:
        return replace(column, relation=places[column.relation])

    joins = [
        replace(
            join,
            on=tuple((moved(one), moved(two)) for one, two in join.on),
            where=None if join.where is None else mapped(join.where, moved),
        )
        for join in source.joins
    ]
    return replace(source, joins=tuple(joins))


class _Reader:
    """Reads FROM, numbering relations as it meets them."""

    def __init__(self, views: Views, lookups: Mapping[str, Relation]) -> None:
        self.relations: list[Relation] = []
        self._views = views
        self._lookups = lookups
        self._unused: dict[int, str] = {}

    def part_of(self, node: Node, named: Mapping[str, _Query], depth: int) -> Part:
        """One node of FROM: a table, a join or a subquery."""
        with standing(node):
            if depth > MAX_NESTING:
                raise unsupported("SUBQUERY_TOO_DEEP", limit=str(MAX_NESTING))
            if kind(node) == "BASE_TABLE":
                return self._table(node, named, depth + 1)
            if kind(node) == "JOIN":
                clause = join_clause(node)
                left, right = (self.part_of(side, named, depth + 1) for side in (clause.left, clause.right))
                return joined(clause, left, right, self.relations)
            if kind(node) == "SUBQUERY":
                _, alias, statement, columns = read(node, "type", "alias", "subquery", "column_name_alias")
                return self._query(select_of(statement), word(alias), names(columns), named, depth + 1)
            code = _NO_TABLE.get(kind(node), "SYNTAX_UNSUPPORTED")
            raise unsupported(code, views=self._known(), part="This FROM clause")

    def filtered(
        self, part: Part, where: Node | None, named: Mapping[str, _Query], depth: int
    ) -> tuple[Part, list[Node]]:
        """The part with the joins that WHERE makes, by equalities and by IN (SELECT …), and the conditions left."""
        tests = list(conjuncts_of(where))
        members = [(test, among_selected(test)) for test in tests]
        part, left = joined_by_where(part, [test for test, member in members if member is None], self.relations)
        for _, member in members:
            if member is not None:
                part = self._member(part, member, named, depth + 1)
        return part, left

    def _member(self, part: Part, member: Member, named: Mapping[str, _Query], depth: int) -> Part:
        """The part with the rows whose value is, or is not, among those that a subquery selects."""
        if depth > MAX_NESTING:
            raise unsupported("SUBQUERY_TOO_DEEP", limit=str(MAX_NESTING))
        value = scope_of(self.relations, part).any_column(member.column)
        right = self._query(member.select, "", (), named, depth)
        [values] = [list(one.columns.values()) for one in right.tables]
        pair = pair_of(value, values[0], right, self.relations) if len(values) == 1 else None
        if pair is None:
            raise unsupported("IN_UNDECLARED", column=quoted(member.column[-1]))
        named_by = self.relations[pair[0].relation].view  # whose rows without a unit count nowhere
        missing = pair[1].nullable or (pair[0].nullable and not is_unit(named_by, pair[0].name))
        if member.kind == "anti" and missing:
            raise unsupported("NOT_IN_NULL", column=quoted(member.column[-1]))
        return attached(part, right, Optional(member.kind, (pair,), all_of(right.where)), {})

    def named_in(self, cte_map: Any, outer: Mapping[str, _Query]) -> Mapping[str, _Query]:
        """The queries of a WITH clause, each of which may name those before it."""
        named = dict(outer)
        for entry in sequence(read(cte_map, "map")[0]):
            name, value = read(entry, "key", "value")
            columns, materialized, select = read(value, "aliases", "materialized", "query_node")
            if materialized not in _MATERIALIZED:
                raise not_understood("WITH")
            query = _Query(word(name), select, names(columns), dict(named))
            self._unused[id(query)] = name
            named[name.lower()] = query
        return named

    def refuse_unused(self) -> None:
        """Refuses a query of WITH that nothing names: nobody would have read it."""
        for name in self._unused.values():
            raise unsupported("CTE_UNUSED", name=quoted(name))

    def _table(self, node: Node, named: Mapping[str, _Query], depth: int) -> Part:
        name, alias, columns = table(node)
        if (query := named.get(name.lower())) is not None:
            self._unused.pop(id(query), None)
            select = select_of({"node": query.node})
            inner = self._query(select, query.name, query.columns, query.named, depth)
            return replace(inner, tables=tuple(one.called(alias, columns) for one in inner.tables))
        relation = self._relation(name)
        self.relations.append(relation)
        place = len(self.relations) - 1
        return Part((table_of(place, relation.view, alias or name).called("", columns),), (place,))

    def _relation(self, name: str) -> Relation:
        """The view or the analyst's own table of that name; a view about units only once."""
        if (known := among(name, self._views)) is not None:
            relation = Relation(self._views[known])
        elif (known := among(name, self._lookups)) is not None:
            relation = self._lookups[known]
        else:
            raise unsupported("VIEW_UNKNOWN", view=quoted(name), views=self._known())
        if relation.view.unit is not None and any(one.view.name == relation.view.name for one in self.relations):
            raise unsupported("SELF_JOIN", view=quoted(relation.view.name))
        if len(self.relations) == MAX_RELATIONS:
            raise unsupported("TOO_MANY_RELATIONS", limit=str(MAX_RELATIONS))
        return relation

    def _query(self, select: Node, name: str, columns: Sequence[str], named: Mapping[str, _Query], depth: int) -> Part:
        """A subquery, as the one table that it stands for."""
        _, modifiers, cte_map, items, source, where, groups, sets, handling, having = read(select, *SELECT_FIELDS)
        for modifier in sequence(modifiers):
            raise unsupported("SUBQUERY_SHAPE", part=_MODIFIERS.get(kind(modifier), "This part"))
        if groups != [] or sets != [] or having is not None or handling != "STANDARD_HANDLING":
            raise unsupported("SUBQUERY_SHAPE", part="GROUP BY")
        known = self.named_in(cte_map, named)
        inner, filters = self.filtered(self.part_of(source, known, depth), where, known, depth)
        scope = scope_of(self.relations, inner)
        conditions = [condition_of(one, scope) for one in filters]
        shown: dict[str, Expression] = {}
        for item in sequence(items):
            for column, value in _projected(item, scope):
                # A name that stands there twice is the first of them, as in DuckDB.
                if among(column, shown) is None:
                    shown[column] = value
        found = Table(name, shown).called("", columns)
        return replace(inner, tables=(found,), where=(*inner.where, *conditions), merged={})

    def _known(self) -> str:
        return listed((*self._views, *self._lookups))


def _projected(item: Node, scope: Scope) -> Iterator[tuple[str, Expression]]:
    """The columns that one item of a subquery's SELECT gives; a bare column may be an identifier, to be joined on."""
    with standing(item):
        if kind(item) == "STAR":
            yield from _starred(star_of(item), scope)
        elif kind(item) == "COLUMN_REF":
            path = column_path(item)
            yield alias_of(item) or path[-1], scope.any_column(path)
        elif any(map(is_aggregate, walk_nodes(item))):
            raise unsupported("SUBQUERY_SHAPE", part="An aggregate")
        else:
            yield alias_of(item) or name_of(item), expression_of(without_alias(item), scope)


def _starred(relation: str, scope: Scope) -> Iterator[tuple[str, Expression]]:
    tables = [one for one in scope.tables if not relation or one.name.lower() == relation.lower()]
    if not tables:
        raise unsupported("VIEW_UNKNOWN", view=quoted(relation), views=listed(tuple(one.name for one in scope.tables)))
    for one in tables:
        yield from one.columns.items()
