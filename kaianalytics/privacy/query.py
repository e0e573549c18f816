"""A statistical question as a value: COUNT(*) and SUM over one view, filtered and grouped by declared keys.

Laws: a `StatisticsQuery` is checked where it is born, so an unanswerable one can't exist; every key has a declared
domain, every sum has declared bounds, no identifier is touched, every literal is of its column's type; `lower` adds
nothing that the statement doesn't say, and refuses, by code, whatever it doesn't know how to prove private.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kaianalytics.privacy.filtering import mistyped, predicate_of
from kaianalytics.privacy.predicate import (
    LITERAL_TYPES,
    Comparison,
    Constant,
    Flag,
    Leaf,
    Membership,
    Missing,
    Pattern,
    Predicate,
    leaves,
)
from kaianalytics.privacy.refusals import quoted, unsupported
from kaianalytics.privacy.scope import Scope, askable, askable_names, scope_of
from kaianalytics.privacy.syntax import (
    alias_of,
    column_path,
    constant,
    function_call,
    kind,
    read,
    same_name,
    sequence,
    the_select,
)
from kaianalytics.privacy.unit import StatisticsColumn, StatisticsView

MAX_AGGREGATES = 20


@dataclass(frozen=True)
class Key:
    """A grouping column, and the name under which the answer shows it."""

    column: str
    name: str


@dataclass(frozen=True)
class Aggregate:
    """A count of rows, or the sum of one column, and the name under which the answer shows it."""

    function: Literal["count", "sum"]
    name: str
    column: str | None = None

    def __post_init__(self) -> None:
        if (self.function == "sum") != (self.column is not None):
            raise ValueError("a sum has a column, a count has none")


@dataclass(frozen=True)
class StatisticsQuery:
    """One question of one view, in the order of its SELECT; QueryUnsupported when it can't be proved private."""

    view: StatisticsView
    select: tuple[Key | Aggregate, ...]
    where: Predicate | None = None

    def __post_init__(self) -> None:
        _check_names(self)
        for key in self.keys:
            _check_key(self.view, key.column)
        for aggregate in self.aggregates:
            _check_aggregate(self.view, aggregate)
        for leaf in () if self.where is None else leaves(self.where):
            _check_leaf(self.view, leaf)

    @property
    def keys(self) -> tuple[Key, ...]:
        """The grouping columns, in the order of the SELECT."""
        return tuple(item for item in self.select if isinstance(item, Key))

    @property
    def aggregates(self) -> tuple[Aggregate, ...]:
        """The counts and sums, in the order of the SELECT."""
        return tuple(item for item in self.select if isinstance(item, Aggregate))


def lower(tree: Mapping[str, Any], views: Mapping[str, StatisticsView]) -> StatisticsQuery:
    """The question that an admitted statement asks of one of `views`; QueryUnsupported, with the way on, for all else.

    `tree` is the whole JSON object of DuckDB's `json_serialize_sql`, as the guard admitted it.
    """
    fields = (
        "type",
        "select_list",
        "from_table",
        "where_clause",
        "group_expressions",
        "group_sets",
        "aggregate_handling",
    )
    _, items, source, where, groups, group_sets, handling = read(the_select(tree), *fields)
    scope = scope_of(source, views)
    select = tuple(_selected(item, scope) for item in sequence(items))
    # Forced aggregates are GROUP BY ALL: whatever is selected is grouped by.
    if (handling, groups, group_sets) != ("FORCE_AGGREGATES", [], []):
        _check_groups(select, _grouped(groups, group_sets, handling, select, scope))
    return StatisticsQuery(scope.view, select, None if where is None else predicate_of(where, scope))


def _selected(node: Any, scope: Scope) -> Key | Aggregate:
    if kind(node) == "COLUMN_REF":
        column = scope.column(column_path(node))
        return Key(column.name, alias_of(node) or column.name)
    if kind(node) == "FUNCTION" and node.get("is_operator") is False:
        return _aggregate(node, scope)
    codes = {
        "STAR": "STAR_UNSUPPORTED",
        "SUBQUERY": "SUBQUERY_UNSUPPORTED",
        "VALUE_PARAMETER": "PARAMETER_UNSUPPORTED",
    }
    window = isinstance(node, Mapping) and node.get("class") == "WINDOW"
    raise unsupported("WINDOW_UNSUPPORTED" if window else codes.get(kind(node), "EXPRESSION_UNSUPPORTED"))


