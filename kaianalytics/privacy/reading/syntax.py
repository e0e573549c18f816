"""Reading the parse tree that the guard admitted, field by field, and refusing whatever nobody has read.

Laws: the tree is the JSON of DuckDB 2.0's `json_serialize_sql`; a field that is neither read nor empty in the way
stated here is refused, and so is a field that this module has never heard of; no text is ever parsed a second time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.refusals import quoted, unsupported

Node = Mapping[str, Any]

_NO_PLACE = 2**64 - 1  # DuckDB's mark for a node that stands nowhere in the text
_PLACE = frozenset({"query_location", "query_location_length"})
_NO_ORDER = {"type": "ORDER_MODIFIER", "orders": []}

# What a field must hold to mean nothing, and the code when it holds something else.
_EMPTY: Mapping[str, tuple[Any, str]] = {
    "alias": ("", "SYNTAX_UNSUPPORTED"),
    "sample": (None, "SAMPLE_UNSUPPORTED"),
    "qualify": (None, "QUALIFY_UNSUPPORTED"),
    "named_param_map": ([], "PARAMETER_UNSUPPORTED"),
    "schema": ("", "SYNTAX_UNSUPPORTED"),
    "catalog": ("", "SYNTAX_UNSUPPORTED"),
    "schema_name": ("", "SYNTAX_UNSUPPORTED"),
    "catalog_name": ("", "SYNTAX_UNSUPPORTED"),
    "at_clause": (None, "SYNTAX_UNSUPPORTED"),
    "filter": (None, "SYNTAX_UNSUPPORTED"),
    "distinct": (False, "SYNTAX_UNSUPPORTED"),
    "order_bys": (_NO_ORDER, "SYNTAX_UNSUPPORTED"),
    "export_state": (False, "SYNTAX_UNSUPPORTED"),
    "name": ("", "SYNTAX_UNSUPPORTED"),
    "key_targets": ([], "SYNTAX_UNSUPPORTED"),
    "payload_aggregates": ([], "SYNTAX_UNSUPPORTED"),
    "delim_flipped": (False, "SYNTAX_UNSUPPORTED"),
    "duplicate_eliminated_columns": ([], "SYNTAX_UNSUPPORTED"),
    "ranking_expression": (None, "SYNTAX_UNSUPPORTED"),
    "nearest_count": (1, "SYNTAX_UNSUPPORTED"),
    "nearest_order_type": ("ASCENDING", "SYNTAX_UNSUPPORTED"),
    "nearest_approx": (False, "SYNTAX_UNSUPPORTED"),
    "exclude_list": ([], "STAR_UNSUPPORTED"),
    "qualified_exclude_list": ([], "STAR_UNSUPPORTED"),
    "replace_list": ([], "STAR_UNSUPPORTED"),
    "rename_list": ([], "STAR_UNSUPPORTED"),
    "expr": (None, "STAR_UNSUPPORTED"),
}

_COMPARISONS = ("EQUAL", "NOTEQUAL", "LESSTHAN", "LESSTHANOREQUALTO", "GREATERTHAN", "GREATERTHANOREQUALTO")
_CLASSES = {
    "COLUMN_REF": "COLUMN_REF",
    "FUNCTION": "FUNCTION",
    "STAR": "STAR",
    "SUBQUERY": "SUBQUERY",
    "TYPE": "TYPE",
    "CASE_EXPR": "CASE",
    "VALUE_CONSTANT": "CONSTANT",
    "VALUE_PARAMETER": "PARAMETER",
    "OPERATOR_CAST": "CAST",
    "OPERATOR_NOT": "OPERATOR",
    "OPERATOR_IS_NULL": "OPERATOR",
    "OPERATOR_IS_NOT_NULL": "OPERATOR",
    "OPERATOR_COALESCE": "OPERATOR",
    "CONJUNCTION_AND": "CONJUNCTION",
    "CONJUNCTION_OR": "CONJUNCTION",
    "COMPARE_IN": "OPERATOR",
    "COMPARE_NOT_IN": "OPERATOR",
    "COMPARE_BETWEEN": "BETWEEN",
    "COMPARE_DISTINCT_FROM": "COMPARISON",
    "COMPARE_NOT_DISTINCT_FROM": "COMPARISON",
    **{f"COMPARE_{name}": "COMPARISON" for name in _COMPARISONS},
}


@dataclass(frozen=True)
class FunctionCall:
    """A call as written: the lower-case name, the unnamed arguments, and what an aggregate may carry besides."""

    name: str
    arguments: tuple[Node, ...]
    distinct: bool = False
    condition: Node | None = None  # FILTER (WHERE …)
    within: tuple[Node, ...] = ()  # the terms of an ORDER BY inside the call


@contextmanager
def standing(node: Any) -> Iterator[None]:
    """Let a refusal say where the node stands, unless it says already where a part of the node does."""
    try:
        yield
    except QueryUnsupported as refusal:
        place = node.get("query_location") if isinstance(node, Mapping) else None
        if refusal.byte is None and isinstance(place, int) and place != _NO_PLACE:
            refusal.byte = place
        raise


def read(node: Any, *fields: str) -> tuple[Any, ...]:
    """The values of `fields` of a node, once it is sure that all its other fields are empty."""
    if not isinstance(node, Mapping):
        raise not_understood()
    for name, value in node.items():
        if name not in fields and name not in _PLACE:
            _must_be_empty(name, value)
    if any(name not in node for name in fields):
        raise not_understood()
    return tuple(node[name] for name in fields)


def not_understood(part: str = "This part of the statement") -> Exception:
    """The refusal of a tree that is not the one we know."""
    return unsupported("SYNTAX_UNSUPPORTED", part=part)


def kind(node: Any) -> str:
    """The `type` of a node; nothing for what is no node, or for an expression whose class is not that type's."""
    if not isinstance(node, Mapping) or not isinstance(name := node.get("type"), str):
        return ""
    return name if "class" not in node or node["class"] == _CLASSES.get(name) else ""


