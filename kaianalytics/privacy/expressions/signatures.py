"""What each operation takes and of what type its result is: the one table of operations.

Laws: an operation is total: where plain SQL would fail (overflow, a zero divisor, a date out of the calendar) its
result is missing instead; no parameter that could make a function fail (a part of a date, a number of letters, a
pattern) is anything but a literal, checked here.

How an operation is evaluated stands in `evaluation`, how it is written in `writing`, between which numbers its result
lies in `ranges`; a test compares the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from kaianalytics.privacy.expression import Call, Expression, Literal
from kaianalytics.privacy.refusals import listed
from kaianalytics.privacy.unit import ColumnType

MAX_LETTERS = 10_000  # of left, right and substr: DuckDB's own arithmetic on places overflows far beyond
MAX_DIGITS = 15  # of round
MAX_BUCKETS = 10_000
MAX_SHIFT = 1_000_000  # days: the calendar has 3.65 million

NUMERIC: frozenset[ColumnType] = frozenset({"integer", "number"})
TEMPORAL: frozenset[ColumnType] = frozenset({"date", "timestamp"})

# Done in doubles throughout, also between whole numbers: nothing overflows, and the result is settled at the end.
ARITHMETIC = frozenset({"+", "-", "*", "/", "//", "%", "negate", "abs"})

TRUNCATIONS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
PARTS: Mapping[str, tuple[int, int]] = {
    "year": (1, 9999),
    "quarter": (1, 4),
    "month": (1, 12),
    "week": (1, 53),
    "day": (1, 31),
    "dayofweek": (0, 6),
    "isodow": (1, 7),
    "dayofyear": (1, 366),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}

Arguments = tuple[Expression, ...]
Typing = Callable[[Arguments], ColumnType | None]


@dataclass(frozen=True)
class Operation:
    """What an operation takes (`takes`, for people), the type of its result or None for none, and whether NULL."""

    takes: str
    typed: Typing
    nullable: Callable[[Arguments], bool]


def common_type(expressions: Arguments) -> ColumnType | None:
    """The type in which values of these expressions meet, or None if they don't."""
    types = {expression.type for expression in expressions}
    if len(types) == 1:
        return types.pop()
    if types <= NUMERIC:
        return "number"
    return "timestamp" if types and types <= TEMPORAL else None


def case_values(call_of_case: Call) -> Arguments:
    """What a CASE can give: its THENs and its ELSE."""
    return (*call_of_case.arguments[1:-1:2], call_of_case.arguments[-1])


def shift_range(months: int, days: int, microseconds: int) -> tuple[datetime, datetime]:
    """Between which times a shift surely stays within the calendar; outside them its result is missing."""
    most = shift_days(months, days, microseconds)
    forward, backward = max(months, days, microseconds) > 0, min(months, days, microseconds) < 0
    first = datetime.min + timedelta(days=most if backward else 0)
    last = datetime.max - timedelta(days=most if forward else 0)
    return first, last


def shift_days(months: int, days: int, microseconds: int) -> int:
    """More days than the shift can move a date by."""
    return abs(months) * 31 + abs(days) + abs(microseconds) // 86_400_000_000 + 1


# --- types


def _all_of(types: frozenset[ColumnType], least: int, most: int, result: ColumnType) -> Typing:
    def typed(arguments: Arguments) -> ColumnType | None:
        fits = least <= len(arguments) <= most and all(argument.type in types for argument in arguments)
        return result if fits else None

    return typed


def _comparable(arguments: Arguments) -> ColumnType | None:
    return "boolean" if len(arguments) == 2 and common_type(arguments) else None


def _member(arguments: Arguments) -> ColumnType | None:
    listed_values = arguments[1:]
    plain = all(isinstance(value, Literal) and value.value is not None for value in listed_values)
    return "boolean" if listed_values and plain and common_type(arguments) else None


def _common(arguments: Arguments) -> ColumnType | None:
    return common_type(arguments) if arguments else None


def _pair(arguments: Arguments) -> ColumnType | None:
    first = arguments[0].type if len(arguments) == 2 else None
    return first if first and common_type(arguments) == first else None


def _case(arguments: Arguments) -> ColumnType | None:
    if len(arguments) < 3 or len(arguments) % 2 == 0:
        return None
    conditions, values = arguments[:-1:2], (*arguments[1:-1:2], arguments[-1])
    return common_type(values) if all(condition.type == "boolean" for condition in conditions) else None


def _arithmetic(count: int, *, whole: bool = True) -> Typing:
    def typed(arguments: Arguments) -> ColumnType | None:
        if len(arguments) != count or not all(argument.type in NUMERIC for argument in arguments):
            return None
        integers = all(argument.type == "integer" for argument in arguments)
        return "integer" if whole and integers else "number"

    return typed


def _whole_division(arguments: Arguments) -> ColumnType | None:
    return "integer" if _arithmetic(2)(arguments) == "integer" else None


