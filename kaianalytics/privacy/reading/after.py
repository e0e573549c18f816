"""Arithmetic after the noise: what SELECT, HAVING and ORDER BY make of noisy measures and public keys, free of charge.

Laws: it reads measures and keys alone, never a row; every operation is typed here, so that evaluating it can't fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.expression import Expression, Literal
from kaianalytics.privacy.query import Apply, Constant, FigureRole, KeyOf, Number, Of
from kaianalytics.privacy.reading.aggregates import KINDS, Aggregates, Worth
from kaianalytics.privacy.reading.functions import is_aggregate
from kaianalytics.privacy.reading.literals import literal_as, literal_of_text
from kaianalytics.privacy.reading.naming import name_of
from kaianalytics.privacy.reading.scalars import MAX_DEPTH, children_of, expression_of, not_a_value
from kaianalytics.privacy.reading.scope import Scope
from kaianalytics.privacy.reading.syntax import (
    Node,
    alias_of,
    cases,
    cast,
    column_path,
    constant,
    function_call,
    kind,
    read,
    standing,
    walk_nodes,
)
from kaianalytics.privacy.refusals import quoted, unsupported

_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
}
_NUMERIC = {
    **{name: (name, 2) for name in ("+", "-", "*", "/")},
    **{name: (name, 1) for name in ("abs", "sqrt", "floor", "ceil")},
    "ceiling": ("ceil", 1),
    "@": ("abs", 1),
}
_SHOWN = {"number": "a number", "text": "a text", "truth": "a truth value", "date": "a date", "timestamp": "a time"}


@dataclass(frozen=True)
class Afterwards:
    """Reads expressions over a question's aggregates, keys and, where given, the names of its SELECT."""

    scope: Scope
    keys: Sequence[Expression]
    aggregates: Aggregates
    named: Mapping[str, Worth]

    def worth(self, node: Node, depth: int = 0) -> Worth:
        """What an expression is worth in a cell, or the refusal that names what isn't understood."""
        with standing(node):
            if depth > MAX_DEPTH:
                raise unsupported("EXPRESSION_TOO_DEEP", limit=str(MAX_DEPTH))
            if kind(node) and alias_of(node):
                raise unsupported("SYNTAX_UNSUPPORTED", part="An alias within an expression")
            if is_aggregate(node):
                return self._aggregate(node)
            if (key := self._key(node)) is not None:
                return key
            reader = _READERS.get(kind(node))
            if reader is None:
                raise not_a_value(node)
            return reader(self, node, depth + 1)

    def _aggregate(self, node: Node) -> Worth:
        worths = self.aggregates.of(node)
        if len(worths) != 1 or worths[0].role == "top":
            raise unsupported("SEVERAL_FIGURES", function=quoted(name_of(node)))
        return worths[0]

    def _key(self, node: Node) -> Worth | None:
        """The key that an expression is, if it is one; a name of the SELECT comes before a column."""
        if kind(node) == "COLUMN_REF":
            path = column_path(node)
            if len(path) == 1 and (named := self.named.get(path[0].lower())) is not None:
                return named
        elif not self.keys or kind(node) == "VALUE_CONSTANT" or any(map(is_aggregate, walk_nodes(node))):
            return None
        try:
            expression = expression_of(node, self.scope)
        except QueryUnsupported:
            if kind(node) == "COLUMN_REF":
                raise
            return None  # not an expression of a row: one of figures, or of names of the SELECT
        if expression in self.keys:
            return of_key(list(self.keys).index(expression), expression)
        return None

    # --- the nodes

    def column(self, node: Node, depth: int) -> Worth:
        """A column that is no key: there is no one value of it in a cell."""
        raise unsupported("COLUMN_UNGROUPED", column=quoted(column_path(node)[-1]))

    def constant(self, node: Node, depth: int) -> Worth:
        """A literal."""
        literal = literal_of_text(*constant(node))
        value = literal.value
        if value is None:
            return Worth(Constant(None), "null")
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            return Worth(Number(Decimal(value)), whole=value == int(value), negative=value < 0)
        return Worth(Constant(value), KINDS[literal.type])

    def function(self, node: Node, depth: int) -> Worth:
        """An arithmetic operator or a function of figures."""
        written = function_call(node)
        arguments = [self.worth(argument, depth) for argument in written.arguments]
        if written.name == "-" and len(arguments) == 1:
            return _numbers("negate", arguments, 1)
        if written.name == "round" and len(arguments) == 2 and not _is_number(arguments[1]):
            raise unsupported("AFTER_TYPE", operation="ROUND", takes="a figure and a literal number of digits")
        if written.name == "round":
            return _numbers("round", arguments, min(max(len(arguments), 1), 2))
        if written.name in _NUMERIC:
            return _numbers(_NUMERIC[written.name][0], arguments, _NUMERIC[written.name][1])
        if written.name in ("least", "greatest"):
            return _limited(written.name, arguments)
        if written.name == "nullif" and len(arguments) == 2:
            return _alike("nullif", arguments)
        if written.name == "if" and len(arguments) == 3:
            return _case(arguments)
        raise unsupported("AFTER_UNSUPPORTED", function=quoted(written.name))

    def coalesce(self, node: Node, depth: int) -> Worth:
        """The first value that isn't missing."""
        return _alike("coalesce", [self.worth(child, depth) for child in children_of(node)])

    def comparison(self, node: Node, depth: int) -> Worth:
        """A comparison of figures or keys with each other or with literals."""
        _, _, left, right = read(node, "class", "type", "left", "right")
        return _compared(_COMPARISONS[kind(node)], self.worth(left, depth), self.worth(right, depth))

    def between(self, node: Node, depth: int) -> Worth:
        """BETWEEN, ends included."""
        _, _, *parts = read(node, "class", "type", "input", "lower", "upper")
        value, low, high = (self.worth(part, depth) for part in parts)
        return _truth("and", [_compared(">=", value, low), _compared("<=", value, high)])

    def membership(self, node: Node, depth: int) -> Worth:
        """IN, a list of literals."""
        value, *listed = (self.worth(child, depth) for child in children_of(node))
        if not listed or not all(isinstance(one.value, Number | Constant) for one in listed):
            raise unsupported("IN_UNSUPPORTED")
        found = _truth("or", [_compared("=", value, one) for one in listed])
        return _truth("not", [found]) if kind(node) == "COMPARE_NOT_IN" else found

    def connective(self, node: Node, depth: int) -> Worth:
        """AND, OR, NOT."""
        operation = {"CONJUNCTION_AND": "and", "CONJUNCTION_OR": "or", "OPERATOR_NOT": "not"}[kind(node)]
        return _truth(operation, [self.worth(child, depth) for child in children_of(node)])

    def missing(self, node: Node, depth: int) -> Worth:
        """IS NULL and IS NOT NULL."""
        child, *others = children_of(node)
        if others:
            raise unsupported("EXPRESSION_UNSUPPORTED")
        found = Worth(Apply("is_null", (self.worth(child, depth).value,)), "truth")
        return _truth("not", [found]) if kind(node) == "OPERATOR_IS_NOT_NULL" else found

    def case(self, node: Node, depth: int) -> Worth:
        """CASE over figures and keys."""
        return _case([self.worth(part, depth) for part in cases(node)])

    def cast(self, node: Node, depth: int) -> Worth:
        """A cast to DOUBLE, which figures are already."""
        child, target = cast(node)
        value = self.worth(child, depth)
        if target in ("DOUBLE", "FLOAT8") and value.kind == "number":
            return replace(value, whole=False)
        if target in ("DATE", "TIMESTAMP") and isinstance(value.value, Constant):
            return _as_kind(value, target.lower())
        raise unsupported("CAST_UNSUPPORTED", type=quoted(target or "a type with parameters"))


