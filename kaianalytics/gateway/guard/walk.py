"""The walk over one parse tree: laws 4 to 8 of the guard, on plain values.

The walk keeps its own stack, so that no tree is too deep for it, and asks the grammar for every field of every node.
What a node means is judged by the `judge_…` method that the table at the end names for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, NoReturn

from kaianalytics.errors import GuardRefused
from kaianalytics.gateway.guard.allowed import (
    COLLATIONS,
    COLUMNS_THAT_ARE_CALLS,
    FUNCTIONS,
    OPERATORS,
    TABLE_CALLS,
    TYPES,
    WINDOW_CALLS,
    fold,
    why_refused,
)
from kaianalytics.gateway.guard.grammar import GRAMMAR, Field, Fields, Kind

MAX_DEPTH = 250
MAX_NODES = 40_000
RULE = "the guard admits one SELECT over the views of the purpose (docs/reference/guard.md)"

_NAMES = re.compile(
    r"""'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/|"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^\W\d]\w*)""", re.DOTALL
)
_NO_PLACE = 2**64 - 1  # DuckDB's mark for a node that stands nowhere in the text

Node = Mapping[str, Any]


def refused(code: str, message: str, hint: str = "", *, sql: str = "", byte: int | None = None) -> GuardRefused:
    """The guard's refusal, with its rule and, where it is about a byte of the text, its place."""
    refusal = GuardRefused(code, message, rule=RULE, hint=hint)
    refusal.byte = byte
    refusal.locate(sql)
    return refusal


def too_deep() -> GuardRefused:
    """The refusal of a statement that nests too deeply."""
    return refused("TOO_DEEP", "The statement nests too deeply.", "name its parts in a WITH clause")


def unreadable() -> GuardRefused:
    """The refusal of whatever was not foreseen (law 8)."""
    return refused("UNREADABLE", "The guard can't read this statement, so it refuses it.", "write it in a plainer way")


@dataclass(frozen=True)
class _Visit:
    """One node still to be judged, and where it stands."""

    node: Any
    group: str
    scope: frozenset[str]  # common tables that may be named here, folded
    depth: int
    place: int = _NO_PLACE  # of the nearest node around it that has one


