"""The values that a grouping expression can show, and the cells of an answer, known before data is read.

Laws: both come from the contract and the statement alone, never from data, so all cells are answered, zeros included;
a part of the filter that reads keys only narrows them here, in public, with SQL's three-valued logic; numbers of values
and of cells are limited before they are built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import product
from math import prod
from typing import Any

from kaianalytics.privacy.expression import Call, ColumnOf, Expression, columns_of, conjuncts, walk
from kaianalytics.privacy.expressions.evaluation import evaluate
from kaianalytics.privacy.expressions.operations import call
from kaianalytics.privacy.expressions.signatures import PARTS, case_values, literal_integer, literal_text
from kaianalytics.privacy.plan import Cell
from kaianalytics.privacy.query import Measure, Source, StatisticsQuery
from kaianalytics.privacy.refusals import listed, unsupported
from kaianalytics.privacy.unit import ColumnType, KeyValue

MAX_CELLS = 100_000
MAX_COMBINED = 10_000  # values of several columns, of which one key is made
MAX_WORK = 3_000_000  # operations on declared values, seconds of the gateway's time

KEYED: frozenset[ColumnType] = frozenset({"string", "integer", "boolean", "date", "timestamp"})

Domain = tuple[KeyValue, ...]


@dataclass(frozen=True)
class Domains:
    """What is public of the columns of a question: the values that each can show, after the filter on it alone."""

    source: Source
    where: Expression | None = None

    def of(self, expression: Expression) -> Domain | None:
        """Every value that the expression can show, or None where that isn't public."""
        image = self._image(expression)
        found = self._intrinsic(expression) if image is None else image
        return _moments(found) if found and expression.type == "timestamp" else found

    def is_optional(self, column: ColumnOf) -> bool:
        """Whether the column belongs to the right side of a LEFT JOIN, and is missing where nothing is joined."""
        return column.relation > 0 and self.source.joins[column.relation - 1].kind == "left"

    def _image(self, expression: Expression) -> Domain | None:
        """The expression's values on all combinations of the declared values of its columns."""
        columns = sorted(columns_of(expression), key=lambda column: (column.relation, column.name))
        domains = [self._of_column(column) for column in columns]
        known = [domain for domain in domains if domain is not None]
        size = prod(map(len, known))
        if not _quick(size, [expression]):
            return None
        if len(known) < len(domains) or size > (MAX_CELLS if len(columns) == 1 else MAX_COMBINED):
            return None
        rows = (dict(zip(columns, values, strict=True)) for values in product(*known))
        return _keys(evaluate(expression, row.__getitem__) for row in rows)

    def _of_column(self, column: ColumnOf) -> Domain | None:
        declared = self._declared(column)
        if declared is None:
            return None
        own = [part for part in conjuncts(self.where) if columns_of(part) == {column}]
        own = own if _quick(len(declared), own) else []  # those values are filtered by the engine alone
        return tuple(value for value in declared if all(_holds(part, {column: value}.__getitem__) for part in own))

    def _declared(self, column: ColumnOf) -> Domain | None:
        relation = self.source.relations[column.relation]
        declared = relation.view.columns[column.name]
        if relation.rows is not None:
            place = list(relation.view.columns).index(column.name)
            found: Iterable[Any] = (row[place] for row in relation.rows)
            values = tuple(found) if column.type in KEYED else None
        else:
            values = None if declared.domain is None else declared.domain.values
        if values is None:
            return None
        # The right side of a LEFT JOIN can be missing though its own column never is.
        missing = (None,) if self.is_optional(column) else ()
        return tuple(dict.fromkeys((*values, *missing)))

    def _intrinsic(self, expression: Expression) -> Domain | None:
        """The values that the operation allows, whatever its columns hold."""
        values = self._of_call(expression) if isinstance(expression, Call) else None
        if values is None and expression.type == "boolean":
            values = (False, True)
        if values is None:
            return None
        return tuple(dict.fromkeys((*values, None))) if expression.nullable else values

    def _of_call(self, expression: Call) -> Domain | None:
        match expression.operation:
            case "case":
                return self._union(case_values(expression))
            case "coalesce":
                return self._union(expression.arguments)
            case "nullif":
                return self.of(expression.arguments[0])
            case "date_part":
                low, high = PARTS[literal_text(expression.arguments[0]) or ""]
                return tuple(range(low, high + 1)) if high < 1000 else None  # but for the year
            case "width_bucket":
                return tuple(range((literal_integer(expression.arguments[3]) or 0) + 2))
        return None

    def _union(self, values: Sequence[Expression]) -> Domain | None:
        domains = [self.of(value) for value in values]
        if any(domain is None for domain in domains):
            return None
        return tuple(dict.fromkeys(value for domain in domains for value in domain or ()))