def _aggregate(node: Any, scope: Scope) -> Aggregate:
    name, arguments = function_call(node)
    if name == "count_star" and not arguments:
        return Aggregate("count", alias_of(node) or "count_star()")
    if name == "count":
        raise unsupported("COUNT_OF_COLUMN")
    if name != "sum":
        raise unsupported("AGGREGATE_UNSUPPORTED", function=quoted(name))
    if len(arguments) != 1 or kind(arguments[0]) != "COLUMN_REF" or alias_of(arguments[0]):
        raise unsupported("SUM_OF_EXPRESSION")
    column = scope.column(column_path(arguments[0]))
    return Aggregate("sum", alias_of(node) or f"sum({column.name})", column.name)


def _grouped(groups: Any, sets: Any, handling: Any, select: Sequence[Key | Aggregate], scope: Scope) -> frozenset[str]:
    # One set of all expressions is a plain GROUP BY; any other is ROLLUP, CUBE, GROUPING SETS or ().
    plain = isinstance(groups, list) and sets == ([list(range(len(groups)))] if groups else [])
    if not plain or handling != "STANDARD_HANDLING":
        raise unsupported("GROUPING_SETS_UNSUPPORTED")
    return frozenset(_group(node, select, scope) for node in groups)


def _group(node: Any, select: Sequence[Key | Aggregate], scope: Scope) -> str:
    if kind(node) == "COLUMN_REF" and not alias_of(node):
        path = column_path(node)
        aliased = [item for item in select if isinstance(item, Key) and same_name(item.name, path[0])]
        # As in DuckDB, a column of the view comes before an alias of the SELECT.
        if len(path) == 1 and aliased and not scope.has(path[0]):
            return aliased[0].column
        return scope.column(path).name
    if kind(node) == "VALUE_CONSTANT":
        item = _at_position(constant(node), select)
        if isinstance(item, Key):
            return item.column
    raise unsupported("GROUP_EXPRESSION")


def _at_position(literal: tuple[str, str], select: Sequence[Key | Aggregate]) -> Key | Aggregate | None:
    literal_kind, text = literal
    numbers = {str(number): item for number, item in enumerate(select, start=1)}
    return numbers.get(text) if literal_kind == "INTEGER" else None


def _check_groups(select: Sequence[Key | Aggregate], grouped: frozenset[str]) -> None:
    keys = [item.column for item in select if isinstance(item, Key)]
    for column in keys:
        if column not in grouped:
            raise unsupported("COLUMN_UNGROUPED", column=quoted(column))
    for column in sorted(grouped.difference(keys)):
        raise unsupported("KEY_NOT_SELECTED", column=quoted(column))


def _check_names(query: StatisticsQuery) -> None:
    if not query.aggregates:
        raise unsupported("NO_AGGREGATE")
    if len(query.aggregates) > MAX_AGGREGATES:
        raise unsupported("TOO_MANY_AGGREGATES", limit=str(MAX_AGGREGATES))
    columns = [key.column.lower() for key in query.keys]
    names = [item.name for item in query.select]
    if len(set(names)) != len(names) or len(set(columns)) != len(columns):
        raise unsupported("NAME_REPEATED")


def _check_key(view: StatisticsView, name: str) -> None:
    column = askable(view, name)
    if column.domain is None:
        keyed = askable_names(view, lambda column: column.domain is not None)
        raise unsupported("GROUP_WITHOUT_DOMAIN", column=quoted(column.name), columns=keyed)


def _check_aggregate(view: StatisticsView, aggregate: Aggregate) -> None:
    if aggregate.column is not None and askable(view, aggregate.column).bounds is None:
        bounded = askable_names(view, lambda column: column.bounds is not None)
        raise unsupported("SUM_WITHOUT_BOUNDS", column=quoted(aggregate.column), columns=bounded)


def _check_leaf(view: StatisticsView, leaf: Leaf) -> None:
    if not isinstance(leaf, Constant) and not _fits(leaf, column := askable(view, leaf.column)):
        raise mistyped(column)


def _fits(leaf: Flag | Missing | Comparison | Membership | Pattern, column: StatisticsColumn) -> bool:
    match leaf:
        case Flag():
            return column.type == "boolean"
        case Pattern():
            return column.type == "string"
        case Comparison(_, _, value):
            return type(value) is LITERAL_TYPES[column.type]
        case Membership(_, values):
            return all(type(value) is LITERAL_TYPES[column.type] for value in values)
        case Missing():
            return True
