"""Between which numbers an expression's values lie, proved from the declared bounds of its columns.

Laws: exact arithmetic on fractions, rounded outwards where a function is irrational; an end that isn't proved is open,
and an expression with an open end has no interval; missing and non-finite values lie nowhere. The engine's doubles may
stray from these ends by their last digits, which is why it clamps to them; nothing rests on doubles keeping within.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from math import ceil, floor

from kaianalytics.privacy.expression import Call, ColumnOf, Expression, Literal
from kaianalytics.privacy.expressions.signatures import NUMERIC, PARTS, literal_integer, literal_number, literal_text

Interval = tuple[Decimal, Decimal]
BoundsOf = Callable[[ColumnOf], Interval | None]

_DIGITS = 34
_STEEP = 700  # e to this power is nearly the largest double
_LONG = 10**60  # of a numerator or a denominator: longer ones are rounded
_TINY = Fraction(1, 10**300)
_HUGE = Fraction(10) ** 300  # beyond it a double is soon infinite: nothing is proved of such numbers


@dataclass(frozen=True)
class _Range:
    """A closed interval; an end that is None is open."""

    low: Fraction | None
    high: Fraction | None

    @property
    def ends(self) -> tuple[Fraction, Fraction] | None:
        """Both ends, if both are proved."""
        return None if self.low is None or self.high is None else (self.low, self.high)


_ANY = _Range(None, None)
_TRUTH = _Range(Fraction(0), Fraction(1))


def interval(expression: Expression, bounds_of: BoundsOf) -> Interval | None:
    """The least and the greatest value that the expression can have, or None where one isn't proved.

    `bounds_of` gives the declared bounds of a column. A truth value counts as 0 or 1; a text or a date has no interval.
    """
    ends = _range(expression, bounds_of).ends
    if ends is None or max(map(abs, ends)) > _HUGE:
        return None
    return _decimal(ends[0], ROUND_FLOOR), _decimal(ends[1], ROUND_CEILING)


def _range(expression: Expression, bounds_of: BoundsOf) -> _Range:
    if expression.type == "boolean":
        return _TRUTH
    if expression.type not in NUMERIC:
        return _ANY
    match expression:
        case Literal():
            return _exactly(literal_number(expression))
        case ColumnOf():
            bounds = bounds_of(expression)
            return _ANY if bounds is None else _Range(Fraction(bounds[0]), Fraction(bounds[1]))
        case Call():
            return _of_call(expression, bounds_of)


def _of_call(expression: Call, bounds_of: BoundsOf) -> _Range:
    if fixed := _FIXED.get(expression.operation):
        return fixed(expression)
    ranges = [_range(argument, bounds_of) for argument in expression.arguments]
    rule = _RULES.get(expression.operation)
    found = _ANY if rule is None else rule(expression, ranges)
    return _Range(_shortened(found.low, ROUND_FLOOR), _shortened(found.high, ROUND_CEILING))


def _exactly(value: Decimal | None) -> _Range:
    return _ANY if value is None else _Range(Fraction(value), Fraction(value))


# --- ranges that the operation itself states


def _of_part(expression: Call) -> _Range:
    low, high = PARTS[literal_text(expression.arguments[0]) or ""]
    return _Range(Fraction(low), Fraction(high))


def _of_bucket(expression: Call) -> _Range:
    return _Range(Fraction(0), Fraction((literal_integer(expression.arguments[3]) or 0) + 1))


_FIXED: Mapping[str, Callable[[Call], _Range]] = {"date_part": _of_part, "width_bucket": _of_bucket}


# --- ranges from those of the arguments


def _plus(_: Call, ranges: list[_Range]) -> _Range:
    one, two = ranges
    return _Range(_added(one.low, two.low), _added(one.high, two.high))


def _minus(expression: Call, ranges: list[_Range]) -> _Range:
    return _plus(expression, [ranges[0], _negated(expression, ranges[1:])])


def _negated(_: Call, ranges: list[_Range]) -> _Range:
    (one,) = ranges
    return _Range(None if one.high is None else -one.high, None if one.low is None else -one.low)


def _times(_: Call, ranges: list[_Range]) -> _Range:
    one, two = (part.ends for part in ranges)
    if one is None or two is None:
        return _ANY
    products = [a * b for a in one for b in two]
    return _Range(min(products), max(products))


def _over(expression: Call, ranges: list[_Range]) -> _Range:
    divisor = ranges[1].ends
    if divisor is None or divisor[0] <= 0 <= divisor[1]:
        return _ANY
    return _times(expression, [ranges[0], _Range(1 / divisor[1], 1 / divisor[0])])


def _whole_over(expression: Call, ranges: list[_Range]) -> _Range:
    toward_zero = _each_end(lambda end: Fraction(floor(end) if end >= 0 else ceil(end)))
    return toward_zero(expression, [_over(expression, ranges)])


def _remainder(_: Call, ranges: list[_Range]) -> _Range:
    # A remainder has the dividend's sign, is smaller than the divisor, and no larger than the dividend.
    sizes = [max(map(abs, part.ends)) for part in ranges if part.ends is not None]
    if not sizes:
        return _ANY
    low, high = ranges[0].low, ranges[0].high
    least = Fraction(0) if low is not None and low >= 0 else -min(sizes)
    return _Range(least, Fraction(0) if high is not None and high <= 0 else min(sizes))


def _absolute(expression: Call, ranges: list[_Range]) -> _Range:
    low, high = ranges[0].low, ranges[0].high
    if low is not None and low >= 0:
        return ranges[0]
    if high is not None and high <= 0:
        return _negated(expression, ranges)
    return _Range(Fraction(0), None if low is None or high is None else max(-low, high))


def _each_end(change: Callable[[Fraction], Fraction]) -> Callable[[Call, list[_Range]], _Range]:
    """For a function that never falls: its values at the ends."""

    def rule(_: Call, ranges: list[_Range]) -> _Range:
        low, high = ranges[0].low, ranges[0].high
        return _Range(None if low is None else change(low), None if high is None else change(high))

    return rule


def _rounded(expression: Call, ranges: list[_Range]) -> _Range:
    digits = literal_integer(expression.arguments[1]) if len(expression.arguments) == 2 else 0
    scale = Fraction(10) ** (digits or 0)
    return _each_end(lambda end: _half_away(end * scale) / scale)(expression, ranges)


def _root(_: Call, ranges: list[_Range]) -> _Range:
    low, high = ranges[0].low, ranges[0].high
    if high is None or high < 0:
        return _Range(Fraction(0), None)
    return _Range(_outward("sqrt", max(low or Fraction(0), Fraction(0)), up=False), _outward("sqrt", high, up=True))


def _logarithm(_: Call, ranges: list[_Range]) -> _Range:
    low, high = ranges[0].low, ranges[0].high
    return _Range(
        _outward("ln", low, up=False) if low is not None and low > 0 else None,
        _outward("ln", high, up=True) if high is not None and high > 0 else None,
    )


def _exponential(_: Call, ranges: list[_Range]) -> _Range:
    low, high = ranges[0].low, ranges[0].high
    above = low is not None and -_STEEP < low < _STEEP
    return _Range(
        _outward("exp", low, up=False) if low is not None and above else Fraction(0),
        _outward("exp", high, up=True) if high is not None and high < _STEEP else None,
    )


def _power(expression: Call, ranges: list[_Range]) -> _Range:
    base, exponent = ranges[0].ends, literal_number(expression.arguments[1])
    if base is None or exponent is None or exponent != int(exponent) or not 0 <= exponent <= 100:
        return _ANY
    ends = [end ** int(exponent) for end in base]
    crosses = base[0] <= 0 <= base[1] and exponent % 2 == 0 and exponent > 0
    return _Range(min([*ends, Fraction(0)] if crosses else ends), max(ends))


def _union(ranges: list[_Range]) -> _Range:
    lows, highs = [part.low for part in ranges], [part.high for part in ranges]
    return _Range(_extreme(min, lows), _extreme(max, highs))


def _of_case(expression: Call, ranges: list[_Range]) -> _Range:
    values = zip((*expression.arguments[1:-1:2], expression.arguments[-1]), (*ranges[1:-1:2], ranges[-1]), strict=True)
    return _union([part for value, part in values if not (isinstance(value, Literal) and value.value is None)])


def _of_least(expression: Call, ranges: list[_Range]) -> _Range:
    # LEAST skips what is missing, so only an argument that can't be missing caps it for sure.
    sure = [part.high for value, part in zip(expression.arguments, ranges, strict=True) if isinstance(value, Literal)]
    caps = [end for end in sure if end is not None]
    return _Range(_union(ranges).low, min(caps) if caps else _union(ranges).high)


def _of_greatest(expression: Call, ranges: list[_Range]) -> _Range:
    opposite = [_negated(expression, [part]) for part in ranges]
    return _negated(expression, [_of_least(expression, opposite)])


_RULES: Mapping[str, Callable[[Call, list[_Range]], _Range]] = {
    "+": _plus,
    "-": _minus,
    "*": _times,
    "/": _over,
    "//": _whole_over,
    "%": _remainder,
    "negate": _negated,
    "abs": _absolute,
    "floor": _each_end(lambda end: Fraction(floor(end))),
    "ceil": _each_end(lambda end: Fraction(ceil(end))),
    "round": _rounded,
    "sqrt": _root,
    "ln": _logarithm,
    "exp": _exponential,
    "power": _power,
    "least": _of_least,
    "greatest": _of_greatest,
    "case": _of_case,
    "coalesce": lambda _, ranges: _union(ranges),
    "nullif": lambda _, ranges: ranges[0],
    "to_number": lambda _, ranges: ranges[0],
    "to_integer": lambda _, ranges: ranges[0],
    "length": lambda _, ranges: _Range(Fraction(0), None),
}


def _shortened(end: Fraction | None, rounding: str) -> Fraction | None:
    """The end with a bounded number of digits, moved outwards; open where it is beyond all doubles."""
    if end is None or abs(end) > _HUGE:
        return None
    if 0 < abs(end) < _TINY:
        end = _TINY if rounding == ROUND_CEILING else -_TINY
    return end if max(abs(end.numerator), end.denominator) < _LONG else Fraction(_decimal(end, rounding))


def _added(one: Fraction | None, two: Fraction | None) -> Fraction | None:
    return None if one is None or two is None else one + two


def _extreme(choose: Callable[[list[Fraction]], Fraction], ends: list[Fraction | None]) -> Fraction | None:
    proved = [end for end in ends if end is not None]
    return choose(proved) if proved and len(proved) == len(ends) else None


def _half_away(value: Fraction) -> Fraction:
    return Fraction(floor(value + Fraction(1, 2)) if value >= 0 else ceil(value - Fraction(1, 2)))


def _outward(function: str, value: Fraction, *, up: bool) -> Fraction:
    """A rising irrational function of the value, moved outwards by more than what the calculation can be off."""
    context = Context(prec=_DIGITS)
    near: Decimal = getattr(_decimal(value, ROUND_HALF_UP), function)(context)
    if function == "sqrt" and Fraction(near) ** 2 == value:
        return Fraction(near)
    slack = Decimal(10) ** -(_DIGITS - 4)
    return Fraction(near) + Fraction(abs(near) + 1) * Fraction(slack) * (1 if up else -1)


def _decimal(value: Fraction, rounding: str) -> Decimal:
    return Context(prec=_DIGITS, rounding=rounding).divide(Decimal(value.numerator), Decimal(value.denominator))