def _rounding(arguments: Arguments) -> ColumnType | None:
    if len(arguments) == 2 and not _between(arguments[1], 0, MAX_DIGITS):
        return None
    return arguments[0].type if arguments and len(arguments) < 3 and arguments[0].type in NUMERIC else None


def _pattern(arguments: Arguments) -> ColumnType | None:
    text = len(arguments) == 2 and all(argument.type == "string" for argument in arguments)
    return "boolean" if text and isinstance(arguments[1], Literal) and arguments[1].value is not None else None


def _letters(least: int, most: int) -> Typing:
    def typed(arguments: Arguments) -> ColumnType | None:
        places = all(_between(place, -MAX_LETTERS, MAX_LETTERS) for place in arguments[1:])
        return "string" if least <= len(arguments) <= most and arguments[0].type == "string" and places else None

    return typed


def _bucket(arguments: Arguments) -> ColumnType | None:
    if len(arguments) != 4 or arguments[0].type not in NUMERIC or not _between(arguments[3], 1, MAX_BUCKETS):
        return None
    low, high = literal_number(arguments[1]), literal_number(arguments[2])
    wide_enough = low is not None and high is not None and 0 < float(high) - float(low) < float("inf")
    return "integer" if wide_enough else None


def _truncated(arguments: Arguments) -> ColumnType | None:
    if len(arguments) != 2 or arguments[1].type not in TEMPORAL:
        return None
    parts = TRUNCATIONS if arguments[1].type == "timestamp" else TRUNCATIONS[:5]
    return arguments[1].type if literal_text(arguments[0]) in parts else None


def _part(arguments: Arguments) -> ColumnType | None:
    known = len(arguments) == 2 and literal_text(arguments[0]) in PARTS
    return "integer" if known and arguments[1].type in TEMPORAL else None


def _difference(arguments: Arguments) -> ColumnType | None:
    known = len(arguments) == 3 and literal_text(arguments[0]) in TRUNCATIONS
    return "integer" if known and all(argument.type in TEMPORAL for argument in arguments[1:]) else None


def _shifted(arguments: Arguments) -> ColumnType | None:
    if len(arguments) != 4 or arguments[0].type not in TEMPORAL:
        return None
    months, days, microseconds = (literal_integer(argument) for argument in arguments[1:])
    if months is None or days is None or microseconds is None or shift_days(months, days, microseconds) > MAX_SHIFT:
        return None
    return arguments[0].type if microseconds == 0 else "timestamp"


def _whole(arguments: Arguments) -> ColumnType | None:
    if len(arguments) != 1:
        return None
    (value,) = arguments
    rounded = isinstance(value, Call) and value.operation in ("floor", "ceil", "round") and len(value.arguments) == 1
    return "integer" if value.type in ("integer", "boolean") or (value.type == "number" and rounded) else None


def literal_number(expression: Expression) -> Decimal | None:
    """The number that a literal stands for, if it is one."""
    if not isinstance(expression, Literal) or expression.type not in NUMERIC or expression.value is None:
        return None
    return Decimal(expression.value) if isinstance(expression.value, int | Decimal) else None


def literal_integer(expression: Expression) -> int | None:
    """The whole number that a literal stands for, if it is one."""
    number = literal_number(expression)
    return int(number) if number is not None and expression.type == "integer" else None


def literal_text(expression: Expression) -> str | None:
    """The text that a literal stands for, if it is one."""
    text = expression.value if isinstance(expression, Literal) else None
    return text if isinstance(text, str) else None


def _between(expression: Expression, low: int, high: int) -> bool:
    value = literal_integer(expression)
    return value is not None and low <= value <= high


# --- missing values, as far as the contract promises them away: nothing relies on it to keep the engine from failing


def _any_missing(arguments: Arguments) -> bool:
    return any(argument.nullable for argument in arguments)


def _all_missing(arguments: Arguments) -> bool:
    return all(argument.nullable for argument in arguments)


def _case_missing(arguments: Arguments) -> bool:
    return any(value.nullable for value in (*arguments[1:-1:2], arguments[-1]))


def _division_missing(arguments: Arguments) -> bool:
    return _any_missing(arguments) or not literal_number(arguments[1])


def _never(arguments: Arguments) -> bool:
    return False


def _always(arguments: Arguments) -> bool:
    return True


_TEXT: frozenset[ColumnType] = frozenset({"string"})
_TRUTH: frozenset[ColumnType] = frozenset({"boolean"})
_ANY: frozenset[ColumnType] = frozenset({"string", "integer", "number", "boolean", "date", "timestamp"})
_MANY = 10_000
_TWO_ALIKE = "two values of one type"
_NUMBERS = "numbers"

