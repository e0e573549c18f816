"""Aggregates: from a call to the measures that get noise, and to what is made of their noisy values.

Laws: every aggregate is a function of measures whose sensitivity is proved; a sum has proved bounds; only units are
counted distinctly; equal measures are measured once; what isn't named here is refused with what to ask instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal as OneOf

from kaianalytics.privacy.expression import ColumnOf, Expression, Literal, walk
from kaianalytics.privacy.expressions.operations import call
from kaianalytics.privacy.expressions.signatures import literal_number
from kaianalytics.privacy.query import (
    MAX_MEASURES,
    After,
    Apply,
    FigureRole,
    Measure,
    Number,
    Of,
    QuantileOf,
    TopOf,
)
from kaianalytics.privacy.reading.bounds import bounds_of, middle, range_of, stepped
from kaianalytics.privacy.reading.functions import UNANSWERED
from kaianalytics.privacy.reading.keys import Domains
from kaianalytics.privacy.reading.literals import literal_of_text
from kaianalytics.privacy.reading.scalars import condition_of, expression_of
from kaianalytics.privacy.reading.scope import Scope, is_unit
from kaianalytics.privacy.reading.syntax import (
    FunctionCall,
    Node,
    aggregate_call,
    alias_of,
    column_path,
    constant,
    function_call,
    kind,
    read,
    standing,
)
from kaianalytics.privacy.refusals import quoted, unsupported
from kaianalytics.privacy.unit import ColumnType

MAX_BINS = 200
MAX_TOP = 50

# Of finite arguments within proved bounds, only these give a number that is none.
_UNSTEADY = frozenset({"/", "%", "sqrt", "ln", "power", "exp"})

ValueKind = OneOf["number", "text", "truth", "date", "timestamp", "null"]
KINDS: Mapping[ColumnType, ValueKind] = {
    "string": "text",
    "integer": "number",
    "number": "number",
    "boolean": "truth",
    "date": "date",
    "timestamp": "timestamp",
}


@dataclass(frozen=True)
class Worth:
    """A value after the noise with what is known of it; `role` is None where no noise is in it."""

    value: After
    kind: ValueKind = "number"
    role: FigureRole | None = None
    support: int | None = None
    whole: bool = False
    negative: bool = False


class Aggregates:
    """The measures of one question, gathered from the aggregates that it names."""

    def __init__(self, scope: Scope, domains: Domains) -> None:
        self.measures: list[Measure] = []
        self._scope = scope
        self._domains = domains

    def of(self, node: Node) -> tuple[Worth, ...]:
        """What one call is worth: one value, or several for a histogram, a top list or a list of quantiles."""
        with standing(node):
            asked = aggregate_call(node)
            if asked.name in UNANSWERED:
                raise unsupported("AGGREGATE_UNSUPPORTED", function=quoted(asked.name), way=UNANSWERED[asked.name])
            if asked.within and asked.name not in _QUANTILES:
                raise unsupported("ORDER_IN_AGGREGATE")
            where = None if asked.condition is None else condition_of(asked.condition, self._scope)
            if asked.distinct:
                return (self._distinct(asked, where),)
            return _READERS[asked.name](self, asked, where)

    def measure(self, measure: Measure) -> int:
        """The place of a measure, which is new or the same as one before."""
        if measure not in self.measures:
            if len(self.measures) == MAX_MEASURES:
                raise unsupported("TOO_MANY_AGGREGATES", limit=str(MAX_MEASURES))
            self.measures.append(measure)
        return self.measures.index(measure)

    # --- counts

    def _count(self, asked: FunctionCall, where: Expression | None) -> tuple[Worth, ...]:
        if not asked.arguments:
            return (self._rows(where),)
        node = _only(asked)
        found = self._bare_column(node)
        if isinstance(found, ColumnOf) and (self._names_units(found) or self._is_sure_identifier(found)):
            return (self._rows(where),)
        return (self._rows(self._present(expression_of(node, self._scope), where)),)

    def _count_if(self, asked: FunctionCall, where: Expression | None) -> tuple[Worth, ...]:
        condition = condition_of(_only(asked), self._scope)
        return (self._rows(condition if where is None else call("and", where, condition)),)

    def _rows(self, where: Expression | None) -> Worth:
        place = self.measure(Measure("rows", where=where))
        return Worth(Of(place), role="count", support=place, whole=True)

    def _distinct(self, asked: FunctionCall, where: Expression | None) -> Worth:
        if asked.name != "count":
            raise unsupported("DISTINCT_AGGREGATE", function=asked.name.upper())
        node = _only(asked)
        found = self._bare_column(node)
        if not isinstance(found, ColumnOf) or not self._names_units(found):
            units = [r.view.unit.column for r in self._scope.relations if r.view.unit is not None]
            raise unsupported("COUNT_DISTINCT", unit=units[0])
        return Worth(Of(self.measure(Measure("units", where=where))), role="count", whole=True)

    def _bare_column(self, node: Node) -> Expression | None:
        """What a plain column name stands for, which may be an identifier."""
        plain = kind(node) == "COLUMN_REF" and not alias_of(node)
        return self._scope.any_column(column_path(node)) if plain else None

    def _names_units(self, column: ColumnOf) -> bool:
        """Whether the column names the unit of every row that is counted: rows without a unit are left out."""
        return is_unit(self._scope.relations[column.relation].view, column.name) and not self._domains.is_optional(
            column
        )

    def _is_sure_identifier(self, column: ColumnOf) -> bool:
        """Whether the column is an identifier that is never missing, so that it counts rows; others can't be asked."""
        return self._scope.identifying(column) and not column.nullable

    def _present(self, expression: Expression, where: Expression | None) -> Expression | None:
        """The condition that the expression has a value, joined with another one; None where it always has."""
        if isinstance(expression, Literal) and expression.value is not None:
            return where
        steady = expression.type != "number" or isinstance(expression, ColumnOf) or self._is_finite(expression)
        if steady and not expression.nullable:
            return where
        present = call("present", expression)
        return present if where is None else call("and", where, present)

    def _is_finite(self, expression: Expression) -> bool:
        unsteady = any(getattr(node, "operation", "") in _UNSTEADY for node in walk(expression))
        return not unsteady and range_of(expression, self._scope) is not None

    # --- sums and what is made of them

    def _sum(self, asked: FunctionCall, where: Expression | None) -> tuple[Worth, ...]:
        expression = expression_of(_only(asked), self._scope)
        bounds = bounds_of(expression, self._scope, asked.name)
        place = self.measure(Measure("sum", expression, bounds, where=where))
        whole = expression.type != "number"
        return (Worth(Of(place), role="sum", whole=whole, negative=bounds.lower < 0),)

    def _mean(self, asked: FunctionCall, where: Expression | None) -> tuple[Worth, ...]:
        expression = expression_of(_only(asked), self._scope)
        bounds = bounds_of(expression, self._scope, asked.name)
        count = self.measure(Measure("rows", where=self._present(expression, where)))
        centre = middle(bounds)
        total = self.measure(Measure("sum", expression, bounds, centre, where, weighed_by=count))
        value = _plus(Number(centre), _over(Of(total), Of(count)))
        return (Worth(value, role="mean", support=count, negative=bounds.lower < 0),)

    def _variance(self, asked: FunctionCall, where: Expression | None) -> tuple[Worth, ...]:
        # Of d = x − mid: Σd, and Σ(d² − c) with c halfway to the largest d², so that one row moves either little.
        expression = expression_of(_only(asked), self._scope)
        bounds = bounds_of(expression, self._scope, asked.name)
        count = self.measure(Measure("rows", where=self._present(expression, where)))
        centre = middle(bounds)
        total = self.measure(Measure("sum", expression, bounds, centre, where, weighed_by=count))
        distance = call("-", expression, Literal(centre, "number"))
        furthest = max(bounds.upper - centre, centre - bounds.lower)
        squares = stepped(Decimal(0), furthest * furthest, whole=False)
        half = middle(squares)
        square = Measure("sum", call("*", distance, distance), squares, half, where, weighed_by=count)
        mean, n = _over(Of(total), Of(count)), Of(count)
        spread = _minus(_plus(Number(half), _over(Of(self.measure(square)), n)), _times(mean, mean))
        if not asked.name.endswith("_pop"):
            spread = _over(_times(spread, n), _minus(n, Number(Decimal(1))))
        if not asked.name.startswith("stddev"):
            return (Worth(spread, role="variance", support=count),)
        return (Worth(Apply("sqrt", (spread,)), role="deviation", support=count),)

    # --- what has several numbers in a cell

    def _quantile(self, asked: FunctionCall, where: Expression | None) -> tuple[Worth, ...]:
        argument, fractions = _quantile_parts(asked)
        expression = expression_of(argument, self._scope)
        bounds = bounds_of(expression, self._scope, asked.name)
        tree = self.measure(Measure("tree", expression, bounds, where=where))
        negative = bounds.lower < 0
        return tuple(Worth(QuantileOf(tree, f), role="quantile", support=tree, negative=negative) for f in fractions)

    def _histogram(self, asked: FunctionCall, where: Expression | None) -> tuple[Worth, ...]:
        edges = _numbers(asked.arguments[1]) if len(asked.arguments) == 2 else None
        if edges is None or not 2 <= len(edges) <= MAX_BINS + 1 or edges != tuple(sorted(set(edges))):
            raise unsupported("HISTOGRAM_EDGES", limit=str(MAX_BINS))
        expression = expression_of(asked.arguments[0], self._scope)
        if expression.type not in ("integer", "number"):
            raise unsupported("EXPRESSION_TYPE", operation="HISTOGRAM", types=expression.type, takes="a number")
        place = self.measure(Measure("histogram", expression, where=where, edges=edges))
        return tuple(Worth(Of(place, item), role="count", whole=True) for item in range(len(edges) - 1))

    def _top(self, asked: FunctionCall, where: Expression | None) -> tuple[Worth, ...]:
        size = _whole(asked.arguments[1]) if len(asked.arguments) == 2 else None
        if size is None or not 1 <= size <= MAX_TOP:
            raise unsupported("TOP_SIZE", limit=str(MAX_TOP))
        expression = expression_of(asked.arguments[0], self._scope)
        domain = tuple(value for value in self._domains.of(expression) or () if value is not None)
        if expression.type == "number" or not domain:
            keyed = self._scope.askable(lambda column: self._domains.of(column) is not None)
            raise unsupported("TOP_WITHOUT_DOMAIN", columns=keyed)
        size = min(size, len(domain))
        place = self.measure(Measure("top", expression, where=where, domain=domain, size=size))
        return tuple(Worth(TopOf(place, rank), KINDS[expression.type], "top") for rank in range(size))


