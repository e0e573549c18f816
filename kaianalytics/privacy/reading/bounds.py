"""Between which bounds a sum or a quantile is taken: those that a contract declares, or that follow from them.

Laws: bounds are public constants; what they follow from is arithmetic on declared bounds; where nothing is proved, the
question is refused with the way to limit it.
"""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from math import ceil, floor

from kaianalytics.privacy.expression import ColumnOf, Expression
from kaianalytics.privacy.expressions.operations import interval
from kaianalytics.privacy.expressions.ranges import Interval
from kaianalytics.privacy.query import Relation
from kaianalytics.privacy.reading.scope import Scope
from kaianalytics.privacy.refusals import quoted, unsupported
from kaianalytics.privacy.unit import SUMMABLE_TYPES, ValueBounds

_EXACT = Context(prec=700)
_FINENESS = 7  # decimal digits that a step is finer than the largest value: noise drowns all beyond


def bounds_of(expression: Expression, scope: Scope, function: str) -> ValueBounds:
    """The bounds within which the engine clamps the expression's values; QueryUnsupported where none are proved."""
    if expression.type not in SUMMABLE_TYPES:
        raise unsupported("EXPRESSION_TYPE", operation=function.upper(), types=expression.type, takes="a number")
    if isinstance(expression, ColumnOf) and (declared := scope.declared(expression).bounds) is not None:
        return declared
    proved = range_of(expression, scope)
    if proved is None:
        shown = quoted(expression.name) if isinstance(expression, ColumnOf) else "The expression"
        known = scope.askable(lambda column: range_of(column, scope) is not None)
        raise unsupported("SUM_WITHOUT_BOUNDS", column=shown, columns=known, function=function.upper())
    low, high = proved
    if low == high:  # a constant: from nothing to it
        low, high = min(low, Decimal(0)), max(high, Decimal(0))
    return stepped(low, high, whole=expression.type != "number")


def range_of(expression: Expression, scope: Scope) -> Interval | None:
    """The proved interval of an expression, from what is declared of its columns."""
    return interval(expression, lambda column: _of_column(column, scope))


def stepped(low: Decimal, high: Decimal, *, whole: bool) -> ValueBounds:
    """Bounds in steps fine enough for noise to hide, and coarse enough to count exactly; widened to whole steps."""
    largest = max(abs(low), abs(high)) or Decimal(1)
    step = Decimal(1) if whole else Decimal(1).scaleb(largest.adjusted() - _FINENESS)
    lower = floor(Fraction(low) / Fraction(step))
    upper = max(ceil(Fraction(high) / Fraction(step)), lower + 1)
    return ValueBounds(_times(lower, step), _times(upper, step), step)


def middle(bounds: ValueBounds) -> Decimal:
    """A whole step about halfway between the bounds."""
    return _times((bounds.lower_steps + bounds.upper_steps) // 2, bounds.step)


def _times(steps: int, step: Decimal) -> Decimal:
    exact = Fraction(steps) * Fraction(step)
    return _EXACT.divide(Decimal(exact.numerator), Decimal(exact.denominator))


def _of_column(column: ColumnOf, scope: Scope) -> Interval | None:
    declared = scope.declared(column).bounds
    if declared is not None:
        return declared.lower, declared.upper
    relation = scope.relations[column.relation]
    return None if relation.rows is None else _of_lookup(column, relation)


def _of_lookup(column: ColumnOf, relation: Relation) -> Interval | None:
    """The least and the greatest number in a column of the analyst's own table."""
    place = list(relation.view.columns).index(column.name)
    cells = [row[place] for row in relation.rows or ()]
    numbers = [Decimal(cell) for cell in cells if isinstance(cell, int | Decimal) and cell is not None]
    return (min(numbers), max(numbers)) if numbers else None