class Walk:
    """One statement's walk: an explicit stack, so that no tree is too deep for it."""

    def __init__(
        self, view_names: Collection[str], catalog: frozenset[str], sql: str, functions: Collection[str] = ()
    ) -> None:
        self.views: set[str] = set()
        self._known = {fold(name): name for name in view_names}
        self._functions = FUNCTIONS | frozenset(functions)
        self._catalog = catalog
        self._sql = sql
        self._place = _NO_PLACE
        self._stack: list[_Visit] = []

    def visit_all(self, tree: Any) -> None:
        """Judges every node under the document."""
        self._stack.append(_Visit(tree, "document", frozenset(), 0))
        visited = 0
        while self._stack:
            visit = self._stack.pop()
            visited += 1
            if visit.depth > MAX_DEPTH:
                raise too_deep()
            if visited > MAX_NODES:
                raise refused("TOO_LARGE", "The statement has too many parts.", "split it, or shorten its lists")
            self._visit(visit)

    def _visit(self, visit: _Visit) -> None:
        self._place = _place_of(visit)
        kind, fields = self._fields_of(visit.node, visit.group)
        node: Node = visit.node
        if node.keys() != fields.keys():
            self.refuse("NOT_ADMITTED", f"{_said(kind)} has a part that the guard does not know")
        if judge := _JUDGES.get((visit.group, kind)):
            judge(self, node, visit.scope)
        for name, field in fields.items():
            for index, child in enumerate(self._children(kind, name, field, node[name])):
                scope = _scope_under(visit, kind, name, index)
                self._stack.append(_Visit(child, field.group, scope, visit.depth + 1, self._place))

    def _fields_of(self, node: Any, group: str) -> tuple[str, Fields]:
        if not isinstance(node, dict):
            raise unreadable()
        admitted = GRAMMAR[group]
        kind = "" if admitted.tag is None else node.get(admitted.tag)
        if not isinstance(kind, str):
            raise unreadable()
        if kind not in admitted.kinds:
            self.refuse("NOT_ADMITTED", f"{_said(kind)} is not admitted here", _HINTS.get(kind, ""))
        return kind, admitted.kinds[kind]

    def _children(self, kind: str, name: str, field: Field, value: Any) -> list[Any]:
        """The nodes under one field, once its value proved to be what the field may hold."""
        if field.kind is Kind.UNUSED and not _is_empty(value):
            self.refuse("NOT_ADMITTED", f"{_said(name)} is not admitted here", _HINTS.get(name, ""))
        if field.kind is Kind.WORD and value not in field.words:
            self.refuse(
                "NOT_ADMITTED", f"{_said(str(value))} is not admitted in {_said(kind)}", _HINTS.get(str(value), "")
            )
        if not _SHAPES[field.kind](value) and not (value is None and field.optional):
            raise unreadable()
        if field.kind is Kind.NODE:
            return [] if value is None else [value]
        if field.kind is Kind.NODES:
            return list(value)
        return [item for row in value for item in row] if field.kind is Kind.ROWS else []

    def refuse(self, code: str, what: str, hint: str = "") -> NoReturn:
        """Refuses the statement, with the place of the node, or of the nearest around it that has one."""
        byte = None if self._place == _NO_PLACE else self._place
        raise refused(code, f"{what}.", hint, sql=self._sql, byte=byte)

    def judge_function(self, node: Node, scope: frozenset[str]) -> None:
        """Law 5 for a scalar or aggregate call, or an operator."""
        name = self._plain_name(node, "function_name", "function")
        if name not in self._functions or (name in OPERATORS and node["is_operator"] is not True):
            self._refuse_function(name)

    def judge_window(self, node: Node, scope: frozenset[str]) -> None:
        """Law 5 for a call with OVER."""
        name = self._plain_name(node, "function_name", "function")
        if name not in WINDOW_CALLS:
            self._refuse_function(name)

    def judge_table_call(self, node: Node, scope: frozenset[str]) -> None:
        """Law 5 for a function in FROM."""
        name = self._plain_name(node, "function_name", "function")
        if name not in TABLE_CALLS:
            self._refuse_function(name)

    def judge_type(self, node: Node, scope: frozenset[str]) -> None:
        """Law 5 for a type."""
        name = self._plain_name(node, "type_name", "type")
        if name not in TYPES:
            hint = "the admitted types are listed in docs/reference/guard.md"
            self.refuse("TYPE_NOT_ADMITTED", f"The type {_said(name)} is not admitted", hint)

    def judge_collation(self, node: Node, scope: frozenset[str]) -> None:
        """Law 5 for a collation: several may be joined by dots."""
        if not COLLATIONS.issuperset(fold(node["collation"]).split(".")):
            self.refuse("NOT_ADMITTED", f"The collation {_said(node['collation'])} is not admitted")

    def judge_column(self, node: Node, scope: frozenset[str]) -> None:
        """Law 5 for a column: some bare names are calls."""
        names = node["column_names"]
        if len(names) == 1 and fold(names[0]) in COLUMNS_THAT_ARE_CALLS:
            self._refuse_function(fold(names[0]))

    def judge_table(self, node: Node, scope: frozenset[str]) -> None:
        """Law 6 for a table: a common table in scope, or a view of the purpose, which is noted."""
        name = fold(node["table_name"])
        qualified = (
            node["schema_name"] or node["catalog_name"] or node["qualified_name"]["path"] != [node["table_name"]]
        )
        if qualified:
            hint = "write the view's plain name"
            self.refuse("QUALIFIED_NAME", "A table is named with a schema or a database", hint)
        if name not in scope and name not in self._known:
            near = get_close_matches(name, self._known, n=1)
            meant = f"perhaps `{self._known[near[0]]}`; " if near else ""
            hint = f"{meant}`kai.datasets()` lists the views of this purpose"
            self.refuse("UNKNOWN_VIEW", f"There is no view {_said(node['table_name'])} for this purpose", hint)
        if name not in scope:
            self.views.add(self._known[name])
        if fold(node["alias"]) != name:
            self.judge_alias(node, scope)

    def judge_alias(self, node: Node, scope: frozenset[str]) -> None:
        """Law 6 for the name that a table is given."""
        if fold(node["alias"]) in self._known:
            self.refuse("NAME_TAKEN", f"The name {_said(node['alias'])} is a view's", "give it another name")

    def judge_named_query(self, node: Node, scope: frozenset[str]) -> None:
        """Law 6 for a common table."""
        self._judge_common_name(node["key"])

    def judge_recursion(self, node: Node, scope: frozenset[str]) -> None:
        """Law 6 for the name that a recursive common table calls itself by."""
        self._judge_common_name(node["cte_name"])

    def _judge_common_name(self, name: str) -> None:
        folded = fold(name)
        if folded in self._known or folded in self._catalog or folded.startswith("kai_"):
            self._place = _place_of_name(self._sql, folded)
            self.refuse("NAME_TAKEN", f"The name {_said(name)} is a view's", "give the common table another name")

    def _plain_name(self, node: Node, field: str, what: str) -> str:
        """The folded name of a function or a type, which stands alone."""
        name: str = node[field]
        if node["schema"] or node["catalog"] or node["qualified_name"]["path"] != [name]:
            hint = f"write the {what}'s plain name: {_said(name)}, without anything before it"
            self.refuse("QUALIFIED_NAME", f"The {what} {_said(name)} is named with something before it", hint)
        return fold(name)

    def _refuse_function(self, name: str) -> NoReturn:
        self.refuse("FUNCTION_NOT_ADMITTED", f"The function {_said(name)} is not admitted here", why_refused(name))


