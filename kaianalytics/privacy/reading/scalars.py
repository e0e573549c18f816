"""Row expressions: from the parse tree to typed expressions, or the refusal that names what isn't understood.

Laws: what isn't named here is refused; every literal is read at compile time as the type of what it meets; an
identifier is refused wherever a value is read; nothing nests more deeply than this recursion can follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from kaianalytics.privacy.expression import Expression, Literal
from kaianalytics.privacy.reading.functions import FUNCTIONS, applied, is_aggregate, is_time, moved, way_without
from kaianalytics.privacy.reading.literals import (
    DAYS,
    MICROSECONDS,
    MONTHS,
    literal_as,
    literal_of_text,
    met,
    mistyped,
    shift_of,
    unit_of,
)
from kaianalytics.privacy.reading.syntax import (
    Node,
    alias_of,
    cases,
    cast,
    column_path,
    constant,
    function_call,
    is_window,
    kind,
    read,
    sequence,
    standing,
)
from kaianalytics.privacy.refusals import quoted, unsupported
from kaianalytics.privacy.unit import ColumnType

MAX_DEPTH = 50

_COMPARISONS: Mapping[str, str] = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "is distinct from",
    "COMPARE_NOT_DISTINCT_FROM": "is not distinct from",
}
_MIRRORED: Mapping[str, str] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_CASTS: Mapping[str, str] = {
    **dict.fromkeys(("DOUBLE", "FLOAT8"), "to_number"),
    **dict.fromkeys(("INTEGER", "INT", "INT4", "BIGINT", "INT8", "LONG", "SIGNED"), "to_integer"),
    **dict.fromkeys(("VARCHAR", "TEXT", "STRING"), "to_text"),
    "DATE": "to_date",
    **dict.fromkeys(("TIMESTAMP", "DATETIME"), "to_timestamp"),
}
_CAST_TYPES: Mapping[str, ColumnType] = {
    "to_number": "number",
    "to_integer": "integer",
    "to_text": "string",
    "to_date": "date",
    "to_timestamp": "timestamp",
}


class Columns(Protocol):
    """Where the columns of an expression come from."""

    def column(self, path: tuple[str, ...]) -> Expression:
        """What a column's name stands for; QueryUnsupported where it is unknown or an identifier."""


def condition_of(node: Node, columns: Columns) -> Expression:
    """A predicate of WHERE, ON or FILTER."""
    with standing(node):
        predicate = expression_of(node, columns)
        if isinstance(predicate, Literal) and predicate.value is None:
            raise unsupported("FILTER_NULL")
        if predicate.type != "boolean":
            raise mistyped(predicate, predicate.type)
        return predicate


def expression_of(node: Node, columns: Columns, depth: int = 0) -> Expression:
    """The typed expression of one node, or the refusal that names what isn't supported in it."""
    with standing(node):
        if depth > MAX_DEPTH:
            raise unsupported("EXPRESSION_TOO_DEEP", limit=str(MAX_DEPTH))
        reader = _READERS.get(kind(node))
        if reader is None:
            raise not_a_value(node)
        if alias_of(node):
            raise unsupported("SYNTAX_UNSUPPORTED", part="An alias within an expression")
        return reader(node, columns, depth + 1)


def not_a_value(node: Any) -> Exception:
    """The refusal of a node that stands for no value of a row."""
    codes = {"VALUE_PARAMETER": "PARAMETER_UNSUPPORTED", "SUBQUERY": "SUBQUERY_EXPRESSION", "STAR": "STAR_UNSUPPORTED"}
    return unsupported("WINDOW_UNSUPPORTED" if is_window(node) else codes.get(kind(node), "EXPRESSION_UNSUPPORTED"))


def children_of(node: Node) -> list[Any]:
    """The children of a connective or an operator, of which there is at least one."""
    children = sequence(read(node, "class", "type", "children")[-1])
    if not children:  # AND of nothing would be true of every row
        raise unsupported("EXPRESSION_UNSUPPORTED")
    return children


