"""How relations may be joined, and in which order: along declared relationships alone.

Laws: a join goes along a relationship that the contract declares, from unit to unit within one population, or between
an analyst's own table and a column that is no identifier; the relation that names the unit is on the side that no
join leaves empty; relations are put in an order in which a join multiplies as few rows as it can.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

from kaianalytics.privacy.expression import ColumnOf, Expression, columns_of
from kaianalytics.privacy.query import Join, JoinKind, Relation, Source
from kaianalytics.privacy.reading.scope import identifies, is_unit
from kaianalytics.privacy.reading.syntax import same_name
from kaianalytics.privacy.refusals import listed, unsupported

Pair = tuple[ColumnOf, ColumnOf]

MAX_COPIES = 100  # rows that an analyst's own tables may make of one
MAX_ROWS = 10_000_000  # joined rows of one unit, by what the contracts say: beyond, one unit alone passes the deadline
_ASSUMED = 1_000  # rows of one unit where a contract bounds its groups alone


@dataclass(frozen=True)
class Optional:
    """A LEFT, SEMI or ANTI JOIN: its pairs (a column of the left side, its own), and a further condition of its own."""

    kind: JoinKind
    on: tuple[Pair, ...]
    where: Expression | None


@dataclass(frozen=True)
class Graph:
    """Relations with the pairs of columns that inner joins make equal, and those that another join attaches."""

    relations: tuple[Relation, ...]
    pairs: tuple[Pair, ...]
    optional: Mapping[int, Optional] = field(default_factory=dict)


def related(one: ColumnOf, two: ColumnOf, relations: Sequence[Relation]) -> bool:
    """Whether a join may go from one column to the other."""
    first, second = relations[one.relation], relations[two.relation]
    if one.type != two.type or one.relation == two.relation:
        return False
    if first.rows is not None or second.rows is not None:
        return not any(_identifies(column, relations) for column in (one, two))
    if is_unit(first.view, one.name) and is_unit(second.view, two.name):
        return _population(first) == _population(second)
    return _refers(first, one, second, two) or _refers(second, two, first, one)


def relationships(lefts: Sequence[int], rights: Sequence[int], relations: Sequence[Relation]) -> Iterator[str]:
    """The joins that could go between two sides, for people."""
    for left in lefts:
        for right in rights:
            for one, two in product(_columns(left, relations), _columns(right, relations)):
                if relations[left].rows is None and relations[right].rows is None and related(one, two, relations):
                    yield f"{relations[left].view.name}.{one.name} = {relations[right].view.name}.{two.name}"


def _columns(place: int, relations: Sequence[Relation]) -> list[ColumnOf]:
    return [ColumnOf(place, c.name, c.type, c.nullable) for c in relations[place].view.columns.values()]


def ordered(graph: Graph) -> tuple[Source, Mapping[int, int]]:
    """The source in an order in which each relation meets an earlier one, and the new place of each relation.

    Raises QueryUnsupported where there is no such order, or nobody whom the question is about.
    """
    roots = _roots(graph)
    orders = [order for root in roots if (order := _order_from(root, graph)) is not None]
    if not orders:
        raise unsupported("JOIN_UNCONNECTED")
    made = [_source(order, graph) for order in orders]
    chosen = next((one for one in made if not one[0].multiplies), made[0])
    _demand_few_copies(chosen[0])
    return chosen


def _demand_few_copies(source: Source) -> None:
    """Refuses joins that make so many rows of one that the time of an answer would tell whether that one is there.

    A hundred rows are nothing beside a table; a thousand times a thousand, and once more, pass any deadline.
    """
    copies = prod(_copies(relation, join) for relation, join in zip(source.relations[1:], source.joins, strict=True))
    if copies > MAX_COPIES:
        raise unsupported("JOIN_MULTIPLIES", copies=f"{copies:,}", limit=f"{MAX_COPIES:,}")
    rows = copies * prod(_rows_of_one_unit(source))
    if len(source.relations) > 1 and rows > MAX_ROWS:
        raise unsupported("JOIN_OF_UNITS", rows=f"{rows:,}", limit=f"{MAX_ROWS:,}")


def _rows_of_one_unit(source: Source) -> Iterator[int]:
    """How many rows of one unit each view has, but those of which a row before meets at most one."""
    unique = (False, *(join.unique for join in source.joins))
    for relation, once in zip(source.relations, unique, strict=True):
        contribution = relation.view.contribution
        if contribution is not None and not once:
            yield contribution.rows or _ASSUMED


def _copies(relation: Relation, join: Join) -> int:
    """How many rows of an analyst's own table one row before it meets at most."""
    if relation.rows is None or join.unique:
        return 1
    return max(Counter(_joined_values(relation, join.on)).values(), default=1)


