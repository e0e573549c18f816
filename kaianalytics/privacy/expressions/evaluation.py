"""What an expression is worth on known values, in Python: for keys that a contract declares, never for data.

Laws: it says what the SQL of `writing` says, under three-valued logic and DuckDB's order of numbers (not-a-number is
equal to itself and greatest), which a property test compares; it is total, as every operation is.

Numbers are floats here, for the engine calculates in doubles; whole numbers are ints once they are settled.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from kaianalytics.privacy.expression import Call, ColumnOf, Expression, Literal
from kaianalytics.privacy.expressions.signatures import ARITHMETIC, common_type
from kaianalytics.privacy.expressions.words_and_dates import (
    date_add,
    date_diff,
    date_part,
    date_trunc,
    left,
    like,
    lower,
    right,
    substr,
    timed,
    trim,
    upper,
)
from kaianalytics.privacy.unit import ColumnType

Value = str | int | float | bool | date | datetime | None
ValueOf = Callable[[ColumnOf], Value]

_INTEGERS = float(2**63)


def evaluate(expression: Expression, value_of: ValueOf) -> Value:
    """The expression's value where `value_of` gives those of its columns; None is NULL, a number is a float."""
    match expression:
        case Literal(value):
            return float(value) if isinstance(value, Decimal) else value
        case ColumnOf():
            found = value_of(expression)
            return float(found) if isinstance(found, int | Decimal) and expression.type == "number" else found
        case Call() if expression.operation in ARITHMETIC:
            return _settled(_double(expression, value_of), expression.type)
        case Call():
            result: Value = _SPECIAL.get(expression.operation, _plain)(expression, value_of)
            return result


def _double(expression: Expression, value_of: ValueOf) -> float | None:
    """The value as a double; within arithmetic nothing is settled to a whole number in between."""
    if isinstance(expression, Call) and expression.operation in ARITHMETIC:
        arguments = [_double(argument, value_of) for argument in expression.arguments]
        if any(argument is None for argument in arguments):
            return None
        return _IN_DOUBLES[expression.operation](*arguments)
    value = evaluate(expression, value_of)
    return None if value is None else float(value)  # type: ignore[arg-type]  # `call` let numbers through alone


def _settled(value: float | None, wanted: ColumnType) -> float | int | None:
    if value is None or wanted != "integer":
        return value
    return int(value) if math.isfinite(value) and -_INTEGERS <= value < _INTEGERS else None


def _widened(expression: Expression, wanted: ColumnType | None, value_of: ValueOf) -> Any:
    """The value in a type that is its own or wider, in which it meets others."""
    if wanted == "number":
        return _double(expression, value_of)
    value = evaluate(expression, value_of)
    return timed(value) if wanted == "timestamp" and isinstance(value, date) else value


def _values(arguments: Sequence[Expression], value_of: ValueOf) -> list[Any]:
    wanted = common_type(tuple(arguments))
    return [_widened(argument, wanted, value_of) for argument in arguments]


def _plain(expression: Call, value_of: ValueOf) -> Any:
    """A function of present values: missing where one of them is."""
    read = _double if expression.operation in _OF_DOUBLES else evaluate
    values = [read(argument, value_of) for argument in expression.arguments]
    return None if None in values else _PLAIN[expression.operation](*values)


# --- logic and comparisons


def _connective(decisive: bool) -> Callable[[Call, ValueOf], bool | None]:
    def joined(expression: Call, value_of: ValueOf) -> bool | None:
        parts = [evaluate(argument, value_of) for argument in expression.arguments]
        if any(part is decisive for part in parts):
            return decisive
        return None if None in parts else not decisive

    return joined


def _ranked(value: Any) -> tuple[bool, Any]:
    # As DuckDB has it: not-a-number is one value, above infinity.
    return (True, 0) if isinstance(value, float) and math.isnan(value) else (False, value)


def _comparison(expression: Call, value_of: ValueOf) -> bool | None:
    one, two = _values(expression.arguments, value_of)
    if one is None or two is None:
        return None
    return bool(_COMPARE[expression.operation](_ranked(one), _ranked(two)))


def _distinct(expression: Call, value_of: ValueOf) -> bool:
    one, two = _values(expression.arguments, value_of)
    return (_ranked(one) != _ranked(two)) is (expression.operation == "is distinct from")


def _member(expression: Call, value_of: ValueOf) -> bool | None:
    value, *listed = _values(expression.arguments, value_of)
    return None if value is None else value in listed


def _case(expression: Call, value_of: ValueOf) -> Any:
    arguments = expression.arguments
    values = (*arguments[1:-1:2], arguments[-1])
    wanted = common_type(values)
    for condition, value in zip(arguments[:-1:2], arguments[1:-1:2], strict=True):
        if evaluate(condition, value_of) is True:
            return _widened(value, wanted, value_of)
    return _widened(arguments[-1], wanted, value_of)


def _coalesce(expression: Call, value_of: ValueOf) -> Any:
    return next((value for value in _values(expression.arguments, value_of) if value is not None), None)


def _nullif(expression: Call, value_of: ValueOf) -> Any:
    one, two = _values(expression.arguments, value_of)
    same = one is not None and two is not None and _ranked(one) == _ranked(two)
    return None if same else evaluate(expression.arguments[0], value_of)