def _column(node: Node, columns: Columns, depth: int) -> Expression:
    return columns.column(column_path(node))


def _constant(node: Node, columns: Columns, depth: int) -> Expression:
    return literal_of_text(*constant(node))


def _connective(operation: str) -> Callable[[Node, Columns, int], Expression]:
    def read_parts(node: Node, columns: Columns, depth: int) -> Expression:
        parts = tuple(expression_of(child, columns, depth) for child in children_of(node))
        return applied(operation, parts)

    return read_parts


def _only_child(operation: str, *, opposite: bool = False) -> Callable[[Node, Columns, int], Expression]:
    def read_child(node: Node, columns: Columns, depth: int) -> Expression:
        child, *others = children_of(node)
        if others:
            raise unsupported("EXPRESSION_UNSUPPORTED")
        found = applied(operation, (expression_of(child, columns, depth),))
        return applied("not", (found,)) if opposite else found

    return read_child


def _comparison(node: Node, columns: Columns, depth: int) -> Expression:
    _, _, left, right = read(node, "class", "type", "left", "right")
    operation = _COMPARISONS[kind(node)]
    sides = met([expression_of(left, columns, depth), expression_of(right, columns, depth)])
    if "distinct" not in operation:
        _refuse_null(sides)
    if isinstance(sides[0], Literal):  # `5 < x` is `x > 5`: a question has one form, and bounds are found in it
        return applied(_MIRRORED.get(operation, operation), sides[::-1])
    return applied(operation, sides)


def _between(node: Node, columns: Columns, depth: int) -> Expression:
    _, _, *parts = read(node, "class", "type", "input", "lower", "upper")
    value, low, high = (expression_of(part, columns, depth) for part in parts)
    lower, upper = met([value, low]), met([value, high])
    _refuse_null((*lower, *upper))
    return applied("and", (applied(">=", lower), applied("<=", upper)))


def _membership(node: Node, columns: Columns, depth: int) -> Expression:
    value, *listed = (expression_of(child, columns, depth) for child in children_of(node))
    if not listed or not all(isinstance(one, Literal) for one in listed):
        raise unsupported("IN_UNSUPPORTED")
    _refuse_null(listed)
    found = applied("in", met([value, *listed]))
    return applied("not", (found,)) if kind(node) == "COMPARE_NOT_IN" else found


def _case(node: Node, columns: Columns, depth: int) -> Expression:
    parts = [expression_of(part, columns, depth) for part in cases(node)]
    values = met([*parts[1:-1:2], parts[-1]])
    pairs = [part for pair in zip(parts[:-1:2], values, strict=False) for part in pair]
    return applied("case", (*pairs, values[-1]))


def _coalesce(node: Node, columns: Columns, depth: int) -> Expression:
    return applied("coalesce", met([expression_of(child, columns, depth) for child in children_of(node)]))


def _cast(node: Node, columns: Columns, depth: int) -> Expression:
    child, target = cast(node)
    value = expression_of(child, columns, depth)
    if target in ("BOOLEAN", "BOOL", "LOGICAL") and value.type == "boolean":
        # DuckDB reads `flag IS TRUE` as CAST(flag AS BOOLEAN) IS NOT DISTINCT FROM TRUE; a boolean needs no such cast.
        return value
    operation = _CASTS.get(target)
    if operation is None:
        raise unsupported("CAST_UNSUPPORTED", type=quoted(target or "a type with parameters"))
    if isinstance(value, Literal) and operation != "to_text":
        found = literal_as(value, _CAST_TYPES[operation])
        return found if found is not None and found.type == _CAST_TYPES[operation] else applied(operation, (value,))
    return applied(operation, (value,))


