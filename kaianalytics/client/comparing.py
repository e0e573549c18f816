"""Two cells of a release compared: which figure, which errors, and what can't be compared by name.

Laws:
1. A comparison counts privacy noise and sampling, or is refused: with one of them it would claim too much.
2. Sampling comes from what the release holds: counts by themselves, shares by their two figures, means and sums by a
   VARIANCE or STDDEV beside them. Nothing is guessed from the width of a column's bounds.
3. Where a figure is too small for its noise, there is no result, and the result says why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING

from kaianalytics.client import cells, intervals
from kaianalytics.client.caption import bounding_lines
from kaianalytics.client.comparison import Comparison, Kind
from kaianalytics.client.digits import number_of
from kaianalytics.client.intervals import Estimate
from kaianalytics.errors import Refused
from kaianalytics.protocol import ReleaseColumn

if TYPE_CHECKING:
    from kaianalytics.client.release import ReleaseTable, Selected

_POISSON = "Sampling is that of rows that come one by one (Poisson)"
_BINOMIAL = "Sampling is that of rows that each count or not (binomial)"
_TOGETHER = "; rows of one customer go together, so where customers have several, it is wider than stated."
_HINTS = {
    "mean": "ask for AVG(x) and STDDEV(x) in one question; where x is yes or no, for SUM(x) and COUNT(*), and compare"
    ' with of="…", over="…"',
    "sum": "ask for SUM(x) and STDDEV(x) in one question; where x is yes or no, compare shares: of=…, over=…",
    "ratio": 'name its parts, which the release must hold too: of="converted", over="contacted"',
    "quantile": "compare means (AVG with STDDEV), or the shares above a threshold: of=…, over=…",
    "top": "compare counts",
    "variance": "compare means or counts",
    "deviation": "compare means or counts",
}


@dataclass(frozen=True)
class Wanted:
    """Which figure is compared: one by name, or the share of `of` in `over`; and whence a mean's sampling."""

    figure: str = ""
    of: str = ""
    over: str = ""
    spread: str = ""


class _TooFew(Exception):
    """There is no result for the reason it says."""


def compare(table: ReleaseTable, kind: Kind, a: Selected, b: Selected, wanted: Wanted) -> Comparison:
    """The comparison of two cells, or its refusal."""
    rows = (cells.find(table, a), cells.find(table, b))
    if rows[0] == rows[1]:
        raise Refused("SAME_CELL", "A cell is not compared with itself.", hint="name two cells")
    measure = _Measure(table, wanted)
    names = (cells.name_of(table, rows[0]), cells.name_of(table, rows[1]))
    figures = [column.name for column in table.figures]
    bounding = bounding_lines(table.release.bounding, figures, measure.figures)
    nothing = Comparison(kind, names, measure.name, measure.is_share, measure.sampling, bounding)
    try:
        return replace(nothing, parts=(measure.estimate(rows[0]), measure.estimate(rows[1])))
    except _TooFew as reason:
        return replace(nothing, reason=str(reason))


class _Measure:
    """What is compared: its name, how its sampling is known, and its estimate in a cell."""

    def __init__(self, table: ReleaseTable, wanted: Wanted) -> None:
        self._table = table
        self._z = intervals.z_of(table.release.confidence)
        self.is_share = bool(wanted.of or wanted.over)
        if self.is_share:
            self._part, self._whole = _parts(table, wanted)
            self.name, self.sampling = f"{wanted.of} / {wanted.over}", _BINOMIAL + _TOGETHER
            return
        self._part = table.figure(wanted.figure)
        self.name, self.sampling = self._part.name, _POISSON + _TOGETHER
        if self._part.role != "count":
            self._spread = _spread(table, self._part, wanted.spread)
            self.sampling = f"Sampling is taken from the upper end of {self._spread.name}" + _TOGETHER

    @property
    def figures(self) -> list[str]:
        """The names of the figures that it is made of."""
        return [self._part.name, self._whole.name] if self.is_share else [self._part.name]

    def estimate(self, row: int) -> Estimate:
        """The figure of a cell with both of its errors; _TooFew where it says nothing."""
        value, privacy = self._cell(row, self._part)
        if self.is_share:
            return self._share(row, value, privacy)
        if self._part.role == "count":
            return intervals.counted(value, privacy)
        deviation, rows = self._deviation(row)
        make = intervals.averaged if self._part.role == "mean" else intervals.summed
        return make(value, privacy, deviation, rows)

    def _share(self, row: int, part: float, part_privacy: float) -> Estimate:
        whole, whole_privacy = self._cell(row, self._whole)
        if whole <= 0 or whole < self._z * whole_privacy:
            raise _TooFew(f"{self._whole.name} of {self._named(row)} is not clearly above zero")
        found = intervals.share(part, part_privacy, whole, whole_privacy)
        if not -3 * found.privacy <= found.value <= 1 + 3 * found.privacy:
            raise Refused(
                "NOT_A_SHARE",
                f"`{self._part.name}` is no part of `{self._whole.name}`.",
                rule="a share counts some of the rows that its whole counts",
                hint="compare means: ask for AVG(x) and STDDEV(x)",
            )
        return found

    def _deviation(self, row: int) -> tuple[float, float]:
        """The standard deviation of a cell's rows, by the upper end of its own interval, and how many they are."""
        place = self._table.release.columns.index(self._spread)
        rows = self._table.release.supports[row][place]
        found, noise = self._cell(row, self._spread)
        most = found + self._z * noise  # too small a deviation would claim too much
        if most <= 0 or rows is None or rows < 2:
            raise _TooFew(f"{self._spread.name} of {self._named(row)} is too few to tell")
        return (sqrt(most) if self._spread.role == "variance" else most), rows

    def _cell(self, row: int, column: ReleaseColumn) -> tuple[float, float]:
        """A figure and the standard deviation of its noise."""
        place = self._table.release.columns.index(column)
        value, margin = number_of(self._table.release.rows[row][place]), self._table.release.margins[row][place]
        if value is None or margin is None:
            raise _TooFew(f"{column.name} of {self._named(row)} is too few to tell")
        return value, margin / self._z

    def _named(self, row: int) -> str:
        return f"“{cells.name_of(self._table, row)}”"


def _parts(table: ReleaseTable, wanted: Wanted) -> tuple[ReleaseColumn, ReleaseColumn]:
    if not (wanted.of and wanted.over) or wanted.figure or wanted.spread or wanted.of == wanted.over:
        raise Refused(
            "SHARE_NEEDS_TWO",
            "A share is compared by its two figures and nothing else.",
            hint='of="converted", over="contacted", without figure= or spread=',
        )
    part, whole = table.figure(wanted.of), table.figure(wanted.over)
    if part.role not in ("count", "sum") or whole.role != "count":
        raise Refused(
            "NOT_A_SHARE",
            "A share is a count, or a sum of yes and no, over a count.",
            rule="its sampling is binomial, which holds for counts alone",
            hint="ask for SUM(converted) and COUNT(*) in one question",
        )
    return part, whole


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
        hint=_HINTS.get(figure.role, "compare counts") + several,
    )
