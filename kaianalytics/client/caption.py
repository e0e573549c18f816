"""The sentences under a release: what its figures say and don't say, and what they rest on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kaianalytics.client.bounded import bounding_lines, bounds_sentences
from kaianalytics.client.cells import is_below_zero
from kaianalytics.client.digits import TOO_FEW, number_of
from kaianalytics.client.losses import left_sentence, loss_sentence, lost_sentences, windows_sentences
from kaianalytics.client.shown import isolation_sentence

if TYPE_CHECKING:
    from kaianalytics.client.release import ReleaseTable

_BY_RANK = "A value by rank is chosen with noise: of values that are about as frequent, another may be the true one."
_NEGATIVE = "Figures below zero are few or none, and noise. `.clamped()` shows zero, but its sums come out too high."
_CLAMPED = "Figures below zero are shown as 0: their sums come out too high."
_TOO_FEW = f"“{TOO_FEW}”: what the figure rests on is no larger than its noise, so that a number would mislead."


def about(table: ReleaseTable) -> tuple[str, ...]:
    """What the figures say and don't say."""
    return tuple(_about(table))


def origin(table: ReleaseTable) -> tuple[str, ...]:
    """What the release cost and rests on."""
    release = table.release
    recorded = f", recorded {recorded_text(table.recorded)}" if table.recorded else ""
    return (
        _cost(table),
        *windows_sentences(release.windows, release.rho),
        *lost_sentences(table.lost),
        f"Purpose {release.purpose}. Snapshot {release.snapshot}{recorded}.",
        isolation_sentence(release.isolation),
    )


def recorded_text(at: str) -> str:
    """A moment as it is shown: day and minute."""
    return at[:16].replace("T", " ") + (" UTC" if at else "")


def _about(table: ReleaseTable) -> Iterator[str]:
    release, names = table.release, [figure.name for figure in table.figures]
    if any(figure.role != "top" for figure in table.figures):
        at = f"{release.confidence:.0%}"
        yield f"± is privacy noise at {at}; it counts neither sampling nor what bounding leaves out."
    if any(figure.role == "top" for figure in table.figures):
        yield _BY_RANK
    yield from bounding_lines(release.bounding, names)
    yield from bounds_sentences(release.bounds, names)
    yield from release.notes
    yield from _doubtful(table)
    yield from table.derived


def _doubtful(table: ReleaseTable) -> Iterator[str]:
    """What to make of figures below zero, and of those that are missing."""
    release = table.release
    figures = [(c, row[n]) for n, c in enumerate(release.columns) if c.role != "key" for row in release.rows]
    if any(is_below_zero(column, value) for column, value in figures):
        yield _CLAMPED if table.clamp else _NEGATIVE
    if any(column.role != "top" and number_of(value) is None for column, value in figures):
        yield _TOO_FEW


def _cost(table: ReleaseTable) -> str:
    release = table.release
    how = " charged" if table.charged else ", from the record: not charged"
    cost = loss_sentence(release.rho, release.epsilon, release.epsilon_delta, release.delta, how)
    return f"Release {release.release_id}: {cost}.{left_sentence(table.remaining)}"
