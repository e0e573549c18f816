"""WHERE: from the parse tree to a `Predicate`, with every literal read at compile time as its column's own type.

Laws: what isn't named here is refused; no column is ever cast; a literal that doesn't fit its column's type exactly is
refused, so that the engine has nothing to convert and no value can make it fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.predicate import (
    All,
    Comparison,
    Constant,
    Flag,
    LiteralValue,
    Membership,
    Missing,
    Not,
    Operator,
    Pattern,
    Predicate,
    Some,
)
from kaianalytics.privacy.refusals import quoted, unsupported
from kaianalytics.privacy.scope import Scope
from kaianalytics.privacy.syntax import Node, alias_of, cast, column_path, constant, function_call, kind, read, sequence
from kaianalytics.privacy.unit import ColumnType, StatisticsColumn

MAX_DEPTH = 50

_T = TypeVar("_T")

_OPERATORS: Mapping[str, Operator] = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "is distinct from",
    "COMPARE_NOT_DISTINCT_FROM": "is not distinct from",
}
_MIRRORED: Mapping[Operator, Operator] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?", re.ASCII)
_EXAMPLES: Mapping[ColumnType, str] = {
    "string": "a text such as 'news'",
    "integer": "a whole number such as 5 (of at most 64 bits)",
    "number": "a number such as 2.5",
    "boolean": "TRUE or FALSE",
    "date": "a date such as '2026-01-31'",
    "timestamp": "a time such as '2026-01-31 12:00:00'",
}


def predicate_of(node: Node, scope: Scope, depth: int = 0) -> Predicate:
    """The filter of one WHERE expression, or the refusal that names what isn't supported in it."""
    if depth > MAX_DEPTH:
        raise unsupported("FILTER_TOO_DEEP", limit=str(MAX_DEPTH))
    if kind(node) in ("CONJUNCTION_AND", "CONJUNCTION_OR", "OPERATOR_NOT"):
        return _connective(node, scope, depth)
    if kind(node) in _OPERATORS:
        return _comparison(node, scope)
    reader = _LEAVES.get(kind(node))
    if reader is None:
        raise _not_a_filter(node)
    return reader(node, scope)


def _connective(node: Node, scope: Scope, depth: int) -> Predicate:
    children = tuple(predicate_of(child, scope, depth + 1) for child in _children(node))
    if kind(node) == "OPERATOR_NOT":
        return Not(_only(children))
    return All(children) if kind(node) == "CONJUNCTION_AND" else Some(children)


def _comparison(node: Node, scope: Scope) -> Predicate:
    _, _, left, right = read(node, "class", "type", "left", "right")
    operator = _OPERATORS[kind(node)]
    if kind(right) == "COLUMN_REF":
        left, right, operator = right, left, _MIRRORED.get(operator, operator)
    column = _column(_without_idle_cast(left, scope), scope)
    return Comparison(column.name, operator, _literal(right, column))


def _between(node: Node, scope: Scope) -> Predicate:
    _, _, subject, lower, upper = read(node, "class", "type", "input", "lower", "upper")
    column = _column(subject, scope)
    ends = (
        Comparison(column.name, ">=", _literal(lower, column)),
        Comparison(column.name, "<=", _literal(upper, column)),
    )
    return All(ends)


def _membership(node: Node, scope: Scope) -> Predicate:
    children = _children(node)
    if len(children) < 2:
        raise unsupported("FILTER_UNSUPPORTED")
    column = _column(children[0], scope)
    return Membership(column.name, tuple(_literal(literal, column) for literal in children[1:]))


def _missing(node: Node, scope: Scope) -> Predicate:
    missing = Missing(_column(_only(_children(node)), scope).name)
    return Not(missing) if kind(node) == "OPERATOR_IS_NOT_NULL" else missing


def _flag(node: Node, scope: Scope) -> Predicate:
    column = _column(node, scope)
    if column.type != "boolean":
        raise mistyped(column)
    return Flag(column.name)


def _constant(node: Node, scope: Scope) -> Predicate:
    literal_kind, text = _plain_constant(node)
    if literal_kind != "BOOLEAN":
        raise unsupported("FILTER_NULL" if literal_kind == "NULL_LITERAL" else "FILTER_UNSUPPORTED")
    return Constant(text == "true")


def _like(node: Node, scope: Scope) -> Predicate:
    name, arguments = function_call(node)
    if name not in ("~~", "!~~") or node.get("is_operator") is not True or len(arguments) != 2 or alias_of(node):
        raise unsupported("FILTER_UNSUPPORTED")
    column = _column(arguments[0], scope)
    if column.type != "string":
        raise mistyped(column)
    pattern = Pattern(column.name, str(_literal(arguments[1], column)))
    return pattern if name == "~~" else Not(pattern)