_READERS: Mapping[str, Callable[[Afterwards, Node, int], Worth]] = {
    "COLUMN_REF": Afterwards.column,
    "VALUE_CONSTANT": Afterwards.constant,
    "FUNCTION": Afterwards.function,
    "OPERATOR_COALESCE": Afterwards.coalesce,
    **dict.fromkeys(_COMPARISONS, Afterwards.comparison),
    "COMPARE_BETWEEN": Afterwards.between,
    "COMPARE_IN": Afterwards.membership,
    "COMPARE_NOT_IN": Afterwards.membership,
    **dict.fromkeys(("CONJUNCTION_AND", "CONJUNCTION_OR", "OPERATOR_NOT"), Afterwards.connective),
    **dict.fromkeys(("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"), Afterwards.missing),
    "CASE_EXPR": Afterwards.case,
    "OPERATOR_CAST": Afterwards.cast,
}


def of_key(place: int, expression: Expression) -> Worth:
    """What a key is worth, by its place."""
    return Worth(KeyOf(place), KINDS[expression.type], whole=expression.type == "integer", negative=True)


# --- types, and what is known of a result


def _numbers(operation: str, arguments: Sequence[Worth], count: int) -> Worth:
    if len(arguments) != count or any(argument.kind != "number" for argument in arguments):
        raise _mistyped(operation, "two numbers" if count == 2 else "a number")
    made = Apply(operation, tuple(argument.value for argument in arguments))
    return Worth(
        made,
        role=_role(operation, arguments),
        support=_support(operation, arguments),
        whole=operation in ("+", "-", "*", "negate", "abs") and all(argument.whole for argument in arguments),
        negative=_negative(operation, arguments),
    )


