"""Reading the parse tree that the guard admitted, field by field, and refusing whatever nobody has read.

Laws: the tree is the JSON of DuckDB 2.0's `json_serialize_sql`; a field that is neither read nor empty in the way
stated here is refused, and so is a field that this module has never heard of; no text is ever parsed a second time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kaianalytics.privacy.refusals import quoted, unsupported

Node = Mapping[str, Any]

_PLACE = frozenset({"query_location", "query_location_length"})

# What a field must hold to mean nothing, and the code when it holds something else.
_EMPTY: Mapping[str, tuple[Any, str]] = {
    "alias": ("", "SYNTAX_UNSUPPORTED"),
    "sample": (None, "SAMPLE_UNSUPPORTED"),
    "having": (None, "HAVING_UNSUPPORTED"),
    "qualify": (None, "QUALIFY_UNSUPPORTED"),
    "cte_map": ({"map": []}, "CTE_UNSUPPORTED"),
    "named_param_map": ([], "PARAMETER_UNSUPPORTED"),
    "schema": ("", "SYNTAX_UNSUPPORTED"),
    "catalog": ("", "SYNTAX_UNSUPPORTED"),
    "schema_name": ("", "SYNTAX_UNSUPPORTED"),
    "catalog_name": ("", "SYNTAX_UNSUPPORTED"),
    "column_name_alias": ([], "SYNTAX_UNSUPPORTED"),
    "at_clause": (None, "SYNTAX_UNSUPPORTED"),
    "filter": (None, "FILTER_IN_AGGREGATE"),
    "distinct": (False, "DISTINCT_AGGREGATE"),
    "order_bys": ({"type": "ORDER_MODIFIER", "orders": []}, "SYNTAX_UNSUPPORTED"),
    "export_state": (False, "SYNTAX_UNSUPPORTED"),
    "try_cast": (False, "FILTER_UNSUPPORTED"),
    "name": ("", "SYNTAX_UNSUPPORTED"),
}

_COMPARISONS = ("EQUAL", "NOTEQUAL", "LESSTHAN", "LESSTHANOREQUALTO", "GREATERTHAN", "GREATERTHANOREQUALTO")
_CLASSES = {
    "COLUMN_REF": "COLUMN_REF",
    "FUNCTION": "FUNCTION",
    "STAR": "STAR",
    "SUBQUERY": "SUBQUERY",
    "TYPE": "TYPE",
    "VALUE_CONSTANT": "CONSTANT",
    "VALUE_PARAMETER": "PARAMETER",
    "OPERATOR_CAST": "CAST",
    "OPERATOR_NOT": "OPERATOR",
    "OPERATOR_IS_NULL": "OPERATOR",
    "OPERATOR_IS_NOT_NULL": "OPERATOR",
    "CONJUNCTION_AND": "CONJUNCTION",
    "CONJUNCTION_OR": "CONJUNCTION",
    "COMPARE_IN": "OPERATOR",
    "COMPARE_BETWEEN": "BETWEEN",
    "COMPARE_DISTINCT_FROM": "COMPARISON",
    "COMPARE_NOT_DISTINCT_FROM": "COMPARISON",
    **{f"COMPARE_{name}": "COMPARISON" for name in _COMPARISONS},
    "WINDOW_AGGREGATE": "WINDOW",
}

_MODIFIERS = {
    "ORDER_MODIFIER": "ORDER_BY_UNSUPPORTED",
    "LIMIT_MODIFIER": "LIMIT_UNSUPPORTED",
    "LIMIT_PERCENT_MODIFIER": "LIMIT_UNSUPPORTED",
    "DISTINCT_MODIFIER": "DISTINCT_UNSUPPORTED",
}


def read(node: Any, *fields: str) -> tuple[Any, ...]:
    """The values of `fields` of a node, once it is sure that all its other fields are empty."""
    if not isinstance(node, Mapping):
        raise unsupported("SYNTAX_UNSUPPORTED", part="This part of the statement")
    for name, value in node.items():
        if name not in fields and name not in _PLACE:
            _must_be_empty(name, value)
    if any(name not in node for name in fields):
        raise unsupported("SYNTAX_UNSUPPORTED", part="This part of the statement")
    return tuple(node[name] for name in fields)


def kind(node: Any) -> str:
    """The `type` of a node; nothing for what is no node, or for an expression whose class is not that type's."""
    if not isinstance(node, Mapping) or not isinstance(name := node.get("type"), str):
        return ""
    return name if "class" not in node or node["class"] == _CLASSES.get(name) else ""


