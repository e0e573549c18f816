"""Expressions as SQL for the engine: the same meaning as in `evaluation`, in DuckDB's words.

Laws: the text is built from nodes, so a literal of the analyst is always a literal and a name is always quoted; nothing
written here raises an error for any value: arithmetic is in doubles, whole results come back by TRY_CAST, and dates
outside the years 1–9999 count as missing wherever a function reads them or they are shown, for DuckDB's functions fail
on the most remote of them. They are compared as they stand, so that a scan can skip what a comparison rules out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import reduce

from sqlglot import exp

from kaianalytics.privacy.expression import Call, ColumnOf, Expression, Literal, LiteralValue
from kaianalytics.privacy.expressions.signatures import (
    ARITHMETIC,
    TEMPORAL,
    case_values,
    common_type,
    literal_integer,
    literal_number,
    literal_text,
    shift_range,
)
from kaianalytics.privacy.unit import ColumnType

ColumnWriter = Callable[[ColumnOf], exp.Expr]

PHYSICAL: Mapping[ColumnType, str] = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}


def sql_of(expression: Expression, column: ColumnWriter) -> exp.Expr:
    """The expression as a new SQL tree that no value makes fail; `column` writes a column of the source.

    Its SQL type is that of the expression: an integer is a BIGINT (or the column's own whole type), a number a DOUBLE.
    """
    return _Writer(column).settled(expression, sane=True)


def literal_of(value: LiteralValue, kind: ColumnType) -> exp.Expr:
    """A constant of one type as SQL."""
    match value:
        case None:
            return _cast_to(exp.null(), PHYSICAL[kind])
        case bool():
            return exp.Boolean(this=value)
        case str():
            return exp.Literal.string(value)
        case datetime():
            return _cast_to(exp.Literal.string(value.isoformat(sep=" ")), "TIMESTAMP")
        case date():
            return _cast_to(exp.Literal.string(value.isoformat()), PHYSICAL[kind])
        case int() | Decimal():
            return _cast_to(exp.Literal.string(str(value)), PHYSICAL[kind])


class _Writer:
    """Writes one expression; `sane` says whether dates outside the calendar must be made missing on the way."""

    def __init__(self, column: ColumnWriter) -> None:
        self._column = column

    def settled(self, expression: Expression, *, sane: bool = False) -> exp.Expr:
        """The value in its own type."""
        match expression:
            case Literal(value):
                return literal_of(value, expression.type)
            case ColumnOf():
                return self._read(expression, sane=sane)
            case Call() if expression.operation in ARITHMETIC:
                result = self.double(expression)
                return exp.TryCast(this=result, to=_type("BIGINT")) if expression.type == "integer" else result
            case Call():
                return _WRITTEN[expression.operation](self, expression, sane)

    def double(self, expression: Expression) -> exp.Expr:
        """A number as a double; arithmetic within arithmetic is not settled in between."""
        if isinstance(expression, Call) and expression.operation in ARITHMETIC:
            return _ARITHMETIC[expression.operation](*map(self.double, expression.arguments))
        if isinstance(expression, Literal):
            return literal_of(expression.value, "number")
        value = self.settled(expression)
        return value if expression.type == "number" else _cast_to(value, "DOUBLE")

    def common(self, arguments: Sequence[Expression], *, sane: bool = False) -> list[exp.Expr]:
        """The arguments in the type in which they meet."""
        return [self.widened(argument, common_type(tuple(arguments)), sane=sane) for argument in arguments]

    def widened(self, expression: Expression, wanted: ColumnType | None, *, sane: bool = False) -> exp.Expr:
        """The value in a type that is its own or wider."""
        if wanted == "number" and expression.type == "integer":
            return self.double(expression)
        if wanted == "timestamp" and expression.type == "date":
            return _cast_to(self.settled(expression, sane=True), "TIMESTAMP")
        return self.settled(expression, sane=sane)

    def _read(self, column: ColumnOf, *, sane: bool) -> exp.Expr:
        if column.type == "number":
            # A number may be stored as DECIMAL or DOUBLE; every one of either is a double, so this cast can't fail.
            return _cast_to(self._column(column), "DOUBLE")
        if column.type in TEMPORAL and sane:
            return _inside(lambda: self._column(column), column.type, datetime.min, datetime.max)
        return self._column(column)


def _inside(value: Callable[[], exp.Expr], kind: ColumnType, first: datetime, last: datetime) -> exp.Case:
    """The value where it lies between two times, else missing."""
    low, high = (first, last) if kind == "timestamp" else (first.date(), last.date())
    between = exp.Between(this=value(), low=literal_of(low, kind), high=literal_of(high, kind))
    return _when(between, value())


# --- operations, by how they are written


_Write = Callable[[_Writer, Call, bool], exp.Expr]


def _connective(join: type[exp.Connector]) -> _Write:
    def write(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
        return _paren(_balanced(join, [writer.settled(argument) for argument in call.arguments]))

    return write


def _balanced(join: type[exp.Connector], parts: list[exp.Expr]) -> exp.Expr:
    """Many parts as a shallow tree, for a chain of a thousand would be as deep as it is long."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return join(this=_balanced(join, parts[:middle]), expression=_balanced(join, parts[middle:]))


def _comparison(compare: type[exp.Binary]) -> _Write:
    def write(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
        one, two = writer.common(call.arguments)
        return _paren(compare(this=one, expression=two))

    return write


def _not(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
    return _paren(exp.Not(this=writer.settled(call.arguments[0])))


def _in(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
    value, *listed = writer.common(call.arguments)
    return _paren(exp.In(this=value, expressions=listed))


def _matches(match: type[exp.Binary]) -> _Write:
    def write(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
        text, pattern = map(writer.settled, call.arguments)
        return _paren(match(this=text, expression=pattern))

    return write


def _is_null(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
    return _paren(exp.Is(this=writer.settled(call.arguments[0], sane=True), expression=exp.null()))


def _present(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
    (value,) = call.arguments
    if value.type == "number":  # a stored one may be not finite as well
        return _function("COALESCE", _function("ISFINITE", writer.settled(value)), exp.Boolean(this=False))
    return _paren(exp.Not(this=_is_null(writer, call, sane)))


def _case(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
    wanted = common_type(case_values(call))
    branches = [
        exp.If(this=writer.settled(condition), true=writer.widened(value, wanted, sane=sane))
        for condition, value in zip(call.arguments[:-1:2], call.arguments[1:-1:2], strict=True)
    ]
    return exp.Case(ifs=branches, default=writer.widened(call.arguments[-1], wanted, sane=sane))


def _meeting(name: str) -> _Write:
    """A function whose arguments meet in one type, and whose result is one of them."""

    def write(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
        return _function(name, *writer.common(call.arguments, sane=sane))

    return write


def _in_doubles(name: str) -> _Write:
    def write(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
        return _function(name, *map(writer.double, call.arguments))

    return write


def _round(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
    if call.type == "integer":
        return writer.settled(call.arguments[0])
    digits = [exp.Literal.number(literal_integer(place) or 0) for place in call.arguments[1:]]
    return _function("ROUND", writer.double(call.arguments[0]), *digits)


def _width_bucket(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
    value, low, high, count = call.arguments
    buckets = literal_integer(count) or 0
    start, end = (float(literal_number(limit) or 0) for limit in (low, high))
    share = exp.Div(this=_paren(_minus(writer.double(value), _double(start))), expression=_double(end - start))
    place = _function("FLOOR", exp.Mul(this=share, expression=_double(float(buckets))))
    limited = _function("GREATEST", _function("LEAST", place, _double(buckets - 1.0)), _double(-1.0))
    inner = exp.Add(this=_cast_to(limited, "BIGINT"), expression=exp.Literal.number(1))
    above = exp.GTE(this=writer.double(value), expression=_double(end))
    bucket = _when(above, _cast_to(exp.Literal.number(buckets + 1), "BIGINT"), inner)
    return _when(_function("ISFINITE", writer.double(value)), bucket)


def _named(name: str) -> _Write:
    def write(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
        return _function(name, *map(writer.settled, call.arguments))

    return write


def _letters(name: str) -> _Write:
    def write(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
        places = [exp.Literal.number(literal_integer(place) or 0) for place in call.arguments[1:]]
        return _function(name, writer.settled(call.arguments[0]), *places)

    return write


def _pasted(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
    one, two = map(writer.settled, call.arguments)
    return _paren(exp.DPipe(this=one, expression=two, safe=True))


def _date_trunc(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
    floor = _function("DATE_TRUNC", writer.settled(call.arguments[0]), writer.settled(call.arguments[1], sane=True))
    return _cast_to(floor, PHYSICAL[call.type])


def _date_part(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
    part = literal_text(call.arguments[0]) or ""
    return _function(part.upper(), writer.settled(call.arguments[1], sane=True))


def _date_diff(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
    part, *times = call.arguments
    return _function("DATE_DIFF", writer.settled(part), *(writer.widened(at, "timestamp", sane=True) for at in times))


def _date_add(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
    value, *shift = call.arguments
    months, days, microseconds = (literal_integer(part) or 0 for part in shift)
    first, last = shift_range(months, days, microseconds)
    inside = _inside(lambda: writer.settled(value, sane=True), value.type, first, last)
    parts = zip(("TO_MONTHS", "TO_DAYS", "TO_MICROSECONDS"), (months, days, microseconds), strict=True)
    moved = [_function(name, exp.Literal.number(count)) for name, count in parts if count]
    start = _cast_to(inside, "TIMESTAMP")
    return _cast_to(reduce(_plus, moved, start), PHYSICAL[call.type])


def _cast(writer: _Writer, call: Call, sane: bool) -> exp.Expr:
    (value,) = call.arguments
    if value.type == call.type:
        return writer.settled(value, sane=True)
    if call.type == "integer" and value.type == "number":
        return exp.TryCast(this=writer.double(value), to=_type("BIGINT"))
    return _cast_to(writer.settled(value, sane=True), PHYSICAL[call.type])


_WRITTEN: Mapping[str, _Write] = {
    "and": _connective(exp.And),
    "or": _connective(exp.Or),
    "not": _not,
    "=": _comparison(exp.EQ),
    "<>": _comparison(exp.NEQ),
    "<": _comparison(exp.LT),
    "<=": _comparison(exp.LTE),
    ">": _comparison(exp.GT),
    ">=": _comparison(exp.GTE),
    "is distinct from": _comparison(exp.NullSafeNEQ),
    "is not distinct from": _comparison(exp.NullSafeEQ),
    "in": _in,
    "like": _matches(exp.Like),
    "ilike": _matches(exp.ILike),
    "is_null": _is_null,
    "present": _present,
    "case": _case,
    "coalesce": _meeting("COALESCE"),
    "nullif": _meeting("NULLIF"),
    "least": _meeting("LEAST"),
    "greatest": _meeting("GREATEST"),
    "floor": _in_doubles("FLOOR"),
    "ceil": _in_doubles("CEIL"),
    "sqrt": _in_doubles("SQRT"),
    "ln": _in_doubles("LN"),
    "exp": _in_doubles("EXP"),
    "power": _in_doubles("POWER"),
    "round": _round,
    "width_bucket": _width_bucket,
    "lower": _named("LOWER"),
    "upper": _named("UPPER"),
    "trim": _named("TRIM"),
    "length": _named("LENGTH"),
    "left": _letters("LEFT"),
    "right": _letters("RIGHT"),
    "substr": _letters("SUBSTR"),
    "starts_with": _named("STARTS_WITH"),
    "ends_with": _named("ENDS_WITH"),
    "contains": _named("CONTAINS"),
    "concat": _named("CONCAT"),
    "||": _pasted,
    "date_trunc": _date_trunc,
    "date_part": _date_part,
    "date_diff": _date_diff,
    "date_add": _date_add,
    "to_number": _cast,
    "to_integer": _cast,
    "to_text": _cast,
    "to_date": _cast,
    "to_timestamp": _cast,
}


def _plus(one: exp.Expr, two: exp.Expr) -> exp.Expr:
    return exp.Add(this=one, expression=two)


def _minus(one: exp.Expr, two: exp.Expr) -> exp.Expr:
    return exp.Sub(this=one, expression=two)


def _binary(operator: type[exp.Binary]) -> Callable[..., exp.Expr]:
    return lambda one, two: _paren(operator(this=one, expression=two))


_ARITHMETIC: Mapping[str, Callable[..., exp.Expr]] = {
    "+": _binary(exp.Add),
    "-": _binary(exp.Sub),
    "*": _binary(exp.Mul),
    "/": _binary(exp.Div),
    "//": lambda one, two: _function("TRUNC", exp.Div(this=one, expression=two)),
    "%": _binary(exp.Mod),
    "negate": lambda value: _paren(exp.Neg(this=value)),
    "abs": lambda value: _function("ABS", value),
}
WRITTEN = frozenset(_WRITTEN) | frozenset(_ARITHMETIC)


def _when(condition: exp.Expr, value: exp.Expr, otherwise: exp.Expr | None = None) -> exp.Case:
    return exp.Case(ifs=[exp.If(this=condition, true=value)], default=otherwise)


def _function(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _paren(value: exp.Expr) -> exp.Expr:
    return exp.Paren(this=value)


def _double(value: float) -> exp.Expr:
    return _cast_to(exp.Literal.string(repr(value)), "DOUBLE")


def _type(name: str) -> exp.DataType:
    return exp.DataType(this=exp.DataType.Type[name])


def _cast_to(value: exp.Expr, to: str) -> exp.Expr:
    return exp.Cast(this=value, to=_type(to))
