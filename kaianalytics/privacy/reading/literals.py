"""Constants of a statement, read at compile time as the type of what they meet.

Laws: a literal that doesn't fit its other side's type exactly is refused, so that the engine has nothing to convert and
no value can make it fail; numbers stay exact until they meet a double.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Context, Decimal, Inexact, InvalidOperation

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.expression import Call, ColumnOf, Expression, Literal, LiteralValue
from kaianalytics.privacy.expressions.evaluation import evaluate
from kaianalytics.privacy.expressions.signatures import common_type
from kaianalytics.privacy.refusals import quoted, unsupported
from kaianalytics.privacy.unit import ColumnType

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?", re.ASCII)
_INTERVAL = re.compile(r"([+-]?\d{1,7})\s*([a-z]+)", re.ASCII)
_EXAMPLES: Mapping[ColumnType, str] = {
    "string": "a text such as 'news'",
    "integer": "a whole number such as 5 (of at most 64 bits)",
    "number": "a number such as 2.5",
    "boolean": "TRUE or FALSE",
    "date": "a date such as '2026-01-31'",
    "timestamp": "a time such as '2026-01-31 12:00:00'",
}
_NATURAL: Mapping[str, ColumnType] = {
    "INTEGER": "integer",
    "NUMERIC": "number",
    "STRING": "string",
    "BOOLEAN": "boolean",
    "NULL_LITERAL": "string",
}
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])
_MOST_DIGITS = 60
_TINIEST = -330  # powers of ten: below the smallest double

MONTHS = {"month": 1, "quarter": 3, "year": 12, "decade": 120, "century": 1200}
DAYS = {"day": 1, "week": 7}
MICROSECONDS = {
    "hour": 3_600_000_000,
    "minute": 60_000_000,
    "second": 1_000_000,
    "millisecond": 1_000,
    "microsecond": 1,
}
_SHORT = {"centurie": "century", "min": "minute", "sec": "second", "mon": "month"}


def literal_of_text(literal_kind: str, text: str) -> Literal:
    """A literal of the statement in the type that it has by itself; NULL fits any."""
    kind = _NATURAL.get(literal_kind)
    if kind is None:
        raise unsupported("SYNTAX_UNSUPPORTED", part="A literal")
    if literal_kind == "NULL_LITERAL":
        return Literal(None, kind)
    try:
        if kind == "integer" and not -(2**63) <= int(text) < 2**63:
            kind = "number"
        return Literal(_PARSERS[kind](text), kind)
    except (ValueError, InvalidOperation):
        raise unsupported("LITERAL_UNREADABLE", text=quoted(text)) from None


def as_type(literal: Literal, wanted: ColumnType, other: Expression) -> Literal:
    """The literal read as the type of `other`; QueryUnsupported FILTER_TYPE where it doesn't fit."""
    found = literal_as(literal, wanted)
    if found is None:
        raise mistyped(other, wanted)
    return found


def literal_as(literal: Literal, wanted: ColumnType) -> Literal | None:
    """The literal in another type, or None where it has no exact value there."""
    value = literal.value
    if value is None or literal.type == wanted:
        return Literal(value, wanted)
    if wanted == "number" and isinstance(value, int) and literal.type == "integer":
        return Literal(Decimal(value), "number")
    if wanted == "integer" and isinstance(value, Decimal):
        # Compared with a fraction, a whole number is compared as a number.
        whole = value == value.to_integral_value() and -(2**63) <= value < 2**63
        return Literal(int(value), "integer") if whole else literal
    if wanted == "timestamp" and isinstance(value, date):
        return Literal(datetime.combine(value, time()), "timestamp")
    if wanted == "date" and isinstance(value, datetime):
        return Literal(value.date(), "date") if value.time() == time() else literal
    if wanted in ("date", "timestamp") and isinstance(value, str):
        return _parsed(value, wanted)
    return None


