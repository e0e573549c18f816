"""For tests of measuring: plans built by hand, over no data, and the discrete distributions they are held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from kaianalytics.privacy.expression import ColumnOf
from kaianalytics.privacy.plan import Cell, Form, Plan, Statement, Tree, Vector
from kaianalytics.privacy.query import (
    After,
    Apply,
    Figure,
    FigureRole,
    Key,
    KeyColumn,
    Measure,
    Number,
    Of,
    Relation,
    Source,
    StatisticsQuery,
)
from kaianalytics.privacy.unit import ContributionBounds, PrivacyUnit, StatisticsColumn, StatisticsView, ValueBounds

VIEW = StatisticsView(
    "visits",
    PrivacyUnit("customer", "customers"),
    ContributionBounds(rows=1),
    {"place": StatisticsColumn("place", "string"), "spent": StatisticsColumn("spent", "number")},
)
PLACE = ColumnOf(0, "place", "string", True)
SPENT = ColumnOf(0, "spent", "number", True)


def cells(count: int) -> tuple[Cell, ...]:
    """As many cells as that, by their names."""
    return tuple((f"place {i:06d}",) for i in range(count))


def vector(kind: Any = "rows", l2: int = 1, step: str = "1", **more: Any) -> Vector:
    """The vector of the measure at place 0; by default one unit moves one number by all of `l2`."""
    return Vector(**{"measure": 0, "kind": kind, "step": Decimal(step), "l2": l2, "linf": l2, "l0": 1} | more)


def plan_of(
    *vectors: Vector,
    count: int = 1,
    unknown: bool = False,
    windows: int = 0,
    select: Sequence[Figure] = (),
    measures: Sequence[Measure] = (),
    **more: Any,
) -> Plan:
    """A plan with one measure for each vector, over `count` cells; unknown keys pass a threshold on the first."""
    known = None if unknown else cells(count)
    measures = measures or tuple(_measure(one) for one in vectors)
    figures = select or [figure(f"f{i}", Of(i)) for i in range(len(measures))]
    query = StatisticsQuery(
        source=Source((Relation(VIEW),), (), 0),
        where=None,
        keys=(Key(PLACE, None if known is None else tuple(cell[0] for cell in known)),),
        measures=tuple(measures),
        select=(KeyColumn("place", 0), *figures),
        **more,
    )
    placed = tuple(Vector(**{**vars(one), "measure": i}) for i, one in enumerate(vectors))
    return Plan(
        query=query,
        form=Form("whole"),
        statements=(Statement("SELECT", tuple(range(len(vectors)))),),
        vectors=placed,
        cells=known,
        sentences=(),
        threshold=0 if unknown else None,
        windows=tuple(f"2026-{month:02d}-01" for month in range(1, windows + 1)),
    )


def figure(name: str, value: After, role: FigureRole = "count", **more: Any) -> Figure:
    """A figure of the answer."""
    return Figure(name, role, value, **more)


def mean(total: int, count: int, centre: str = "0") -> After:
    """AVG as it is lowered: the centred sum over the count, and the centre again."""
    return Apply("+", (Apply("/", (Of(total), Of(count))), Number(Decimal(centre))))


def tree(branching: int, levels: int, lower: str = "0", upper: str = "100") -> Tree:
    """The shape of a quantile tree."""
    return Tree(branching, levels, Decimal(lower), Decimal(upper))


def tree_counts(shape: Tree, values: Sequence[float]) -> tuple[int, ...]:
    """The counts of a tree, level by level, as the engine's SQL gives them."""
    low, high = float(shape.lower), float(shape.upper)
    leaves = [0] * shape.leaves
    for value in values:
        place = int((min(max(value, low), high) - low) / (high - low) * shape.leaves)
        leaves[min(place, shape.leaves - 1)] += 1
    levels, width = [leaves], shape.leaves
    while width > shape.branching:
        width //= shape.branching
        below = levels[0]
        levels.insert(0, [sum(below[i * shape.branching : (i + 1) * shape.branching]) for i in range(width)])
    return tuple(count for level in levels for count in level)


def gaussian_pmf(scale: float, reach: int | None = None) -> dict[int, float]:
    """The discrete Gaussian: how likely each whole number is."""
    reach = int(40 * scale) + 40 if reach is None else reach
    weights = {k: math.exp(-k * k / (2 * scale**2)) for k in range(-reach, reach + 1)}
    total = math.fsum(weights.values())
    return {k: weight / total for k, weight in weights.items()}


def tail(scale: float, least: int) -> float:
    """How likely a discrete Gaussian is to be `least` or more."""
    return math.fsum(chance for k, chance in gaussian_pmf(scale).items() if k >= least)


def _measure(one: Vector) -> Measure:
    if one.kind == "sum":
        return Measure("sum", SPENT, ValueBounds(Decimal(0), Decimal(100)))
    if one.kind == "top":
        return Measure("top", PLACE, domain=tuple(f"value {i}" for i in range(one.width)), size=min(3, one.width))
    if one.kind == "tree":
        return Measure("tree", SPENT, ValueBounds(Decimal(0), Decimal(100)))
    return Measure(one.kind)
