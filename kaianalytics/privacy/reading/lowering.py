"""From an admitted parse tree to a `StatisticsQuery`, or to the refusal that names what can't be proved private.

Laws: it adds nothing that the statement doesn't say; each field of the tree is read or proved empty; nothing but the
tree, the contract's public facts and the analyst's own tables is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kaianalytics.privacy.expression import Call, Expression, Literal, columns_of
from kaianalytics.privacy.expressions.signatures import literal_integer
from kaianalytics.privacy.query import (
    MAX_FIGURES,
    After,
    Figure,
    Key,
    KeyColumn,
    Measure,
    Ordering,
    Relation,
    StatisticsQuery,
    Views,
)
from kaianalytics.privacy.reading.after import Afterwards, of_key
from kaianalytics.privacy.reading.aggregates import Aggregates, Worth, supported_by
from kaianalytics.privacy.reading.aliases import spelled_out
from kaianalytics.privacy.reading.functions import all_of, is_aggregate
from kaianalytics.privacy.reading.keys import KEYED, Domains
from kaianalytics.privacy.reading.literals import literal_of_text
from kaianalytics.privacy.reading.naming import name_of
from kaianalytics.privacy.reading.scalars import Columns, condition_of, expression_of, not_a_value
from kaianalytics.privacy.reading.scope import Scope
from kaianalytics.privacy.reading.sources import SELECT_FIELDS, From, from_of
from kaianalytics.privacy.reading.syntax import (
    Node,
    alias_of,
    constant,
    is_window,
    kind,
    read,
    same_name,
    sequence,
    standing,
    the_select,
    walk_nodes,
    without_alias,
)
from kaianalytics.privacy.refusals import quoted, unsupported

MAX_ROWS = 2**31  # of LIMIT and OFFSET


@dataclass(frozen=True)
class _Item:
    """One item of the SELECT: its node without a name, its name, and whether it has aggregates in it."""

    node: Node
    name: str
    alias: str
    noisy: bool


def lower(tree: Mapping[str, Any], views: Views, lookups: Mapping[str, Relation] | None = None) -> StatisticsQuery:
    """The question that an admitted statement asks of `views`; QueryUnsupported, with the way on, for all else.

    `tree` is the whole JSON object of DuckDB's `json_serialize_sql`, as the guard admitted it; `lookups` are the
    analyst's own tables by name, each a relation with its rows.
    """
    fields = read(the_select(tree), *SELECT_FIELDS)
    _, modifiers, cte_map, nodes, from_node, where_node, groups, sets, handling, having = fields
    written = [_item(node, node) for node in sequence(nodes)]
    if any(kind(modifier) == "DISTINCT_MODIFIER" for modifier in sequence(modifiers)):
        raise unsupported("DISTINCT_UNSUPPORTED")
    if not any(item.noisy for item in written):
        raise unsupported("NO_AGGREGATE")
    source = from_of(from_node, where_node, cte_map, views, lookups or {})
    items = [_item(*pair) for pair in zip(spelled_out(nodes, source.scope), nodes, strict=True)]
    row = _Row(source.scope, items)
    where = all_of((*source.where, *(condition_of(one, row) for one in source.filters)))
    keys = _keys(items, groups, sets, handling, source.scope)
    return _Answer(items, keys, where, source).query(having, sequence(modifiers))


def _item(node: Any, written: Any) -> _Item:
    """One item of the SELECT, once it is sure that it is an expression; it is named as it is `written`."""
    with standing(node):
        if kind(node) in ("STAR", "SUBQUERY", "VALUE_PARAMETER") or is_window(node) or not kind(node):
            raise not_a_value(node)
        for inner in filter(is_window, walk_nodes(node)):
            with standing(inner):
                raise unsupported("WINDOW_UNSUPPORTED")
        alias = alias_of(node)
        noisy = any(map(is_aggregate, walk_nodes(node)))
        return _Item(without_alias(node), alias or name_of(written), alias, noisy)


@dataclass(frozen=True)
class _Row:
    """The columns of a row, and after them, as in DuckDB, the aliases that the SELECT gives to expressions of a row."""

    scope: Scope
    items: Sequence[_Item]

    def column(self, path: tuple[str, ...]) -> Expression:
        """What a name stands for."""
        aliased = [item for item in self.items if item.alias and same_name(item.alias, path[0])]
        if len(path) > 1 or not aliased or self.scope.has(path[0]):
            return self.scope.column(path)
        if aliased[0].noisy:
            raise unsupported("AGGREGATE_MISPLACED", function=quoted(path[0]))
        return expression_of(aliased[0].node, self.scope)


# --- keys


def _keys(items: Sequence[_Item], groups: Any, sets: Any, handling: Any, scope: Scope) -> tuple[Expression, ...]:
    """The grouping expressions, in the order of the SELECT."""
    plain = [item for item in items if not item.noisy]
    if (handling, groups, sets) == ("FORCE_AGGREGATES", [], []):  # GROUP BY ALL: whatever is selected is grouped by
        grouped = [_key(item.node, scope) for item in plain]
    else:
        # One set of all expressions is a plain GROUP BY; any other is ROLLUP, CUBE, GROUPING SETS or ().
        standard = isinstance(groups, list) and sets == ([list(range(len(groups)))] if groups else [])
        if not standard or handling != "STANDARD_HANDLING":
            raise unsupported("GROUPING_SETS_UNSUPPORTED")
        grouped = [_group(node, items, _Row(scope, items)) for node in groups]
    selected = list(_selected(plain, grouped, scope))
    for key in grouped:
        if key not in selected:
            raise unsupported("KEY_NOT_SELECTED", column=_said(key))
    return tuple(dict.fromkeys(selected))


def _selected(plain: Sequence[_Item], grouped: Sequence[Expression], scope: Scope) -> Iterator[Expression]:
    for item in plain:
        with standing(item.node):
            key = expression_of(item.node, scope)
            if key not in grouped:
                code = "COLUMN_UNGROUPED" if kind(item.node) == "COLUMN_REF" or not grouped else "KEY_EXPRESSION"
                raise unsupported(code, column=quoted(item.name))
            yield key


def _group(node: Any, items: Sequence[_Item], row: _Row) -> Expression:
    """A term of GROUP BY: a position, or an expression of columns and aliases."""
    with standing(node):
        if kind(node) != "VALUE_CONSTANT":
            return _key(node, row)
        position = literal_of_text(*constant(node)).value
        if not isinstance(position, int) or not 1 <= position <= len(items) or items[position - 1].noisy:
            raise unsupported("GROUP_EXPRESSION")
        return _key(items[position - 1].node, row.scope)


def _key(node: Node, columns: Columns) -> Expression:
    with standing(node):
        expression = expression_of(node, columns)
        if not columns_of(expression):
            raise unsupported("GROUP_CONSTANT")
        if expression.type not in KEYED:
            raise unsupported("GROUP_NUMBER", column=_said(expression))
        return expression


def _said(expression: Expression) -> str:
    return "An expression" if isinstance(expression, Call | Literal) else quoted(expression.name)


# --- what is shown


@dataclass(frozen=True)
class _Column:
    """A column of the answer: what it is worth, and the key that it is, if it is one."""

    name: str
    worth: Worth
    key: int | None = None


class _Answer:
    """The parts of the answer, read in the order in which measures get their places: SELECT, HAVING, ORDER BY."""

    def __init__(
        self, items: Sequence[_Item], keys: tuple[Expression, ...], where: Expression | None, source: From
    ) -> None:
        self._source, self._where, self._keys = source, where, keys
        self._aggregates = Aggregates(source.scope, Domains(source.source, where))
        self._items = [tuple(self._columns(item)) for item in items]
        self._select = [column for columns in self._items for column in columns]
        _check_select(items, self._select)

    def query(self, having: Node | None, modifiers: Sequence[Node]) -> StatisticsQuery:
        """The whole question."""
        named = {column.name.lower(): column.worth for column in self._select}
        after = Afterwards(self._source.scope, self._keys, self._aggregates, named)
        condition = None if having is None else _condition(after.worth(having))
        order, limit, offset = self._modified(modifiers, after)
        measures = tuple(self._aggregates.measures)
        domains = Domains(self._source.source, self._where)
        return StatisticsQuery(
            source=self._source.source,
            where=self._where,
            keys=tuple(Key(key, domains.of(key)) for key in self._keys),
            measures=measures,
            select=tuple(_shown(column, measures) for column in self._select),
            having=condition,
            order=order,
            limit=limit,
            offset=offset,
        )

    def _columns(self, item: _Item) -> Iterator[_Column]:
        """The columns that one item of the SELECT gives: several for a histogram, a top list, a list of quantiles."""
        with standing(item.node):
            if not item.noisy:
                place = self._keys.index(expression_of(item.node, self._source.scope))
                yield _Column(item.name, of_key(place, self._keys[place]), place)
            elif is_aggregate(item.node):
                worths = self._aggregates.of(item.node)
                for number, worth in enumerate(worths, start=1):
                    yield _Column(item.name if len(worths) == 1 else f"{item.name}_{number}", worth)
            else:
                after = Afterwards(self._source.scope, self._keys, self._aggregates, {})
                worth = after.worth(item.node)
                if worth.kind != "number" or worth.role is None:
                    raise unsupported("FIGURE_TYPE", figure=quoted(item.name))
                yield _Column(item.name, worth)

    def _modified(self, modifiers: Sequence[Node], after: Afterwards) -> tuple[tuple[Ordering, ...], int | None, int]:
        order: tuple[Ordering, ...] = ()
        limit, offset = None, 0
        for modifier in modifiers:
            if kind(modifier) == "ORDER_MODIFIER":
                (terms,) = read(modifier, "type", "orders")[1:]
                order = tuple(term for node in sequence(terms) for term in self._ordered(node, after))
            elif kind(modifier) == "LIMIT_MODIFIER":
                _, most, skipped, way = read(modifier, "type", "limit", "offset", "limit_type")
                if way != "ROW_COUNT":
                    raise unsupported("LIMIT_UNSUPPORTED")
                limit, offset = self._row_count(most), self._row_count(skipped) or 0
            else:
                raise unsupported("SYNTAX_UNSUPPORTED", part="This part of the statement")
        return order, limit, offset

    def _ordered(self, node: Node, after: Afterwards) -> Iterator[Ordering]:
        direction, nulls, term = read(node, "type", "null_order", "expression")
        if direction not in _DIRECTIONS or nulls not in _NULLS:
            raise unsupported("SYNTAX_UNSUPPORTED", part="This ORDER BY")
        for worth in self._terms(term, after):
            yield Ordering(worth.value, direction == "DESCENDING", nulls == "NULLS FIRST")

    def _terms(self, term: Node, after: Afterwards) -> list[Worth]:
        """What a term of ORDER BY sorts by: ALL, a position, or an expression of figures and keys."""
        with standing(term):
            if kind(term) == "STAR":
                _, _, relation, columns = read(term, "class", "type", "relation_name", "columns")
                if columns is not True or relation != "":
                    raise unsupported("STAR_UNSUPPORTED")
                return [column.worth for column in self._select]
            if kind(term) != "VALUE_CONSTANT":
                return [after.worth(term)]
            position = literal_of_text(*constant(term)).value
            if not isinstance(position, int) or not 1 <= position <= len(self._items):
                raise unsupported("ORDER_BY_CONSTANT", limit=str(len(self._items)))
            return [column.worth for column in self._items[position - 1]]

    def _row_count(self, node: Node | None) -> int | None:
        if node is None:
            return None
        value = expression_of(node, self._source.scope)
        number = literal_integer(value)
        if number is None or not 0 <= number < MAX_ROWS:
            raise unsupported("LIMIT_UNSUPPORTED")
        return number


_DIRECTIONS = ("ORDER_DEFAULT", "ASCENDING", "DESCENDING")
_NULLS = ("ORDER_DEFAULT", "NULLS FIRST", "NULLS LAST")


def _condition(worth: Worth) -> After:
    if worth.kind != "truth":
        raise unsupported("AFTER_TYPE", operation="HAVING", takes="a condition")
    return worth.value


def _check_select(items: Sequence[_Item], columns: Sequence[_Column]) -> None:
    if sum(item.noisy for item in items) > MAX_FIGURES:
        raise unsupported("TOO_MANY_AGGREGATES", limit=str(MAX_FIGURES))
    names = {column.name.lower() for column in columns}
    if len(names) < len(columns):
        raise unsupported("NAME_REPEATED")


def _shown(column: _Column, measures: Sequence[Measure]) -> KeyColumn | Figure:
    if column.key is not None:
        return KeyColumn(column.name, column.key)
    worth = supported_by(column.worth, measures)
    role = worth.role or "ratio"
    return Figure(column.name, role, worth.value, worth.support, worth.whole, worth.negative)