def met(arguments: Sequence[Expression]) -> tuple[Expression, ...]:
    """Arguments that meet in one type, each literal read as the type of the others."""
    others: list[Expression] = [argument for argument in arguments if not isinstance(argument, Literal)]
    constants = [argument for argument in arguments if not argument.nullable] or list(arguments)
    # Among constants alone, a text (and a bare NULL, which is one here) is read as what the others are.
    known = others or [argument for argument in constants if argument.type != "string"] or constants
    wanted = common_type(tuple(known)) if known else None
    if wanted is None:
        return tuple(arguments)
    return tuple(as_type(one, wanted, known[0]) if isinstance(one, Literal) else one for one in arguments)


def mistyped(other: Expression, wanted: ColumnType) -> QueryUnsupported:
    """The refusal of a literal, for something of another type than it."""
    shown = quoted(other.name) if isinstance(other, ColumnOf) else "What this is compared with"
    return unsupported("FILTER_TYPE", column=shown, type=wanted, example=_EXAMPLES[wanted])


def folded(call: Call) -> Call | Literal:
    """An operation on constants as the constant that it gives; sums and products of decimals are exact."""
    if not all(isinstance(argument, Literal) for argument in call.arguments):
        return call
    exact = _exactly(call)
    value = exact if exact is not None else evaluate(call, _no_column)
    if isinstance(value, float):
        return Literal(Decimal(repr(value)), "number") if math.isfinite(value) else call
    return Literal(value, call.type)


def shift_of(text: str) -> tuple[int, int, int] | None:
    """Months, days and microseconds of an INTERVAL's text, such as "1 year 2 days"; None if it can't be read."""
    found = _INTERVAL.findall(text.lower())
    if not found or _INTERVAL.sub("", text.lower()).strip():
        return None
    months = days = microseconds = 0
    for count, written in found:
        unit = unit_of(written)
        if unit is None:
            return None
        months += int(count) * MONTHS.get(unit, 0)
        days += int(count) * DAYS.get(unit, 0)
        microseconds += int(count) * MICROSECONDS.get(unit, 0)
    return months, days, microseconds


def unit_of(written: str) -> str | None:
    """The unit of time that a word such as `days` names."""
    singular = written.removesuffix("s")
    unit = _SHORT.get(singular, singular)
    return unit if unit in MONTHS or unit in DAYS or unit in MICROSECONDS else None


def _no_column(column: ColumnOf) -> None:
    return None


def _exactly(call: Call) -> LiteralValue:
    numbers = [argument.value for argument in call.arguments if isinstance(argument, Literal)]
    apply = _DECIMAL.get(call.operation)
    if apply is None or not all(isinstance(number, int | Decimal) for number in numbers):
        return None
    try:
        found = apply(*(Decimal(number) for number in numbers))  # type: ignore[arg-type]  # ints and Decimals, just checked
    except (Inexact, InvalidOperation):
        return None
    if call.type == "integer":
        return int(found) if -(2**63) <= found < 2**63 else None
    return found if math.isfinite(float(found)) else None


_DECIMAL: Mapping[str, Callable[..., Decimal]] = {
    "+": _EXACT.add,
    "-": _EXACT.subtract,
    "*": _EXACT.multiply,
    "negate": lambda value: value.copy_negate() if value else Decimal(0),
}


def _parsed(text: str, wanted: ColumnType) -> Literal | None:
    try:
        return Literal(_PARSERS[wanted](text), wanted)
    except (ValueError, InvalidOperation):
        return None


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
    if len(value.as_tuple().digits) > _MOST_DIGITS or (value and value.adjusted() < _TINIEST):
        raise ValueError("finer than any double")
    return value if value else Decimal(0)


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("no truth value")
    return text == "true"


def _date(text: str) -> date:
    if not _DATE.fullmatch(text):
        raise ValueError("not an ISO date")
    return date.fromisoformat(text)


def _timestamp(text: str) -> datetime:
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError("not an ISO time without a zone")
    whole, _, fraction = text.partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction:0<6}" if fraction else whole)


_PARSERS: Mapping[ColumnType, Callable[[str], LiteralValue]] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _truth,
    "date": _date,
    "timestamp": _timestamp,
}