def is_window(node: Any) -> bool:
    """Whether the node is a call with OVER, of whatever type."""
    return isinstance(node, Mapping) and node.get("class") == "WINDOW"


def sequence(value: Any) -> list[Any]:
    """A list of the tree, and nothing else in its place."""
    if not isinstance(value, list):
        raise not_understood()
    return value


def word(value: Any) -> str:
    """A text of the tree, which may be empty."""
    if not isinstance(value, str):
        raise not_understood()
    return value


def names(value: Any) -> list[str]:
    """A list of identifiers."""
    if not all(isinstance(name, str) and name for name in sequence(value)):
        raise not_understood()
    return list(value)


def alias_of(node: Node) -> str:
    """The alias of an expression, or nothing."""
    alias = node.get("alias") if isinstance(node, Mapping) else None
    if not isinstance(alias, str):
        raise not_understood("An alias")
    return alias


def without_alias(node: Node) -> Node:
    """The expression as it is where nobody gave it a name."""
    return {**node, "alias": ""} if alias_of(node) else node


def the_select(tree: Node) -> Node:
    """The one SELECT of the tree."""
    error, statements = read(tree, "error", "statements")
    if error is not False or not isinstance(statements, list) or len(statements) != 1:
        raise unsupported("NOT_ONE_SELECT")
    return select_of(statements[0])


def select_of(statement: Any) -> Node:
    """The SELECT of a statement or of a subquery."""
    (select,) = read(statement, "node")
    if kind(select) == "SET_OPERATION_NODE":
        raise unsupported("SET_OPERATION_UNSUPPORTED")
    if kind(select) != "SELECT_NODE":
        raise unsupported("NOT_ONE_SELECT")
    found: Node = select
    return found


def function_call(node: Node) -> FunctionCall:
    """A plain call of a function or an operator, with nothing but arguments; its alias is the caller's to read."""
    call = aggregate_call(node)
    read(node, *_CALL)
    return call


_CALL = ("class", "type", "alias", "function_name", "arguments", "qualified_name", "is_operator")


