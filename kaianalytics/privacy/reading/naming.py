"""How an expression is called where nobody gave it a name: its text, nearly as DuckDB shows it.

A name is only for reading: it is made of the analyst's own words, on one line and not too long, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kaianalytics.privacy.reading.syntax import (
    Node,
    aggregate_call,
    cases,
    cast,
    column_path,
    constant,
    kind,
    read,
    sequence,
)
from kaianalytics.privacy.refusals import cut

MAX_LENGTH = 60
_MAX_DEPTH = 20
_SIGNS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
    "CONJUNCTION_AND": "AND",
    "CONJUNCTION_OR": "OR",
}


def name_of(node: Node) -> str:
    """A readable name for an unnamed expression of the SELECT."""
    return cut(column_path(node)[-1] if kind(node) == "COLUMN_REF" else _text(node, 0), MAX_LENGTH)


def _text(node: Node, depth: int) -> str:
    writer = _WRITERS.get(kind(node))
    return "…" if writer is None or depth > _MAX_DEPTH else writer(node, depth + 1)


def _call(node: Node, depth: int) -> str:
    call = aggregate_call(node)
    arguments = [_text(argument, depth) for argument in call.arguments]
    if call.name == "list_value":
        return f"[{', '.join(arguments)}]"
    if node["is_operator"] is True and len(arguments) == 2:
        return f"({arguments[0]} {call.name} {arguments[1]})"
    inside = ("DISTINCT " if call.distinct else "") + ", ".join(arguments)
    condition = "" if call.condition is None else f" FILTER (WHERE {_text(call.condition, depth)})"
    return f"{call.name}({inside}){condition}"


def _column(node: Node, depth: int) -> str:
    return ".".join(column_path(node))


def _constant(node: Node, depth: int) -> str:
    literal_kind, text = constant({**node, "alias": ""})
    return f"'{text}'" if literal_kind == "STRING" else text or "NULL"


def _cast(node: Node, depth: int) -> str:
    child, target = cast({**node, "alias": ""})
    return f"CAST({_text(child, depth)} AS {target or '…'})"


def _comparison(node: Node, depth: int) -> str:
    _, _, _, left, right = read(node, "class", "type", "alias", "left", "right")
    return f"({_text(left, depth)} {_SIGNS[kind(node)]} {_text(right, depth)})"


def _connective(node: Node, depth: int) -> str:
    parts = [_text(child, depth) for child in _children(node)]
    return f"({f' {_SIGNS[kind(node)]} '.join(parts)})"


def _case(node: Node, depth: int) -> str:
    *checks, otherwise = [_text(part, depth) for part in cases({**node, "alias": ""})]
    shown = " ".join(f"WHEN {when} THEN {then}" for when, then in zip(checks[::2], checks[1::2], strict=True))
    return f"CASE {shown} ELSE {otherwise} END"


def _wrapped(form: str) -> Callable[[Node, int], str]:
    return lambda node, depth: form.format(", ".join(_text(child, depth) for child in _children(node)))


def _children(node: Node) -> list[Node]:
    return sequence(read(node, "class", "type", "alias", "children")[-1])


_WRITERS: Mapping[str, Callable[[Node, int], str]] = {
    "FUNCTION": _call,
    "COLUMN_REF": _column,
    "VALUE_CONSTANT": _constant,
    "OPERATOR_CAST": _cast,
    "CASE_EXPR": _case,
    "CONJUNCTION_AND": _connective,
    "CONJUNCTION_OR": _connective,
    "OPERATOR_NOT": _wrapped("(NOT {})"),
    "OPERATOR_IS_NULL": _wrapped("({} IS NULL)"),
    "OPERATOR_IS_NOT_NULL": _wrapped("({} IS NOT NULL)"),
    "OPERATOR_COALESCE": _wrapped("COALESCE({})"),
    **{f"COMPARE_{name}": _comparison for name in ("EQUAL", "NOTEQUAL", "DISTINCT_FROM", "NOT_DISTINCT_FROM")},
    **{f"COMPARE_{size}THAN{or_equal}": _comparison for size in ("LESS", "GREATER") for or_equal in ("", "OREQUALTO")},
}