def _place_of(visit: _Visit) -> int:
    """Where a node stands in the text, or the nearest around it that stands somewhere."""
    own = visit.node.get("query_location") if isinstance(visit.node, dict) else None
    return own if isinstance(own, int) and own != _NO_PLACE else visit.place


def _place_of_name(sql: str, folded: str) -> int:
    """Where a name is written first, for the tree does not say where a common table gets its own."""
    for found in _NAMES.finditer(sql):
        written = found["quoted"].replace('""', '"') if found["quoted"] is not None else found["plain"]
        if written is not None and fold(written) == folded:
            return len(sql[: found.start()].encode())
    return _NO_PLACE


def _scope_under(visit: _Visit, kind: str, field: str, index: int) -> frozenset[str]:
    """The common tables that one child may name: its own query's and all around it, and none defined after it."""
    if visit.group == "common tables":
        return visit.scope | _names_of(visit.node["map"][:index])
    if visit.group != "query" or field == "cte_map":
        return visit.scope
    scope = visit.scope | _names_of(visit.node["cte_map"]["map"])
    if kind == "RECURSIVE_CTE_NODE" and field == "right":  # the left half would read the catalog under this name
        scope |= {fold(visit.node["cte_name"])}
    return scope


def _names_of(named_queries: list[Any]) -> frozenset[str]:
    return frozenset(fold(named["key"]) for named in named_queries)


def _said(name: str) -> str:
    """A word of the statement for a message: one line, at most 60 characters."""
    return f"`{' '.join(name.split())[:60]}`"


def _is_empty(value: Any) -> bool:
    return value is None or value is False or value in ("", [])


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _all(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(test, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_node(value: Any) -> bool:
    return isinstance(value, dict)


_SHAPES: Mapping[Kind, Callable[[Any], bool]] = MappingProxyType(
    {
        Kind.NODE: _is_node,
        Kind.NODES: _all(_is_node),
        Kind.ROWS: _all(_all(_is_node)),
        Kind.NAME: _is_text,
        Kind.NAMES: _all(_is_text),
        Kind.WORD: lambda value: True,
        Kind.FLAG: lambda value: isinstance(value, bool),
        Kind.PLACE: _is_int,
        Kind.PLACES: _all(_all(_is_int)),
        Kind.UNUSED: _is_empty,
    }
)
_JUDGES: Mapping[tuple[str, str], Callable[[Walk, Node, frozenset[str]], None]] = MappingProxyType(
    {
        ("expression", "FUNCTION"): Walk.judge_function,
        ("expression", "WINDOW"): Walk.judge_window,
        ("expression", "COLLATE"): Walk.judge_collation,
        ("expression", "COLUMN_REF"): Walk.judge_column,
        ("table call", "FUNCTION"): Walk.judge_table_call,
        ("type", "TYPE"): Walk.judge_type,
        ("type argument", "TYPE"): Walk.judge_type,
        ("table", "BASE_TABLE"): Walk.judge_table,
        ("table", "JOIN"): Walk.judge_alias,
        ("table", "SUBQUERY"): Walk.judge_alias,
        ("table", "TABLE_FUNCTION"): Walk.judge_alias,
        ("table", "EXPRESSION_LIST"): Walk.judge_alias,
        ("named query", ""): Walk.judge_named_query,
        ("query", "RECURSIVE_CTE_NODE"): Walk.judge_recursion,
    }
)
_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "PARAMETER": "write the value into the statement; Python can format it",
        "named_param_map": "write the value into the statement; Python can format it",
        "PIVOT": "fetch the rows and reshape them in Polars: `df.pivot(...)`, `df.unpivot(...)`",
        "SHOW_REF": "`kai.datasets()` lists the views with their columns",
        "sample": "sampling answers differently each time: order by a column and LIMIT, or sample in Polars",
        "POSITIONAL": "join on a column",
        "SINGLE_ARROW": "write `lambda x: ...`",
        "key_targets": "use a plain WITH RECURSIVE",
        "DELETE_QUERY_NODE": "a query answers and changes nothing",
        "INSERT_QUERY_NODE": "a query answers and changes nothing",
        "UPDATE_QUERY_NODE": "a query answers and changes nothing",
        "COPY_QUERY_NODE": "a query answers and changes nothing",
    }
)