_COMPARISON = Operation(_TWO_ALIKE, _comparable, _any_missing)
_NULL_SAFE = Operation(_TWO_ALIKE, _comparable, _never)
_CONNECTIVE = Operation("truth values", _all_of(_TRUTH, 1, _MANY, "boolean"), _any_missing)
_MATCH = Operation("a text and a literal pattern", _pattern, _any_missing)
_LIMIT = Operation("values of one type", _common, _all_missing)
_SUM = Operation("two numbers", _arithmetic(2), _any_missing)
_ONE_NUMBER = Operation("a number", _arithmetic(1, whole=False), _any_missing)
_TEXT_TO_TEXT = Operation("a text", _all_of(_TEXT, 1, 1, "string"), _any_missing)
_TEXT_TEST = Operation("two texts", _all_of(_TEXT, 2, 2, "boolean"), _any_missing)
_LETTERS = Operation(f"a text and a literal whole number up to {MAX_LETTERS:,}", _letters(2, 2), _any_missing)

OPERATIONS: Mapping[str, Operation] = {
    "and": _CONNECTIVE,
    "or": _CONNECTIVE,
    "not": Operation("a truth value", _all_of(_TRUTH, 1, 1, "boolean"), _any_missing),
    **dict.fromkeys(("=", "<>", "<", "<=", ">", ">="), _COMPARISON),
    **dict.fromkeys(("is distinct from", "is not distinct from"), _NULL_SAFE),
    "in": Operation("a value and literals of its type", _member, _any_missing),
    "like": _MATCH,
    "ilike": _MATCH,
    "is_null": Operation("one value", _all_of(_ANY, 1, 1, "boolean"), _never),
    "present": Operation("one value", _all_of(_ANY, 1, 1, "boolean"), _never),
    "case": Operation("conditions, and values of one type", _case, _case_missing),
    "coalesce": Operation("values of one type", _common, _all_missing),
    "nullif": Operation(_TWO_ALIKE, _pair, _always),
    "least": _LIMIT,
    "greatest": _LIMIT,
    **dict.fromkeys(("+", "-", "*"), _SUM),
    "/": Operation("two numbers", _arithmetic(2, whole=False), _any_missing),
    "//": Operation("two whole numbers; write floor(x / y) for others", _whole_division, _division_missing),
    "%": Operation("two numbers", _arithmetic(2), _division_missing),
    "negate": Operation("a number", _arithmetic(1), _any_missing),
    "abs": Operation("a number", _arithmetic(1), _any_missing),
    **dict.fromkeys(("floor", "ceil", "sqrt", "ln", "exp"), _ONE_NUMBER),
    "round": Operation(f"a number, and at most {MAX_DIGITS} literal digits", _rounding, _any_missing),
    "power": Operation("two numbers", _arithmetic(2, whole=False), _any_missing),
    "width_bucket": Operation(
        f"a number, two literal limits, and a literal number of buckets up to {MAX_BUCKETS:,}", _bucket, _any_missing
    ),
    **dict.fromkeys(("lower", "upper", "trim"), _TEXT_TO_TEXT),
    "length": Operation("a text", _all_of(_TEXT, 1, 1, "integer"), _any_missing),
    "left": _LETTERS,
    "right": _LETTERS,
    "substr": Operation("a text, and one or two literal whole numbers", _letters(2, 3), _any_missing),
    **dict.fromkeys(("starts_with", "ends_with", "contains"), _TEXT_TEST),
    "concat": Operation("texts", _all_of(_TEXT, 1, _MANY, "string"), _never),
    "||": Operation("two texts", _all_of(_TEXT, 2, 2, "string"), _any_missing),
    "date_trunc": Operation(
        f"one of {listed(TRUNCATIONS)} in quotes, and a date (from a day upwards) or a time", _truncated, _any_missing
    ),
    "date_part": Operation(f"one of {listed(tuple(PARTS))}, and a date or a time", _part, _any_missing),
    "date_diff": Operation(f"one of {listed(TRUNCATIONS)} in quotes, and two dates", _difference, _any_missing),
    "date_add": Operation(f"a date and a literal INTERVAL up to {MAX_SHIFT:,} days", _shifted, _any_missing),
    "to_number": Operation(
        "a number or a truth value",
        _all_of(frozenset({"integer", "number", "boolean"}), 1, 1, "number"),
        _any_missing,
    ),
    "to_integer": Operation("a whole number, a truth value, or floor, ceil or round of a number", _whole, _any_missing),
    "to_text": Operation(
        "a text, a whole number, a truth value or a date",
        _all_of(frozenset({"string", "integer", "boolean", "date"}), 1, 1, "string"),
        _any_missing,
    ),
    "to_date": Operation("a date or a time", _all_of(TEMPORAL, 1, 1, "date"), _any_missing),
    "to_timestamp": Operation("a date or a time", _all_of(TEMPORAL, 1, 1, "timestamp"), _any_missing),
}

# How dear the arguments of an operation are, which its text repeats: what `operations.check_size` counts. Shifts within
# shifts take DuckDB's planner ever longer (eight of them 8 s), so that four are too many.
COPIES: Mapping[str, int] = {"width_bucket": 3, "date_add": 10}
