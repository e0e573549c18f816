"""What a comparison compares: one figure, or the share of two, and both of its errors in a cell.

Laws:
1. A comparison counts privacy noise and sampling: with one of them alone it would claim too much.
2. Sampling comes from what the release holds: counts by themselves, shares by their own size, means and sums by a
   VARIANCE or STDDEV beside them, at the upper end of what its own noise leaves open. Nothing is guessed.
3. Where a figure is too small for its noise, there is no result, and the result says why.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from kaianalytics.client import cells, intervals
from kaianalytics.client.digits import number_of
from kaianalytics.client.intervals import Estimate
from kaianalytics.errors import Refused
from kaianalytics.protocol import ReleaseColumn

if TYPE_CHECKING:
    from kaianalytics.client.release import ReleaseTable

_TOGETHER = "; rows of one unit go together, so where units have several, it is wider than stated."


@dataclass(frozen=True)
class Wanted:
    """Which figure is compared: one by name, or the share of `of` in `over`; and whence a mean's sampling.

    `share` says of a mean that its values lie between 0 and 1, as yes and no do.
    """

    figure: str = ""
    of: str = ""
    over: str = ""
    spread: str = ""
    share: bool = False


class TooFew(Exception):
    """There is no result, for the reason it says."""


class Measure(ABC):
    """A figure of a release with both errors; `sampling` is the sentence that says whence the second is known."""

    is_share = False

    def __init__(self, table: ReleaseTable, figure: ReleaseColumn, sampling: str) -> None:
        self.sampling = f"Sampling is {sampling}{_TOGETHER}"
        self._table, self._figure = table, figure
        self._z = intervals.z_of(table.release.confidence)

    @property
    def name(self) -> str:
        """What it is called."""
        return self._figure.name

    @property
    def figures(self) -> list[str]:
        """The names of the figures that it is made of."""
        return [self._figure.name]

    @abstractmethod
    def estimate(self, row: int) -> Estimate:
        """The figure of a cell with both of its errors; TooFew where it says nothing."""

    def _cell(self, row: int, column: ReleaseColumn) -> tuple[float, float]:
        """A figure and the standard deviation of its noise."""
        place = self._table.release.columns.index(column)
        value, margin = number_of(self._table.release.rows[row][place]), self._table.release.margins[row][place]
        if value is None or margin is None:
            raise self._too_few(row, column)
        return value, margin / self._z

    def _rows(self, row: int, column: ReleaseColumn) -> float:
        """How many rows a figure rests on."""
        rows = self._table.release.supports[row][self._table.release.columns.index(column)]
        if rows is None or rows < 2:
            raise self._too_few(row, column)
        return rows

    def _too_few(self, row: int, column: ReleaseColumn, why: str = "too few to tell") -> TooFew:
        return TooFew(f"{column.name} of “{cells.name_of(self._table, row)}” is {why}")

    def _demand_share(self, found: Estimate, name: str) -> Estimate:
        """The estimate, unless it is further outside 0 and 1 than noise could bring it."""
        if -3 * found.privacy <= found.value <= 1 + 3 * found.privacy:
            return found
        raise Refused(
            "NOT_A_SHARE",
            f"`{name}` is no share: it does not lie between 0 and 1.",
            rule="a share counts some of the rows that its whole counts",
            hint="compare means: ask for AVG(x) and STDDEV(x)",
        )


class Count(Measure):
    """A number of rows."""

    def __init__(self, table: ReleaseTable, figure: ReleaseColumn) -> None:
        super().__init__(table, figure, "that of rows that come one by one (Poisson)")

    def estimate(self, row: int) -> Estimate:
        """The count, Poisson."""
        return intervals.counted(*self._cell(row, self._figure))


class Share(Measure):
    """The share of one figure in another."""

    is_share = True

    def __init__(self, table: ReleaseTable, part: ReleaseColumn, whole: ReleaseColumn) -> None:
        super().__init__(table, part, "that of rows that each count or not (binomial)")
        self._whole = whole

    @property
    def name(self) -> str:
        """Both figures."""
        return f"{self._figure.name} / {self._whole.name}"

    @property
    def figures(self) -> list[str]:
        """Both names."""
        return [self._figure.name, self._whole.name]

    def estimate(self, row: int) -> Estimate:
        """The share, binomial."""
        whole, noise = self._cell(row, self._whole)
        if whole <= 0 or whole < self._z * noise:
            raise self._too_few(row, self._whole, "not clearly above zero")
        return self._demand_share(intervals.share(*self._cell(row, self._figure), whole, noise), self.name)


class MeanShare(Measure):
    """A mean of values between 0 and 1, as of yes and no."""

    is_share = True

    def __init__(self, table: ReleaseTable, figure: ReleaseColumn) -> None:
        super().__init__(table, figure, "that of yes and no (binomial)")

    def estimate(self, row: int) -> Estimate:
        """The mean, binomial: no other values between 0 and 1 vary more."""
        mean, noise = self._cell(row, self._figure)
        rows = self._rows(row, self._figure)
        sampling = intervals.share(mean * rows, 0.0, rows, 0.0).sampling
        return self._demand_share(Estimate(mean, noise, sampling), self.name)


class Spread(Measure):
    """A mean or a sum, with the variance or deviation of its rows beside it."""

    def __init__(self, table: ReleaseTable, figure: ReleaseColumn, spread: ReleaseColumn) -> None:
        super().__init__(table, figure, f"taken from the upper end of {spread.name}")
        self._spread = spread

    def estimate(self, row: int) -> Estimate:
        """The mean or the sum, by the deviation of its rows."""
        found, noise = self._cell(row, self._spread)
        most = found + self._z * noise  # too small a deviation would claim too much
        if most <= 0:
            raise self._too_few(row, self._spread)
        deviation = sqrt(most) if self._spread.role == "variance" else most
        make = intervals.averaged if self._figure.role == "mean" else intervals.summed
        return make(*self._cell(row, self._figure), deviation, self._rows(row, self._spread))
