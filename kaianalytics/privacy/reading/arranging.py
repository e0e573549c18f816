"""A question with its measures in an order of their own, whatever order its text has them in.

Law: noise is drawn for measures, and one charge draws once: the same measures are the same charge, in whichever order
they are selected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kaianalytics.privacy.canonical import canonical_text, to_json
from kaianalytics.privacy.query import After, Apply, Figure, Measure, Of, QuantileOf, StatisticsQuery, TopOf


def arranged(query: StatisticsQuery) -> StatisticsQuery:
    """The same question, its measures sorted by what they are."""
    names = [_name(query, measure) for measure in query.measures]
    order = sorted(range(len(names)), key=names.__getitem__)
    places = {old: new for new, old in enumerate(order)}
    select = tuple(_figure(item, places) if isinstance(item, Figure) else item for item in query.select)
    return replace(
        query,
        measures=tuple(_weighed(query.measures[old], places) for old in order),
        select=select,
        having=None if query.having is None else _moved(query.having, places),
        order=tuple(replace(term, value=_moved(term.value, places)) for term in query.order),
    )


def _name(query: StatisticsQuery, measure: Measure) -> str:
    """What a measure is, in which another that it is weighed by stands itself."""
    chain = [measure] if measure.weighed_by is None else [measure, query.measures[measure.weighed_by]]
    return canonical_text(to_json([replace(one, weighed_by=None) for one in chain]))


def _weighed(measure: Measure, places: Mapping[int, int]) -> Measure:
    return measure if measure.weighed_by is None else replace(measure, weighed_by=places[measure.weighed_by])


def _figure(figure: Figure, places: Mapping[int, int]) -> Figure:
    support = None if figure.support is None else places[figure.support]
    return replace(figure, value=_moved(figure.value, places), support=support)


def _moved(value: After, places: Mapping[int, int]) -> After:
    if isinstance(value, Of | QuantileOf | TopOf):
        return replace(value, measure=places[value.measure])
    if isinstance(value, Apply):
        return replace(value, arguments=tuple(_moved(argument, places) for argument in value.arguments))
    return value