def aggregate_call(node: Node) -> FunctionCall:
    """A call with what an aggregate may carry; its alias is the caller's to read."""
    fields = read(node, *_CALL, "filter", "distinct", "order_bys")
    _, _, _, name, arguments, path, is_operator, condition, distinct, ordering = fields
    _same_path(path, name)
    if not isinstance(name, str) or type(distinct) is not bool or type(is_operator) is not bool:
        raise not_understood("A function")
    # A symbol is a function only where it is written as an operator: else the engine checks it less well.
    if is_operator is False and not name.replace("_", "a").isalnum():
        raise not_understood("A function")
    ordering_kind, terms = read(ordering, "type", "orders")
    if ordering_kind != "ORDER_MODIFIER" or not (condition is None or isinstance(condition, Mapping)):
        raise not_understood("A function")
    plain = tuple(read(argument, "expression")[0] for argument in sequence(arguments))
    return FunctionCall(name.lower(), plain, distinct, condition, tuple(sequence(terms)))


def column_path(node: Node) -> tuple[str, ...]:
    """The parts of a column's name, as written; its alias is the caller's to read."""
    _, _, _, parts = read(node, "class", "type", "alias", "column_names")
    if not names(parts):
        raise not_understood("This column name")
    return tuple(parts)


def constant(node: Node) -> tuple[str, str]:
    """The kind and the text of a literal, such as ("INTEGER", "5")."""
    _, _, literal = read(node, "class", "type", "literal")
    literal_kind, text = read(literal, "kind", "text")
    if not isinstance(literal_kind, str) or not isinstance(text, str):
        raise not_understood("A literal")
    return literal_kind, text


def cast(node: Node) -> tuple[Node, str]:
    """What is cast, and the upper-case name of the plain type that it is cast to; "" for a type with parameters."""
    _, _, child, target, lenient = read(node, "class", "type", "child", "type_expr", "try_cast")
    _, _, name, children, path = read(target, "class", "type", "type_name", "children", "qualified_name")
    _same_path(path, name)
    if type(lenient) is not bool:
        raise not_understood("A cast")
    return child, str(name).upper() if kind(target) == "TYPE" and children == [] else ""


def cases(node: Node) -> Iterator[Node]:
    """The conditions and values of a CASE in turn, its ELSE last."""
    _, _, checks, otherwise = read(node, "class", "type", "case_checks", "else_expr")
    for check in sequence(checks):
        yield from read(check, "when_expr", "then_expr")
    yield otherwise


def table(node: Node) -> tuple[str, str, list[str]]:
    """The unqualified name of a plain table reference, its alias, and the names given to its columns."""
    _, name, alias, path, columns = read(node, "type", "table_name", "alias", "qualified_name", "column_name_alias")
    _same_path(path, name)
    if not isinstance(name, str) or not isinstance(alias, str):
        raise not_understood("A table")
    return name, alias, names(columns)


def star_of(node: Node) -> str:
    """The table that a plain `*` or `table.*` names, or nothing."""
    _, _, relation, columns = read(node, "class", "type", "relation_name", "columns")
    if columns is not False or not isinstance(relation, str):
        raise unsupported("STAR_UNSUPPORTED")
    return relation


def walk_nodes(node: Any) -> Iterator[Node]:
    """Every object under an expression, itself first, but none inside a subquery; on a stack of its own."""
    stack = [node]
    while stack:
        found = stack.pop()
        if isinstance(found, list):
            stack.extend(found)
        elif isinstance(found, Mapping) and kind(found) != "SUBQUERY":
            yield found
            stack.extend(found.values())


def same_name(one: str, other: str) -> bool:
    """Whether two identifiers are one, as DuckDB compares them: whatever their case."""
    return one.lower() == other.lower()


def among(name: str, known_names: Collection[str]) -> str | None:
    """The spelling under which a name is known among `known_names`."""
    return next((known for known in known_names if same_name(known, name)), None)


def _must_be_empty(name: str, value: Any) -> None:
    empty, code = _EMPTY.get(name, (..., "SYNTAX_UNSUPPORTED"))
    # Types are compared too: to Python 0 and False are equal, to us an unexpected 0 is a tree that we don't know.
    if type(value) is not type(empty) or value != empty:
        raise unsupported(code, part=f"The part {quoted(name)} of the statement")


def _same_path(path: Any, name: Any) -> None:
    # The tree says each name twice; where the two differ, one of them names something that nobody has checked.
    if read(path, "path") != ([name],):
        raise not_understood("A qualified name")
