"""The parse trees that the guard admits, written out field by field.

A tree is what `json_serialize_sql` of the pinned DuckDB writes. The laws of this table:

1. A node is admitted only if its kind stands here, in the group that its place asks for.
2. A node has exactly the fields listed: a field that is unknown, or absent, refuses the statement. So a DuckDB that
   serialises one thing more fails closed.
3. `UNUSED` marks a feature that is not admitted (sampling, time travel, keyed recursion …): the field must be empty.
4. What a node *means* (functions, types, names) is judged by the guard beside this, never instead of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

Fields = Mapping[str, "Field"]


class Kind(Enum):
    """What sort of value one field holds."""

    NODE = "one node"
    NODES = "a list of nodes"
    ROWS = "a list of lists of nodes"
    NAME = "an identifier or text that the analyst wrote"
    NAMES = "a list of identifiers"
    WORD = "one of a fixed list of words"
    FLAG = "true or false"
    PLACE = "a whole number"
    PLACES = "lists of whole numbers"
    UNUSED = "nothing: the feature is not admitted"


@dataclass(frozen=True)
class Field:
    """What one field may hold: its kind, the group of the nodes under it, the words it may be."""

    kind: Kind
    group: str = ""
    words: tuple[object, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class Group:
    """Nodes that may stand in one sort of place: the field that tells their kind (none: a record), and their fields."""

    tag: str | None
    kinds: Mapping[str, Fields]


NAME, NAMES, FLAG = Field(Kind.NAME), Field(Kind.NAMES), Field(Kind.FLAG)
PLACE, PLACES, UNUSED = Field(Kind.PLACE), Field(Kind.PLACES), Field(Kind.UNUSED)


def _one(group: str) -> Field:
    return Field(Kind.NODE, group)


def _maybe(group: str) -> Field:
    return Field(Kind.NODE, group, optional=True)


def _many(group: str) -> Field:
    return Field(Kind.NODES, group)


def _word(*words: object) -> Field:
    return Field(Kind.WORD, words=words)


_LOCATED = {"query_location": PLACE, "query_location_length": PLACE}
_EXPRESSIONS = _many("expression")
_MAYBE = _maybe("expression")


def _expression(kind: str, fields: Fields, *types: str) -> Fields:
    return {"class": _word(kind), "type": _word(*(types or (kind,))), "alias": NAME, **_LOCATED, **fields}


def _table(kind: str, fields: Fields) -> Fields:
    return {"type": _word(kind), "alias": NAME, "sample": UNUSED, **_LOCATED, **fields}


def _query(kind: str, fields: Fields) -> Fields:
    return {"type": _word(kind), "modifiers": _many("modifier"), "cte_map": _one("common tables"), **fields}


_COMPARISONS = (
    "COMPARE_EQUAL",
    "COMPARE_NOTEQUAL",
    "COMPARE_LESSTHAN",
    "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_GREATERTHAN",
    "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_DISTINCT_FROM",
    "COMPARE_NOT_DISTINCT_FROM",
)
_OPERATORS = (
    "ARRAY_EXTRACT",
    "ARRAY_SLICE",
    "COMPARE_IN",
    "COMPARE_NOT_IN",
    "GROUPING_FUNCTION",
    "OPERATOR_COALESCE",
    "OPERATOR_IS_NOT_NULL",
    "OPERATOR_IS_NULL",
    "OPERATOR_NOT",
    "OPERATOR_TRY",
    "OPERATOR_UNPACK",
    "STRUCT_EXTRACT",
)
_WINDOWS = (
    "WINDOW_AGGREGATE",
    "WINDOW_CUME_DIST",
    "WINDOW_FILL",
    "WINDOW_FIRST_VALUE",
    "WINDOW_LAG",
    "WINDOW_LAST_VALUE",
    "WINDOW_LEAD",
    "WINDOW_NTH_VALUE",
    "WINDOW_NTILE",
    "WINDOW_PERCENT_RANK",
    "WINDOW_RANK",
    "WINDOW_RANK_DENSE",
    "WINDOW_ROW_NUMBER",
)
_FRAME_UNITS = ("ROWS", "RANGE", "GROUPS")
_FRAME_EDGES = (
    "UNBOUNDED_PRECEDING",
    "UNBOUNDED_FOLLOWING",
    *(f"CURRENT_ROW_{unit}" for unit in _FRAME_UNITS),
    *(f"EXPR_PRECEDING_{unit}" for unit in _FRAME_UNITS),
    *(f"EXPR_FOLLOWING_{unit}" for unit in _FRAME_UNITS),
)

_CALL = {"function_name": NAME, "schema": NAME, "catalog": NAME, "qualified_name": _one("qualified name")}
_FUNCTION = _expression(
    "FUNCTION",
    {
        **_CALL,
        "filter": _MAYBE,
        "order_bys": _one("ordering"),
        "distinct": FLAG,
        "is_operator": FLAG,
        "export_state": UNUSED,
        "arguments": _many("argument"),
    },
)
_WINDOW = _expression(
    "WINDOW",
    {
        **_CALL,
        "partitions": _EXPRESSIONS,
        "orders": _many("order"),
        "start": _word(*_FRAME_EDGES),
        "end": _word(*_FRAME_EDGES),
        "start_expr": _MAYBE,
        "end_expr": _MAYBE,
        "offset_expr": UNUSED,
        "default_expr": UNUSED,
        "ignore_nulls": FLAG,
        "has_ignore_nulls": FLAG,
        "filter_expr": _MAYBE,
        "exclude_clause": _word("NO_OTHER", "CURRENT_ROW", "TIES"),
        "distinct": FLAG,
        "arg_orders": _many("order"),
        "arguments": _many("argument"),
    },
    *_WINDOWS,
)
_STAR = _expression(
    "STAR",
    {
        "relation_name": NAME,
        "exclude_list": NAMES,
        "replace_list": _many("replacement"),
        "columns": FLAG,
        "expr": _MAYBE,
        "qualified_exclude_list": _many("column place"),
        "rename_list": _many("renaming"),
    },
)
_SUBQUERY = _expression(
    "SUBQUERY",
    {
        "subquery_type": _word("SCALAR", "EXISTS", "NOT_EXISTS", "ANY"),
        "subquery": _one("statement"),
        "child": _MAYBE,
        "comparison_type": _word("INVALID", *_COMPARISONS),
    },
)
_CONSTANT = _expression("CONSTANT", {"literal": _one("literal")}, "VALUE_CONSTANT")
_CAST = _expression("CAST", {"child": _one("expression"), "type_expr": _one("type"), "try_cast": FLAG}, "OPERATOR_CAST")
_TYPE = _expression(
    "TYPE",
    {
        "catalog": NAME,
        "schema": NAME,
        "type_name": NAME,
        "children": _many("type argument"),
        "qualified_name": _one("qualified name"),
    },
)

_BETWEEN = _expression(
    "BETWEEN",
    {"input": _one("expression"), "lower": _one("expression"), "upper": _one("expression")},
    "COMPARE_BETWEEN",
)
_LAMBDA = _expression(
    "LAMBDA",
    {
        "lhs": _one("expression"),
        "expr": _one("expression"),
        "syntax_type": _word("LAMBDA_KEYWORD"),
    },
)
_PAIR = {"left": _one("expression"), "right": _one("expression")}

EXPRESSIONS: Mapping[str, Fields] = {
    "BETWEEN": _BETWEEN,
    "CASE": _expression("CASE", {"case_checks": _many("case check"), "else_expr": _MAYBE}, "CASE_EXPR"),
    "CAST": _CAST,
    "COLLATE": _expression("COLLATE", {"child": _one("expression"), "collation": NAME}),
    "COLUMN_REF": _expression("COLUMN_REF", {"column_names": NAMES}),
    "COMPARISON": _expression("COMPARISON", _PAIR, *_COMPARISONS),
    "CONJUNCTION": _expression("CONJUNCTION", {"children": _EXPRESSIONS}, "CONJUNCTION_AND", "CONJUNCTION_OR"),
    "CONSTANT": _CONSTANT,
    "FUNCTION": _FUNCTION,
    "LAMBDA": _LAMBDA,
    "OPERATOR": _expression("OPERATOR", {"children": _EXPRESSIONS}, *_OPERATORS),
    "POSITIONAL_REFERENCE": _expression("POSITIONAL_REFERENCE", {"index": PLACE}),
    "STAR": _STAR,
    "SUBQUERY": _SUBQUERY,
    "WINDOW": _WINDOW,
}

_JOIN = _table(
    "JOIN",
    {
        "left": _one("table"),
        "right": _one("table"),
        "condition": _MAYBE,
        "join_type": _word("INNER", "LEFT", "RIGHT", "FULL", "SEMI", "ANTI"),
        "ref_type": _word("REGULAR", "NATURAL", "CROSS", "ASOF"),
        "using_columns": NAMES,
        "delim_flipped": UNUSED,
        "duplicate_eliminated_columns": UNUSED,
        "is_implicit": FLAG,
        "ranking_expression": UNUSED,
        "nearest_count": _word(1),
        "nearest_order_type": _word("ASCENDING"),
        "nearest_approx": UNUSED,
    },
)
_BASE_TABLE = _table(
    "BASE_TABLE",
    {
        "schema_name": NAME,
        "table_name": NAME,
        "catalog_name": NAME,
        "qualified_name": _one("qualified name"),
        "column_name_alias": NAMES,
        "at_clause": UNUSED,
    },
)
_VALUES = _table(
    "EXPRESSION_LIST",
    {"expected_names": UNUSED, "expected_types": UNUSED, "values": Field(Kind.ROWS, "expression")},
)
_TABLE_FUNCTION = _table(
    "TABLE_FUNCTION",
    {
        "function": _one("table call"),
        "column_name_alias": NAMES,
        "with_ordinality": _word("WITH_ORDINALITY", "WITHOUT_ORDINALITY"),
    },
)

TABLES: Mapping[str, Fields] = {
    "BASE_TABLE": _BASE_TABLE,
    "EMPTY": _table("EMPTY", {}),
    "EXPRESSION_LIST": _VALUES,
    "JOIN": _JOIN,
    "SUBQUERY": _table("SUBQUERY", {"subquery": _one("statement"), "column_name_alias": NAMES}),
    "TABLE_FUNCTION": _TABLE_FUNCTION,
}

QUERIES: Mapping[str, Fields] = {
    "SELECT_NODE": _query(
        "SELECT_NODE",
        {
            "select_list": _EXPRESSIONS,
            "from_table": _one("table"),
            "where_clause": _MAYBE,
            "group_expressions": _EXPRESSIONS,
            "group_sets": PLACES,
            "aggregate_handling": _word("STANDARD_HANDLING", "FORCE_AGGREGATES"),
            "having": _MAYBE,
            "sample": UNUSED,
            "qualify": _MAYBE,
        },
    ),
    "SET_OPERATION_NODE": _query(
        "SET_OPERATION_NODE",
        {
            "setop_type": _word("UNION", "UNION_BY_NAME", "EXCEPT", "INTERSECT"),
            "setop_all": FLAG,
            "left": _maybe("query"),
            "right": _maybe("query"),
            "children": _many("query"),
        },
    ),
    "RECURSIVE_CTE_NODE": _query(
        "RECURSIVE_CTE_NODE",
        {
            "cte_name": NAME,
            "union_all": FLAG,
            "left": _one("query"),
            "right": _one("query"),
            "aliases": NAMES,
            "key_targets": UNUSED,
        },
    ),
}

_ORDERING: Mapping[str, Fields] = {"ORDER_MODIFIER": {"type": _word("ORDER_MODIFIER"), "orders": _many("order")}}
MODIFIERS: Mapping[str, Fields] = {
    **_ORDERING,
    "DISTINCT_MODIFIER": {"type": _word("DISTINCT_MODIFIER"), "distinct_on_targets": _EXPRESSIONS},
    "LIMIT_MODIFIER": {
        "type": _word("LIMIT_MODIFIER"),
        "limit": _MAYBE,
        "offset": _MAYBE,
        "limit_type": _word("ROW_COUNT", "PERCENTAGE"),
    },
}


def _record(fields: Fields) -> Group:
    return Group(None, {"": fields})


_ORDER: Fields = {
    "type": _word("ORDER_DEFAULT", "ASCENDING", "DESCENDING"),
    "null_order": _word("ORDER_DEFAULT", "NULLS FIRST", "NULLS LAST"),
    "expression": _one("expression"),
}
_COMMON_TABLE: Fields = {
    "aliases": NAMES,
    "materialized": _word("CTE_MATERIALIZE_DEFAULT", "CTE_MATERIALIZE_ALWAYS", "CTE_MATERIALIZE_NEVER"),
    "key_targets": UNUSED,
    "payload_aggregates": UNUSED,
    "query_node": _one("query"),
}
_LITERAL: Fields = {
    "kind": _word("INTEGER", "NUMERIC", "STRING", "BOOLEAN", "NULL_LITERAL"),
    "text": NAME,
}

GRAMMAR: Mapping[str, Group] = MappingProxyType(
    {
        "document": _record({"error": _word(False), "statements": _many("statement")}),
        "statement": _record({"node": _one("query"), "named_param_map": UNUSED}),
        "query": Group("type", QUERIES),
        "table": Group("type", TABLES),
        "expression": Group("class", EXPRESSIONS),
        "modifier": Group("type", MODIFIERS),
        "ordering": Group("type", _ORDERING),
        "table call": Group("class", {"FUNCTION": _FUNCTION}),
        "type": Group("class", {"TYPE": _TYPE}),
        "type argument": Group("class", {"TYPE": _TYPE, "CONSTANT": _CONSTANT}),
        "order": _record(_ORDER),
        "argument": _record({"name": NAME, "expression": _one("expression")}),
        "case check": _record({"when_expr": _one("expression"), "then_expr": _one("expression")}),
        "literal": _record(_LITERAL),
        "qualified name": _record({"path": NAMES}),
        "replacement": _record({"key": NAME, "value": _one("expression")}),
        "renaming": _record({"key": _one("column place"), "value": NAME}),
        "column place": _record({"catalog": NAME, "schema": NAME, "table": NAME, "column": NAME}),
        "common tables": _record({"map": _many("named query")}),
        "named query": _record({"key": NAME, "value": _one("common table")}),
        "common table": _record(_COMMON_TABLE),
    }
)