def _function(node: Node, columns: Columns, depth: int) -> Expression:
    written = function_call(node) if not is_aggregate(node) else None
    if written is None:
        raise unsupported("AGGREGATE_MISPLACED", function=quoted(str(node["function_name"])))
    if written.name in ("+", "-", "date_add") and len(written.arguments) == 2:
        shift = interval_of(written.arguments[1])
        if shift is not None:
            return _shifted(expression_of(written.arguments[0], columns, depth), shift, backward=written.name == "-")
    build = FUNCTIONS.get(written.name)
    if build is None:
        raise unsupported("FUNCTION_UNSUPPORTED", function=quoted(written.name), way=way_without(written.name))
    return build(tuple(expression_of(argument, columns, depth) for argument in written.arguments))


def _shifted(value: Expression, shift: tuple[int, int, int], *, backward: bool) -> Expression:
    if not is_time(value):
        raise unsupported("EXPRESSION_TYPE", operation="INTERVAL", types=value.type, takes="a date or a time")
    months, days, microseconds = (-part if backward else part for part in shift)
    return moved(value, (months, days, microseconds))


def interval_of(node: Node) -> tuple[int, int, int] | None:
    """Months, days and microseconds of an INTERVAL literal, as DuckDB writes it in the tree; None for anything else."""
    if kind(node) == "OPERATOR_CAST" and cast(node)[1] == "INTERVAL":
        child = cast(node)[0]
        shift = shift_of(constant(child)[1]) if kind(child) == "VALUE_CONSTANT" else None
        if shift is None:
            raise unsupported("INTERVAL_UNSUPPORTED")
        return shift
    if kind(node) != "FUNCTION" or alias_of(node) or not str(node.get("function_name", "")).lower().startswith("to_"):
        return None
    written = function_call(node)
    unit = unit_of(written.name.removeprefix("to_").replace("centuries", "century"))
    if unit is None or len(written.arguments) != 1:
        return None
    count = _count(written.arguments[0])
    return count * MONTHS.get(unit, 0), count * DAYS.get(unit, 0), count * MICROSECONDS.get(unit, 0)


def _count(node: Node, depth: int = 0) -> int:
    """The whole number within the casts that DuckDB's parser puts around the count of an INTERVAL."""
    if kind(node) == "OPERATOR_CAST" and depth < 4 and cast(node)[1] in ("INTEGER", "BIGINT", "DOUBLE"):
        return _count(cast(node)[0], depth + 1)
    if kind(node) == "FUNCTION" and depth < 4 and not alias_of(node):
        written = function_call(node)
        if written.name == "trunc" and len(written.arguments) == 1:
            return _count(written.arguments[0], depth + 1)
    literal_kind, text = constant(node) if kind(node) == "VALUE_CONSTANT" else ("", "")
    if literal_kind not in ("INTEGER", "STRING") or not text.removeprefix("-").isdecimal() or len(text) > 15:
        raise unsupported("INTERVAL_UNSUPPORTED")
    return int(text)


def _refuse_null(values: Sequence[Expression]) -> None:
    if any(isinstance(value, Literal) and value.value is None for value in values):
        raise unsupported("FILTER_NULL")


_READERS: Mapping[str, Callable[[Node, Columns, int], Expression]] = {
    "COLUMN_REF": _column,
    "VALUE_CONSTANT": _constant,
    "CONJUNCTION_AND": _connective("and"),
    "CONJUNCTION_OR": _connective("or"),
    "OPERATOR_NOT": _only_child("not"),
    "OPERATOR_IS_NULL": _only_child("is_null"),
    "OPERATOR_IS_NOT_NULL": _only_child("is_null", opposite=True),
    "OPERATOR_COALESCE": _coalesce,
    "OPERATOR_CAST": _cast,
    **dict.fromkeys(_COMPARISONS, _comparison),
    "COMPARE_BETWEEN": _between,
    "COMPARE_IN": _membership,
    "COMPARE_NOT_IN": _membership,
    "CASE_EXPR": _case,
    "FUNCTION": _function,
}
