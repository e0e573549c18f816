"""The three names of a question, each a digest of all that it must tell apart, and of nothing else.

asked    the text's meaning, names and order included, the bounds and the price as they were asked: what is
         repeated byte for byte
charged  what noise is drawn on and by, statements, sensitivities, scales, thresholds: what is never drawn twice
         for one charge, whatever is made of it afterwards
subject  what is counted of whom in which groups, whenever it is asked and in whichever windows: what a profile
         that a release found is a profile of
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.canonical import digest, to_json
from kaianalytics.privacy.expression import Expression, columns_of, conjuncts
from kaianalytics.privacy.measuring.measurement import Measurement
from kaianalytics.privacy.measuring.prices import Price
from kaianalytics.privacy.query import Source, StatisticsQuery


def asked_digest(query: StatisticsQuery, bounds: BoundsAsked, price: Price) -> str:
    """The digest of one asking."""
    return digest(to_json([query, bounds, price]))


def charged_digest(measurements: Iterable[Measurement], chosen_by: StatisticsQuery | None = None) -> str:
    """The digest of what is measured, in its order.

    `chosen_by`: the question whose figures choose the bounds once they are found from the data; what was drawn under
    bounds chosen for other figures is counted in other steps.
    """
    figures = [] if chosen_by is None else [(figure.role, figure.value) for figure in chosen_by.figures]
    return digest(to_json([[_drawn_on(measurement) for measurement in measurements], figures]))


def subject_digest(query: StatisticsQuery) -> str:
    """The digest of what a profile is of: its views by their names, for their days move with every build."""
    source = query.source
    relations = [(relation.view.name, relation.rows) for relation in source.relations]
    where = [part for part in conjuncts(query.where) if not _bounds_time(part, source)]
    return digest(to_json([relations, source.joins, source.unit, where, query.keys, query.measures]))


def _drawn_on(measurement: Measurement) -> list[object]:
    plan = measurement.plan
    noises = [
        [each.setting.mechanism, each.setting.size, each.scale.hex(), each.threshold] for each in measurement.noises
    ]
    vectors = [replace(vector, sentence="") for vector in plan.vectors]  # a sentence names figures, and moves nothing
    public = [plan.statements, vectors, plan.cells, plan.threshold, plan.windows]
    return [public, plan.query.measures, noises, measurement.loss, measurement.account_loss]


def _bounds_time(part: Expression, source: Source) -> bool:
    """Whether a condition is about the event time alone, by which windows are chosen."""
    windows = {
        (place, relation.view.windows.column)
        for place, relation in enumerate(source.relations)
        if relation.view.windows is not None
    }
    columns = columns_of(part)
    return bool(columns) and all((column.relation, column.name) in windows for column in columns)