def _moments(values: Domain) -> Domain:
    """Days among moments as their midnights, which the engine does not tell apart: no value stands there twice."""
    return tuple(dict.fromkeys(datetime.combine(one, time()) if type(one) is date else one for one in values))


def cells_of(query: StatisticsQuery) -> tuple[Cell, ...] | None:
    """The answer's key rows, in the order of the keys and of their domains; one empty row if there is no key.

    None where some key isn't public. Raises QueryUnsupported: TOO_MANY_CELLS, or NO_CELLS when no declared key can pass
    the filter.
    """
    domains = [key.domain for key in query.keys]
    known = [domain for domain in domains if domain is not None]
    if len(known) < len(domains):
        return None
    public = list(_public(query))
    _demand_quick(max(map(len, known), default=1), public)
    narrowed = [_narrowed(place, domain, public) for place, domain in enumerate(known)]
    limit = MAX_CELLS // max(1, sum(map(_numbers, query.measures)))
    if prod(map(len, narrowed)) > limit:
        raise unsupported("TOO_MANY_CELLS", limit=f"{limit:,}")
    joint = [part for part in public if len(columns_of(part)) != 1]
    _demand_quick(prod(map(len, narrowed)), joint)
    cells = tuple(cell for cell in product(*narrowed) if not joint or _passes(joint, dict(enumerate(cell))))
    if not cells:
        raise unsupported("NO_CELLS", keys=_shown_keys(query))
    return cells


def remaining(cells: Sequence[Cell], position: int) -> Domain:
    """The values that one key still takes in the cells, in order, each once."""
    return tuple(dict.fromkeys(cell[position] for cell in cells))


def _public(query: StatisticsQuery) -> Iterator[Expression]:
    """The parts of the filter that read nothing but keys, each key being a column of relation −1."""
    keys = {key.expression: ColumnOf(-1, str(place), key.expression.type, True) for place, key in enumerate(query.keys)}
    for part in conjuncts(query.where):
        replaced = _replaced(part, keys)
        if all(column.relation == -1 for column in columns_of(replaced)):
            yield replaced


def _replaced(expression: Expression, keys: Mapping[Expression, ColumnOf]) -> Expression:
    if expression in keys:
        return keys[expression]
    if isinstance(expression, Call):
        return call(expression.operation, *(_replaced(argument, keys) for argument in expression.arguments))
    return expression


def _narrowed(place: int, domain: Domain, public: Sequence[Expression]) -> Domain:
    own = [part for part in public if {column.name for column in columns_of(part)} == {str(place)}]
    return tuple(value for value in domain if _passes(own, {place: value}))


def _passes(parts: Sequence[Expression], cell: Mapping[int, KeyValue]) -> bool:
    return all(_holds(part, lambda column: cell[int(column.name)]) for part in parts)


def _quick(times: int, parts: Iterable[Expression]) -> bool:
    """Whether the parts are soon evaluated so many times: a question is weighed free, and must not stop the others."""
    return times * _nodes(parts) <= MAX_WORK


def _demand_quick(times: int, parts: Sequence[Expression]) -> None:
    if not _quick(times, parts):
        raise unsupported("TOO_MANY_CELLS", limit=f"{MAX_WORK // _nodes(parts):,}")


def _nodes(parts: Iterable[Expression]) -> int:
    return sum(1 for part in parts for _ in walk(part))


def _holds(part: Expression, value_of: Callable[[ColumnOf], KeyValue]) -> bool:
    return evaluate(part, value_of) is True


def _keys(values: Iterable[Any]) -> Domain | None:
    """Values as keys, each once; None where some can't be one."""
    found = dict.fromkeys(values)
    fit = all(value is None or isinstance(value, str | int | bool | date) for value in found)
    return tuple(found) if fit else None


def _numbers(measure: Measure) -> int:
    """How many numbers a histogram or a top list has in a cell; a tree's are counted once its shape is chosen."""
    return max(0, len(measure.edges) - 1) + len(measure.domain)


def _shown_keys(query: StatisticsQuery) -> str:
    declared = [Domains(query.source).of(key.expression) for key in query.keys]
    sentences = [listed(tuple(map(_shown, domain or ()))) for domain in declared]
    return "; ".join(sentences) or "there are none, the filter itself is never true"


def _shown(value: KeyValue) -> str:
    if value is None:
        return "NULL"
    return str(value).upper() if isinstance(value, bool) else str(value)