def sequence(value: Any) -> list[Any]:
    """A list of the tree, and nothing else in its place."""
    if not isinstance(value, list):
        raise unsupported("SYNTAX_UNSUPPORTED", part="This part of the statement")
    return value


def alias_of(node: Node) -> str:
    """The alias of an expression, or nothing."""
    alias = node.get("alias")
    if not isinstance(alias, str):
        raise unsupported("SYNTAX_UNSUPPORTED", part="An alias")
    return alias


def the_select(tree: Node) -> Node:
    """The one SELECT of the tree, without its modifiers."""
    error, statements = read(tree, "error", "statements")
    if error is not False or not isinstance(statements, list) or len(statements) != 1:
        raise unsupported("NOT_ONE_SELECT")
    (select,) = read(statements[0], "node")
    if kind(select) == "SET_OPERATION_NODE":
        raise unsupported("SET_OPERATION_UNSUPPORTED")
    if kind(select) != "SELECT_NODE":
        raise unsupported("NOT_ONE_SELECT")
    for modifier in sequence(select.get("modifiers")):
        raise unsupported(_MODIFIERS.get(kind(modifier), "NOT_ONE_SELECT"))
    return {name: value for name, value in select.items() if name != "modifiers"}


def function_call(node: Node) -> tuple[str, tuple[Node, ...]]:
    """The lower-case name and the unnamed arguments of a plain function call; its alias is the caller's to read."""
    fields = ("class", "type", "alias", "function_name", "arguments", "qualified_name", "is_operator")
    _, _, _, name, arguments, path, _ = read(node, *fields)
    _same_path(path, name)
    return str(name).lower(), tuple(read(argument, "expression")[0] for argument in sequence(arguments))


def column_path(node: Node) -> tuple[str, ...]:
    """The parts of a column's name, as written; its alias is the caller's to read."""
    _, _, _, names = read(node, "class", "type", "alias", "column_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise unsupported("SYNTAX_UNSUPPORTED", part="This column name")
    return tuple(names)


def constant(node: Node) -> tuple[str, str]:
    """The kind and the text of a literal, such as ("INTEGER", "5")."""
    _, _, literal = read(node, "class", "type", "literal")
    literal_kind, text = read(literal, "kind", "text")
    if not isinstance(literal_kind, str) or not isinstance(text, str):
        raise unsupported("SYNTAX_UNSUPPORTED", part="A literal")
    return literal_kind, text


def cast(node: Node) -> tuple[Node, str]:
    """What is cast, and the upper-case name of the plain type that it is cast to."""
    _, _, child, target = read(node, "class", "type", "child", "type_expr")
    _, _, name, children, path = read(target, "class", "type", "type_name", "children", "qualified_name")
    _same_path(path, name)
    return child, str(name).upper() if kind(target) == "TYPE" and children == [] else ""


def table(node: Node) -> tuple[str, str]:
    """The unqualified name and the alias of a plain table reference."""
    _, name, alias, path = read(node, "type", "table_name", "alias", "qualified_name")
    _same_path(path, name)
    return str(name), str(alias)


def same_name(one: str, other: str) -> bool:
    """Whether two identifiers are one, as DuckDB compares them: whatever their case."""
    return one.lower() == other.lower()


def among(name: str, names: Collection[str]) -> str | None:
    """The spelling under which a name is known among `names`."""
    return next((known for known in names if same_name(known, name)), None)


def _must_be_empty(name: str, value: Any) -> None:
    empty, code = _EMPTY.get(name, (..., "SYNTAX_UNSUPPORTED"))
    # Types are compared too: to Python 0 and False are equal, to us an unexpected 0 is a tree that we don't know.
    if type(value) is not type(empty) or value != empty:
        raise unsupported(code, part=f"The part {quoted(name)} of the statement")


def _same_path(path: Any, name: Any) -> None:
    # The tree says each name twice; where the two differ, one of them names something that nobody has checked.
    if read(path, "path") != ([name],):
        raise unsupported("SYNTAX_UNSUPPORTED", part="A qualified name")