_LEAVES: Mapping[str, Callable[[Node, Scope], Predicate]] = {
    "COMPARE_BETWEEN": _between,
    "COMPARE_IN": _membership,
    "OPERATOR_IS_NULL": _missing,
    "OPERATOR_IS_NOT_NULL": _missing,
    "COLUMN_REF": _flag,
    "VALUE_CONSTANT": _constant,
    "FUNCTION": _like,
}


def mistyped(column: StatisticsColumn) -> QueryUnsupported:
    """The refusal for a column that the filter treats as another type than it is."""
    return unsupported("FILTER_TYPE", column=quoted(column.name), type=column.type, example=_EXAMPLES[column.type])


def _children(node: Node) -> list[Any]:
    children = sequence(read(node, "class", "type", "children")[-1])
    if not children:  # AND of nothing would be true of every row
        raise unsupported("FILTER_UNSUPPORTED")
    return children


def _only(children: Sequence[_T]) -> _T:
    if len(children) != 1:
        raise unsupported("FILTER_UNSUPPORTED")
    return children[0]


def _column(node: Node, scope: Scope) -> StatisticsColumn:
    if kind(node) != "COLUMN_REF" or alias_of(node):
        raise _not_a_filter(node)
    return scope.column(column_path(node))


def _not_a_filter(node: Node) -> QueryUnsupported:
    codes = {"VALUE_PARAMETER": "PARAMETER_UNSUPPORTED", "SUBQUERY": "SUBQUERY_UNSUPPORTED"}
    return unsupported(codes.get(kind(node), "FILTER_UNSUPPORTED"))


def _without_idle_cast(node: Node, scope: Scope) -> Node:
    # DuckDB reads `flag IS TRUE` as CAST(flag AS BOOLEAN) IS NOT DISTINCT FROM TRUE; a boolean needs no such cast.
    if kind(node) != "OPERATOR_CAST":
        return node
    child, target = cast(node)
    if target != "BOOLEAN" or _column(child, scope).type != "boolean":
        raise unsupported("FILTER_UNSUPPORTED")
    return child


def _literal(node: Node, column: StatisticsColumn) -> LiteralValue:
    """The value of a literal as its column's own type; dates and times are read here, never by the engine."""
    literal_kind, text = _dated(node) if kind(node) == "OPERATOR_CAST" else _plain_constant(node)
    if literal_kind == "NULL_LITERAL":
        raise unsupported("FILTER_NULL")
    parse = _PARSERS.get((column.type, literal_kind))
    try:
        value = None if parse is None else parse(text)
    except (ValueError, InvalidOperation):
        value = None
    if value is None:
        raise mistyped(column)
    return value


def _plain_constant(node: Node) -> tuple[str, str]:
    if kind(node) != "VALUE_CONSTANT":
        raise _not_a_filter(node)
    return constant(node)


def _dated(node: Node) -> tuple[str, str]:
    child, target = cast(node)
    literal_kind, text = _plain_constant(child)
    if target not in ("DATE", "TIMESTAMP") or literal_kind != "STRING":
        raise unsupported("FILTER_UNSUPPORTED")
    return target, text


def _text(text: str) -> str:
    text.encode()  # ValueError for half a character, which no stored text holds
    if "\0" in text:
        raise ValueError("no text with a NUL")
    return text


def _integer(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError("beyond 64 bits")
    return value


def _number(text: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite() or abs(float(value)) == float("inf"):
        raise ValueError("beyond a double")
    return value


def _date(text: str) -> date:
    if not _DATE.fullmatch(text):
        raise ValueError("not an ISO date")
    return date.fromisoformat(text)


def _timestamp(text: str) -> datetime:
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError("not an ISO time without a zone")
    whole, _, fraction = text.partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction:0<6}" if fraction else whole)


_PARSERS: Mapping[tuple[ColumnType, str], Callable[[str], LiteralValue]] = {
    ("string", "STRING"): _text,
    ("integer", "INTEGER"): _integer,
    ("number", "INTEGER"): _number,
    ("number", "NUMERIC"): _number,
    ("boolean", "BOOLEAN"): lambda text: text == "true",
    ("date", "STRING"): _date,
    ("date", "DATE"): _date,
    ("timestamp", "STRING"): _timestamp,
    ("timestamp", "TIMESTAMP"): _timestamp,
    ("timestamp", "DATE"): _timestamp,
}