def _role(operation: str, arguments: Sequence[Worth]) -> FigureRole | None:
    noisy = [argument.role for argument in arguments if argument.role is not None]
    if not noisy:
        return None
    same = len(set(noisy)) == 1 and noisy[0] in ("count", "sum") and operation in ("+", "-")
    rounded = operation in ("round", "floor", "ceil", "abs", "negate")
    return noisy[0] if rounded or (same and len(noisy) == len(arguments)) else "ratio"


def _support(operation: str, arguments: Sequence[Worth]) -> int | None:
    if operation == "/":
        divisor = arguments[1]
        return divisor.support if divisor.role == "count" and isinstance(divisor.value, Of) else None
    known = {argument.support for argument in arguments if argument.role is not None}
    return known.pop() if len(known) == 1 else None


def _negative(operation: str, arguments: Sequence[Worth]) -> bool:
    if operation in ("abs", "sqrt"):
        return False
    return operation in ("-", "negate") or any(argument.negative for argument in arguments)


def _limited(operation: str, arguments: Sequence[Worth]) -> Worth:
    worth = _alike(operation, arguments)
    if worth.kind not in ("number", "null"):
        raise _mistyped(operation.upper(), "numbers")
    return worth


def _alike(operation: str, arguments: Sequence[Worth]) -> Worth:
    """An operation whose arguments, and whose result, are all of one kind."""
    met = _met(operation, arguments)
    roles = {argument.role for argument in met if argument.role is not None}
    supports = {argument.support for argument in met if argument.role is not None}
    return Worth(
        Apply(operation, tuple(argument.value for argument in met)),
        next((argument.kind for argument in met if argument.kind != "null"), "null"),
        roles.pop() if len(roles) == 1 else "ratio" if roles else None,
        supports.pop() if len(supports) == 1 else None,
        all(argument.whole for argument in met if argument.kind != "null"),
        any(argument.negative for argument in met),
    )


def _case(parts: Sequence[Worth]) -> Worth:
    conditions, values = parts[:-1:2], (*parts[1:-1:2], parts[-1])
    if any(condition.kind not in ("truth", "null") for condition in conditions):
        raise _mistyped("CASE", "conditions")
    worth = _alike("case", values)
    met = _met("case", values)
    pairs = [value for pair in zip(conditions, met, strict=False) for value in pair]
    # A condition on noise makes its values noisy too.
    noisy = worth.role is None and any(condition.role is not None for condition in conditions)
    made = Apply("case", tuple(part.value for part in (*pairs, met[-1])))
    return replace(worth, value=made, role="ratio" if noisy else worth.role)


def _compared(operation: str, one: Worth, two: Worth) -> Worth:
    met = _met(operation, (one, two))
    if any(argument.kind == "null" for argument in met):
        raise unsupported("FILTER_NULL")
    return _truth(operation, met)


def _truth(operation: str, arguments: Sequence[Worth]) -> Worth:
    if operation in ("and", "or", "not") and any(argument.kind not in ("truth", "null") for argument in arguments):
        raise _mistyped(operation.upper(), "truth values")
    noisy = any(argument.role is not None for argument in arguments)
    made = Apply(operation, tuple(argument.value for argument in arguments))
    return Worth(made, "truth", "ratio" if noisy else None)


def _met(operation: str, arguments: Sequence[Worth]) -> tuple[Worth, ...]:
    """Values of one kind, a literal read as the kind of the others."""
    others = {one.kind for one in arguments if not isinstance(one.value, Constant | Number)}
    wanted = (others or {one.kind for one in arguments if one.kind != "null"}) - {"null"}
    if len(wanted) > 1 or not arguments:
        raise _mistyped(operation.upper(), "values of one kind")
    return tuple(_as_kind(one, kind) for kind in wanted or {"null"} for one in arguments)


def _as_kind(worth: Worth, wanted: str) -> Worth:
    if worth.kind in (wanted, "null"):
        return worth
    text = worth.value.value if isinstance(worth.value, Constant) else None
    if isinstance(text, str) and wanted in ("date", "timestamp"):
        found = literal_as(Literal(text, "string"), wanted)  # type: ignore[arg-type]  # one of the two
        if found is not None:
            return Worth(Constant(found.value), wanted)  # type: ignore[arg-type]  # a date, which is a key value
    if isinstance(worth.value, Constant) and wanted == "timestamp" and worth.kind == "date":
        found = literal_as(Literal(worth.value.value, "date"), "timestamp")
        if found is not None:
            return Worth(Constant(found.value), "timestamp")  # type: ignore[arg-type]
    raise _mistyped("What stands here", _SHOWN.get(wanted, wanted))


def _is_number(worth: Worth) -> bool:
    return isinstance(worth.value, Number) and worth.whole


def _mistyped(operation: str, takes: str) -> QueryUnsupported:
    return unsupported("AFTER_TYPE", operation=operation, takes=takes)