_Reader = Callable[[Aggregates, FunctionCall, Expression | None], tuple[Worth, ...]]
_QUANTILES = ("median", "quantile", "quantile_cont")
_READERS: Mapping[str, _Reader] = {
    "count_star": Aggregates._count,
    "count": Aggregates._count,
    **dict.fromkeys(("count_if", "countif"), Aggregates._count_if),
    "sum": Aggregates._sum,
    **dict.fromkeys(("avg", "mean"), Aggregates._mean),
    **dict.fromkeys(("variance", "var_samp", "var_pop", "stddev", "stddev_samp", "stddev_pop"), Aggregates._variance),
    **dict.fromkeys(_QUANTILES, Aggregates._quantile),
    "histogram": Aggregates._histogram,
    "approx_top_k": Aggregates._top,
}


def supported_by(worth: Worth, measures: Sequence[Measure]) -> Worth:
    """A sum with the count of the same rows as its support, where the question counts them anyway."""
    if worth.role != "sum" or worth.support is not None or not isinstance(worth.value, Of):
        return worth
    same = Measure("rows", where=measures[worth.value.measure].where)
    return replace(worth, support=measures.index(same)) if same in measures else worth


def _only(asked: FunctionCall) -> Node:
    if len(asked.arguments) != 1:
        raise unsupported("AGGREGATE_ARGUMENTS", function=asked.name.upper())
    return asked.arguments[0]


