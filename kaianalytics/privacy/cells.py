"""The cells of an answer: all combinations of declared keys that the filter lets through, known before data is read.

Laws: cells come from the contract and the statement alone, never from data, so all are answered, zeros included; a part
of the filter that reads keys only narrows them here, in public, with SQL's three-valued logic; the number of cells is
limited before their product is built.
"""

from __future__ import annotations

from itertools import product
from math import prod

from kaianalytics.privacy.predicate import Predicate, columns_of, conjuncts, truth
from kaianalytics.privacy.query import Key, StatisticsQuery
from kaianalytics.privacy.refusals import listed, unsupported
from kaianalytics.privacy.unit import KeyValue

MAX_CELLS = 10_000

Cell = tuple[KeyValue, ...]


def cells_of(query: StatisticsQuery) -> tuple[Cell, ...]:
    """The answer's key rows, in the order of the SELECT's keys and of their domains; one empty row if there is no key.

    Raises QueryUnsupported: TOO_MANY_CELLS, or NO_CELLS when no declared key can pass the filter.
    """
    names = tuple(key.column for key in query.keys)
    public = [part for part in conjuncts(query.where) if columns_of(part) <= set(names)]
    domains = [_narrowed(query, key, public) for key in query.keys]
    if prod(map(len, domains)) > MAX_CELLS:
        raise unsupported("TOO_MANY_CELLS", limit=f"{MAX_CELLS:,}")
    cells = tuple(cell for cell in product(*domains) if _passes(public, names, cell))
    if not cells:
        raise unsupported("NO_CELLS", keys=_declared(query))
    return cells


def remaining(cells: tuple[Cell, ...], position: int) -> tuple[KeyValue, ...]:
    """The values that one key still takes in the cells, in order, each once."""
    return tuple(dict.fromkeys(cell[position] for cell in cells))


def _narrowed(query: StatisticsQuery, key: Key, public: list[Predicate]) -> tuple[KeyValue, ...]:
    own = [part for part in public if columns_of(part) == {key.column}]
    return tuple(value for value in _domain(query, key) if _passes(own, (key.column,), (value,)))


def _passes(parts: list[Predicate], names: tuple[str, ...], cell: Cell) -> bool:
    row = dict(zip(names, cell, strict=True))
    return all(truth(part, row) is True for part in parts)


def _domain(query: StatisticsQuery, key: Key) -> tuple[KeyValue, ...]:
    domain = query.view.columns[key.column].domain
    assert domain is not None  # checked when the query was born
    return domain.values


def _declared(query: StatisticsQuery) -> str:
    sentences = [f"{key.column}: {listed(tuple(map(_shown, _domain(query, key))))}" for key in query.keys]
    return "; ".join(sentences) or "there are none, the filter itself is never true"


def _shown(value: KeyValue) -> str:
    if value is None:
        return "NULL"
    return str(value).upper() if isinstance(value, bool) else str(value)