def _roots(graph: Graph) -> list[int]:
    populations = {_population(relation) for relation in graph.relations} - {None}
    if not populations:
        raise unsupported("VIEW_PUBLIC", views=listed(tuple(relation.view.name for relation in graph.relations)))
    if len(populations) > 1:
        raise unsupported("POPULATIONS_DIFFER")
    roots = [place for place, relation in enumerate(graph.relations) if relation.view.unit is not None]
    kept = [place for place in roots if place not in graph.optional]
    if not kept:
        raise unsupported("LEFT_JOIN_TO_UNITS", view=graph.relations[roots[0]].view.name)
    return kept


def _order_from(root: int, graph: Graph) -> list[int] | None:
    """The relations, each after one that it is joined to; None where some can't be reached or some pair is left."""
    order = [root]
    waiting = [place for place in range(len(graph.relations)) if place != root]
    while waiting:
        ready = [place for place in waiting if _reaches(place, order, graph)]
        if not ready:
            return None
        order.append(ready[0])
        waiting.remove(ready[0])
    used = [pair for place in order[1:] for pair in _pairs(place, order[: order.index(place)], graph)]
    inner = [pair for pair in graph.pairs if pair in used or (pair[1], pair[0]) in used]
    return order if len(inner) == len(graph.pairs) else None


def _reaches(place: int, order: Sequence[int], graph: Graph) -> bool:
    if (joined := graph.optional.get(place)) is not None:
        needed = {column.relation for column, _ in joined.on} | {c.relation for c in columns_of(joined.where)}
        return needed - {place} <= set(order)
    return bool(_pairs(place, order, graph))


def _pairs(place: int, order: Sequence[int], graph: Graph) -> tuple[Pair, ...]:
    """The pairs that attach a relation to those before it, its own column second."""
    if (joined := graph.optional.get(place)) is not None:
        return joined.on
    return tuple(dict.fromkeys(_facing(place, order, graph.pairs)))


def _facing(place: int, order: Sequence[int], pairs: Sequence[Pair]) -> Iterator[Pair]:
    for one, two in pairs:
        if two.relation == place and one.relation in order:
            yield one, two
        elif one.relation == place and two.relation in order:
            yield two, one


def _source(order: Sequence[int], graph: Graph) -> tuple[Source, Mapping[int, int]]:
    relations = tuple(graph.relations[place] for place in order)
    joins = tuple(_join(place, order[:number], graph) for number, place in enumerate(order[1:], start=1))
    return Source(relations, joins, 0), {place: number for number, place in enumerate(order)}


def _join(place: int, before: Sequence[int], graph: Graph) -> Join:
    on = _pairs(place, before, graph)
    joined = graph.optional.get(place)
    kind: JoinKind = "inner" if joined is None else joined.kind
    once = kind in ("semi", "anti") or _unique(graph.relations[place], on)
    return Join(kind, on, None if joined is None else joined.where, once)


def _unique(relation: Relation, on: Sequence[Pair]) -> bool:
    """Whether no two rows of the relation agree in its joined columns."""
    if relation.rows is None:
        return any(relation.view.columns[column.name].unique for _, column in on)
    shown = _joined_values(relation, on)
    return len(set(shown)) == len(shown)


def _joined_values(relation: Relation, on: Sequence[Pair]) -> list[tuple[object, ...]]:
    """What each row of an analyst's own table has in its joined columns."""
    places = [list(relation.view.columns).index(column.name) for _, column in on]
    return [tuple(row[place] for place in places) for row in relation.rows or ()]


def _refers(first: Relation, one: ColumnOf, second: Relation, two: ColumnOf) -> bool:
    target = f"{second.view.name}.{two.name}"
    return any(same_name(reference, target) for reference in first.view.columns[one.name].references)


def _identifies(column: ColumnOf, relations: Sequence[Relation]) -> bool:
    view = relations[column.relation].view
    return identifies(view, view.columns[column.name])


def _population(relation: Relation) -> str | None:
    return None if relation.view.unit is None else relation.view.unit.population