def _quantile_parts(asked: FunctionCall) -> tuple[Node, tuple[Decimal, ...]]:
    """What a quantile is of, and its fractions; PERCENTILE_CONT(f) WITHIN GROUP (ORDER BY x) is read as well."""
    if asked.name == "median":
        return _only(asked), (Decimal("0.5"),)
    arguments = asked.arguments
    if asked.within and len(arguments) == 1 and len(asked.within) == 1:
        direction, _, expression = read(asked.within[0], "type", "null_order", "expression")
        arguments = (expression, *arguments) if direction in ("ORDER_DEFAULT", "ASCENDING") else ()
    elif asked.within:
        arguments = ()
    fractions = _numbers(arguments[1]) if len(arguments) == 2 else None
    if not fractions or not all(0 < fraction < 1 for fraction in fractions):
        raise unsupported("QUANTILE_FRACTION")
    return arguments[0], fractions


def _numbers(node: Node) -> tuple[Decimal, ...] | None:
    """A literal number, or a list of them, in their order; None for anything else."""
    nodes: Sequence[Node] = (node,)
    if kind(node) == "FUNCTION" and not alias_of(node):
        written = function_call(node)
        nodes = written.arguments if written.name == "list_value" else ()
    found = [
        literal_number(literal_of_text(*constant(one))) if kind(one) == "VALUE_CONSTANT" else None for one in nodes
    ]
    return tuple(number for number in found if number is not None) if found and None not in found else None


def _whole(node: Node) -> int | None:
    numbers = _numbers(node)
    return int(numbers[0]) if numbers and len(numbers) == 1 and numbers[0] == int(numbers[0]) else None


def _plus(one: After, two: After) -> After:
    return Apply("+", (one, two))


def _minus(one: After, two: After) -> After:
    return Apply("-", (one, two))


def _times(one: After, two: After) -> After:
    return Apply("*", (one, two))


def _over(one: After, two: After) -> After:
    return Apply("/", (one, two))
