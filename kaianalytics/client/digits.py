"""Numbers as people read them: as many digits as the noise leaves, and a ± that never looks smaller than it is.

Laws:
1. A ± has two digits and is rounded up; its value is rounded to the same place. More digits would be noise.
2. A value without a ± says so, and a ± is never left off to save room.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from math import floor, isfinite, log10
from typing import Any

NOT_GIVEN = "not given"  # a key or a text that is missing in the data
TOO_FEW = "too few to tell"  # a figure that noise would have made up
NOTHING = "–"
DECIMALS = 2  # of a number that has no ± to say how many digits it has
LOSS_DIGITS = 4
MOST_DECIMALS = 20  # a double has no more to say, whatever its ±

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_WIDE = Context(prec=400)  # a double has up to 309 digits before its point


def known(number: Any) -> bool:
    """Whether it is a number that can be shown."""
    return number is not None and isfinite(number)


def number_of(value: Any) -> float | None:
    """A figure as a number, be it one or the text of one; None where it is neither, or not finite."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None


def places(margin: float) -> int:
    """How many decimals show two digits of `margin`."""
    return min(max(0, 1 - floor(log10(margin))), MOST_DECIMALS) if margin > 0 else 0


def column_places(margins: Sequence[Any]) -> list[int]:
    """Decimals for each cell of a column: the same for all whose ± are within a factor of ten, else each its own."""
    widths = [float(margin) for margin in margins if known(margin) and margin > 0]
    if widths and max(widths) <= 10 * min(widths):
        return [places(max(widths))] * len(margins)
    return [places(margin) if known(margin) else DECIMALS for margin in margins]


def with_margin(value: Any, margin: Any, decimals: int) -> str:
    """`value ± margin`, a whole number without decimals of its own."""
    shown = rounded(value, decimals)
    return f"{shown} ± {margin_text(margin, decimals)}" if known(margin) else f"{shown} ± unknown"


def rounded(value: Any, decimals: int) -> str:
    """A number to so many decimals, with thousands marked; a whole one stays whole."""
    if isinstance(value, int) or decimals < 0:
        return f"{value:,}"
    return f"{Decimal(str(value)).quantize(_digit(decimals), ROUND_HALF_EVEN, _WIDE):,}"


def margin_text(margin: float, decimals: int | None = None) -> str:
    """A half-width rounded up, to two digits or to so many decimals."""
    decimals = places(margin) if decimals is None else decimals
    # through its text, for a binary fraction a hair above a digit would be rounded up once more
    return f"{Decimal(str(margin)).quantize(_digit(decimals), ROUND_CEILING, _WIDE):,}"


def plus_minus(value: float, half_width: float) -> str:
    """`value ± half_width`, as every table writes it: unbroken at a line's end."""
    if not (known(value) and known(half_width)):
        return NOTHING
    return with_margin(value, half_width, places(half_width)).replace(" ", "\N{NO-BREAK SPACE}")


def plain(value: Any) -> str:
    """A value that has no ±."""
    if value is None:
        return NOT_GIVEN
    if isinstance(value, float):
        return f"{value:,.{DECIMALS}f}" if isfinite(value) else NOTHING
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def loss_text(value: str | Decimal) -> str:
    """A privacy loss, or another small number, to four digits and rounded up."""
    return _short(value, ROUND_CEILING)


def left_text(value: str | Decimal) -> str:
    """What is left of an allowance, to four digits and rounded down."""
    return _short(value, ROUND_FLOOR)


def _short(value: str | Decimal, rounding: str) -> str:
    """A plain decimal; a very small one as a power of ten, and what is no number as it came."""
    try:
        number = Context(prec=LOSS_DIGITS, rounding=rounding).plus(Decimal(value)).normalize()
    except InvalidOperation:
        return str(value)
    if not number.is_finite() or number == 0 or abs(number) >= Decimal("0.00001"):
        return f"{number:f}" if number.is_finite() else str(value)
    mantissa, exponent = f"{number:e}".split("e")
    power = "10" + str(int(exponent)).translate(_RAISED)
    return power if mantissa == "1" else f"{mantissa}·{power}"


def _digit(decimals: int) -> Decimal:
    return Decimal(1).scaleb(-decimals)
