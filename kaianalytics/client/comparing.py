"""Two cells of a release compared: which cells, which figure, and what can't be compared by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kaianalytics.client import cells
from kaianalytics.client.bounded import bounding_lines
from kaianalytics.client.comparison import Comparison, Kind
from kaianalytics.client.measures import Count, MeanShare, Measure, Share, Spread, TooFew, Wanted
from kaianalytics.errors import Refused
from kaianalytics.protocol import ReleaseColumn

if TYPE_CHECKING:
    from kaianalytics.client.release import ReleaseTable, Selected

_HINTS = {
    "mean": "ask for STDDEV(x) beside AVG(x); where x is yes or no, say share=True",
    "sum": "ask for STDDEV(x) beside SUM(x); where x is yes or no, compare its share: of=…, over=…, or AVG(x) with"
    " share=True",
    "ratio": 'name its parts, which the release must hold too: of="converted", over="contacted"',
    "quantile": "compare means (AVG with STDDEV), or the shares above a threshold: AVG((x > 100)::INT) with share=True",
    "top": "compare counts",
    "variance": "compare means or counts",
    "deviation": "compare means or counts",
}
_APART = (
    "The two figures were bounded each for itself, which can move their share: AVG of yes and no is bounded as one."
)


def compare(table: ReleaseTable, kind: Kind, a: Selected, b: Selected, wanted: Wanted) -> Comparison:
    """The comparison of two cells, or its refusal."""
    rows = (cells.find(table, a), cells.find(table, b))
    if rows[0] == rows[1]:
        raise Refused("SAME_CELL", "A cell is not compared with itself.", hint="name two cells")
    measure = _measure(table, wanted)
    names = (cells.name_of(table, rows[0]), cells.name_of(table, rows[1]))
    nothing = Comparison(kind, names, measure.name, measure.is_share, measure.sampling, _bounding(table, measure))
    try:
        return replace(nothing, parts=(measure.estimate(rows[0]), measure.estimate(rows[1])))
    except TooFew as reason:
        return replace(nothing, reason=str(reason))


def _measure(table: ReleaseTable, wanted: Wanted) -> Measure:
    if wanted.of or wanted.over:
        return _share(table, wanted)
    figure = table.figure(wanted.figure)
    if figure.role == "count" and not (wanted.share or wanted.spread):
        return Count(table, figure)
    if wanted.share:
        return _mean_share(table, figure, wanted)
    return Spread(table, figure, _spread(table, figure, wanted.spread))


def _bounding(table: ReleaseTable, measure: Measure) -> tuple[str, ...]:
    """What bounding leaves out of the figures that are compared."""
    lines = bounding_lines(table.release.bounding, [column.name for column in table.figures], measure.figures)
    apart = isinstance(measure, Share) and table.release.bounds.get("form") in ("norm", "groups")
    return (*lines, _APART) if apart else lines


def _share(table: ReleaseTable, wanted: Wanted) -> Share:
    named = wanted.of and wanted.over and wanted.of != wanted.over
    if not named or wanted.figure or wanted.spread or wanted.share:
        raise Refused(
            "SHARE_NEEDS_TWO",
            "A share is compared by its two figures and nothing else.",
            hint='of="converted", over="contacted", without figure=, spread= or share=',
        )
    part, whole = table.figure(wanted.of), table.figure(wanted.over)
    if part.role not in ("count", "sum") or whole.role != "count":
        raise Refused(
            "NOT_A_SHARE",
            "A share is a count, or a sum of yes and no, over a count.",
            rule="its sampling is binomial, which holds for counts alone",
            hint="ask for COUNT(*) FILTER (WHERE converted) and COUNT(*) in one question",
        )
    return Share(table, part, whole)


def _mean_share(table: ReleaseTable, figure: ReleaseColumn, wanted: Wanted) -> MeanShare:
    if figure.role == "mean" and not wanted.spread:
        return MeanShare(table, figure)
    raise Refused(
        "NOT_A_SHARE",
        "share=True is said of a mean, whose values lie between 0 and 1.",
        rule="its sampling is then binomial at most",
        hint="ask for AVG(converted::INT); of two counts, name both: of=…, over=…",
    )


def _spread(table: ReleaseTable, figure: ReleaseColumn, named: str) -> ReleaseColumn:
    """The variance or deviation from which the figure's sampling is taken: the one named, or the only one there is."""
    found = [table.figure(named)] if named else [one for one in table.figures if one.role in ("variance", "deviation")]
    if figure.role in ("mean", "sum") and len(found) == 1 and found[0].role in ("variance", "deviation"):
        return found[0]
    several = "; name one: spread=" + " or ".join(repr(one.name) for one in found) if len(found) > 1 else ""
    raise Refused(
        "SAMPLING_UNKNOWN",
        f"How far `{figure.name}` ({figure.role}) varies by sampling can't be told from this release.",
        rule="a comparison counts privacy noise and sampling, for without the second it would claim too much",
        hint=_HINTS.get(figure.role, "compare counts, by their name alone") + several,
    )