def _extreme(choose: Callable[..., Any]) -> Callable[[Call, ValueOf], Any]:
    def chosen(expression: Call, value_of: ValueOf) -> Any:
        present = [value for value in _values(expression.arguments, value_of) if value is not None]
        return choose(present, key=_ranked) if present else None

    return chosen


def _present(expression: Call, value_of: ValueOf) -> bool:
    value = evaluate(expression.arguments[0], value_of)
    return value is not None and (not isinstance(value, float) or math.isfinite(value))


def _concat(expression: Call, value_of: ValueOf) -> str:
    return "".join(str(evaluate(argument, value_of) or "") for argument in expression.arguments)


# --- numbers, which are never missing here and may be infinite


def _divided(one: float, two: float) -> float:
    if two != 0:
        return one / two
    return math.nan if one == 0 or math.isnan(one) else math.copysign(math.inf, one) * math.copysign(1, two)


def _remainder(one: float, two: float) -> float:
    return math.nan if two == 0 or math.isinf(one) else math.fmod(one, two)


def _truncated(value: float) -> float:
    return float(math.trunc(value)) if math.isfinite(value) else value


def _half_away(value: float) -> float:
    # std::round: to the nearest, halves away from zero; the double below a half must not be rounded up by an addition.
    whole = math.floor(abs(value))
    return math.copysign(whole + (abs(value) - whole >= 0.5), value)


def _round(value: float, digits: int = 0) -> float:
    if not math.isfinite(value):
        return value
    scaled = value * 10.0**digits
    rounded = _half_away(scaled) / 10.0**digits if math.isfinite(scaled) else math.inf
    return rounded if math.isfinite(rounded) else value


def _guarded(function: Callable[..., float], *values: float) -> float:
    try:
        return function(*values)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def _logarithm(value: float) -> float:
    return -math.inf if value == 0 else _guarded(math.log, value)


def _power(base: float, exponent: float) -> float:
    odd = math.isfinite(exponent) and exponent % 2 == 1
    if base == 0 and exponent < 0:
        return math.copysign(math.inf, base) if odd else math.inf
    result = _guarded(math.pow, base, exponent)
    return -result if math.isinf(result) and math.isfinite(base) and base < 0 and odd else result


def _bucket(value: float, low: float, high: float, count: float) -> int | None:
    if not math.isfinite(value):
        return None
    if value >= high:
        return int(count) + 1
    place = (value - low) / (high - low) * count
    return int(max(min(math.floor(place) if math.isfinite(place) else place, count - 1), -1)) + 1


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date) else str(value)


_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_IN_DOUBLES: Mapping[str, Callable[..., float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divided,
    "//": lambda one, two: _truncated(_divided(one, two)),
    "%": _remainder,
    "negate": operator.neg,
    "abs": abs,
}
_SPECIAL: Mapping[str, Callable[[Call, ValueOf], Any]] = {
    "and": _connective(decisive=False),
    "or": _connective(decisive=True),
    **dict.fromkeys(_COMPARE, _comparison),
    "is distinct from": _distinct,
    "is not distinct from": _distinct,
    "in": _member,
    "is_null": lambda expression, value_of: evaluate(expression.arguments[0], value_of) is None,
    "present": _present,
    "case": _case,
    "coalesce": _coalesce,
    "nullif": _nullif,
    "least": _extreme(min),
    "greatest": _extreme(max),
    "concat": _concat,
}
_PLAIN: Mapping[str, Callable[..., Any]] = {
    "not": operator.not_,
    "like": lambda text, pattern: like(pattern, text),
    "ilike": lambda text, pattern: like(lower(pattern), lower(text)),
    "floor": lambda value: float(math.floor(value)) if math.isfinite(value) else value,
    "ceil": lambda value: float(math.ceil(value)) if math.isfinite(value) else value,
    "round": lambda value, digits=0: value if isinstance(value, int) else _round(value, digits),
    "sqrt": lambda value: _guarded(math.sqrt, value),
    "ln": _logarithm,
    "exp": lambda value: _guarded(math.exp, value),
    "power": _power,
    "width_bucket": _bucket,
    "lower": lower,
    "upper": upper,
    "trim": trim,
    "length": len,
    "left": left,
    "right": right,
    "substr": substr,
    "starts_with": lambda text, start: text.startswith(start),
    "ends_with": lambda text, end: text.endswith(end),
    "contains": lambda text, part: part in text,
    "||": operator.add,
    "date_trunc": date_trunc,
    "date_part": date_part,
    "date_diff": date_diff,
    "date_add": date_add,
    "to_number": float,
    "to_integer": lambda value: _settled(float(value), "integer") if isinstance(value, float) else int(value),
    "to_text": _text,
    "to_date": lambda value: value.date() if isinstance(value, datetime) else value,
    "to_timestamp": timed,
}
_OF_DOUBLES = frozenset({"floor", "ceil", "sqrt", "ln", "exp", "power", "width_bucket"})
EVALUATED = frozenset(_IN_DOUBLES) | frozenset(_SPECIAL) | frozenset(_PLAIN)
