"""Many draws of one plan at once: the same true figures in as many copies of its cells.

Noise is independent from number to number, so that copies within one release are what as many releases would be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kaianalytics.privacy.measuring.measurement import Measurement
from kaianalytics.privacy.plan import Exact, Noisy

Release = Callable[[Measurement, Exact], Noisy]
Numbers = NDArray[np.float64]


def honest(measurement: Measurement, exact: Exact) -> Noisy:
    """The engine's own release."""
    return measurement.release(exact)


def copies(measurement: Measurement, exact: Exact, count: int, release: Release = honest) -> list[Numbers]:
    """For each vector, one row for each of `count` draws; all cells are known beforehand."""
    cells = exact.cells * count
    many = replace(measurement, plan=replace(measurement.plan, cells=cells))
    noisy = release(many, Exact(cells, tuple(vector * count for vector in exact.vectors)))
    return [np.array(vector, dtype=np.float64).reshape(count, -1) for vector in noisy.vectors]


@dataclass(frozen=True)
class Found:
    """Draws of unknown keys: for each cell, in which draws it was shown, and with which figures (NaN if not)."""

    shown: Numbers
    figures: list[Numbers]


def found(measurement: Measurement, exact: Exact, count: int, release: Release = honest) -> Found:
    """For each of `count` draws, which of the cells pass the threshold, and with which figures."""
    cells = tuple((*cell, copy) for copy in range(count) for cell in exact.cells)
    noisy = release(measurement, Exact(cells, tuple(vector * count for vector in exact.vectors)))
    width, place = len(exact.cells), {cell: i for i, cell in enumerate(exact.cells)}
    shown, figures = np.zeros((count, width)), [np.full((count, width), np.nan) for _ in noisy.vectors]
    for row, (*cell, copy) in enumerate(noisy.cells):
        at = (copy, place[tuple(cell)])
        shown[at] = 1.0
        for figure, vector in zip(figures, noisy.vectors, strict=True):
            figure[at] = vector[row]
    return Found(shown, figures)


def likelihood(measurement: Measurement, draws: list[Numbers], with_unit: Exact, without: Exact) -> Numbers:
    """How much likelier each draw of Gaussian vectors is with the unit than without: the best that one can look at."""
    total = np.zeros(len(draws[0]))
    for noise, drawn, one, two in zip(measurement.noises, draws, with_unit.vectors, without.vectors, strict=True):
        a, b = np.array(one, dtype=np.float64), np.array(two, dtype=np.float64)
        total += np.nan_to_num((drawn - (a + b) / 2) * (a - b)).sum(axis=1) / noise.scale**2
    return total
