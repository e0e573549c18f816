"""From a question to bounded whole numbers: the SQL to run, the cells to answer, how far one unit can move them.

Laws: all of it is decided from public facts before data is read; a unit's part is a function of its own rows, within
the bounds that `forms` proves; 2³¹ units stay below 2⁶², or the question is refused here; figures are whole numbers of
their vector's step from end to end.
"""

from __future__ import annotations

from dataclasses import replace

from kaianalytics.privacy.bounding.asked import BoundsAsked
from kaianalytics.privacy.bounding.choosing import Facts, choose
from kaianalytics.privacy.bounding.clipping import clipped
from kaianalytics.privacy.bounding.counting import Part
from kaianalytics.privacy.bounding.forms import Bounding, sensitivities
from kaianalytics.privacy.bounding.rows import check_populations
from kaianalytics.privacy.bounding.sentences import plan_sentences, vector_sentence
from kaianalytics.privacy.bounding.statement import statements_of
from kaianalytics.privacy.bounding.windows import windows_read
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.privacy.plan import Plan, Vector
from kaianalytics.privacy.query import Measure, StatisticsQuery
from kaianalytics.privacy.reading.keys import cells_of
from kaianalytics.privacy.reading.lengths import check_lengths
from kaianalytics.privacy.unit import Profile

__all__ = ["BoundsAsked", "compile_query", "with_threshold"]

UNITS = Measure("units")


def compile_query(
    query: StatisticsQuery,
    asked: BoundsAsked | None = None,
    loss: PrivacyLoss | None = None,
    profile: Profile | None = None,
) -> Plan:
    """The bounded form of the question: the asked one, else the one with the least predicted error.

    `loss` and `profile` (by default the view's own) steer that choice and nothing else; without them nothing is cut
    below the contract's limit. Raises QueryUnsupported: TOO_MANY_CELLS, NO_CELLS, BOUNDS_*, WINDOWS_*,
    POPULATIONS_DIFFER, TEXT_TOO_LONG.
    """
    asked = asked or BoundsAsked.none()
    check_populations(query.source)
    check_lengths(query)
    asked.check_values(query.source)
    query = with_threshold(query)
    cells, read = cells_of(query), windows_read(query)
    known = profile or query.source.view.profile
    bounding = choose(Facts(query, None if cells is None else len(cells), asked, loss, known))
    threshold = query.measures.index(UNITS) if cells is None else None
    return Plan(
        query=query,
        form=bounding.form,
        statements=statements_of(query, bounding, cells, read, threshold or 0),
        vectors=tuple(_vector(query, bounding, part) for part in bounding.parts),
        cells=cells,
        sentences=plan_sentences(query, bounding, read),
        threshold=threshold,
        windows=() if read is None else tuple(day.isoformat() for day in read.days),
        clipping=() if known is None else clipped(query, bounding, known),
    )


def with_threshold(query: StatisticsQuery) -> StatisticsQuery:
    """The question with distinct units among its measures, where unknown keys need them for their threshold."""
    if not query.unknown or UNITS in query.measures:
        return query
    return replace(query, measures=(*query.measures, UNITS))


def _vector(query: StatisticsQuery, bounding: Bounding, part: Part) -> Vector:
    contribution = query.source.view.contribution
    assert contribution is not None  # a question is about units
    l2, linf, l0 = sensitivities(bounding, part, contribution)
    sentence = vector_sentence(query, bounding, part)
    return Vector(part.measure, part.kind, part.step, l2, linf, l0, part.width, part.tree, sentence)
