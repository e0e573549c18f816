"""Repeated measurements: what is compared is measured turn by turn, so that a busy machine is busy for both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Action = Callable[[int], object]  # is told which turn it is, for questions that must be new ones


@dataclass(frozen=True)
class Series:
    """How long one thing took, each time."""

    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.seconds:
            raise ValueError("a series holds at least one measurement")

    @property
    def median(self) -> float:
        """The middle value, in seconds."""
        return statistics.median(self.seconds)

    @property
    def p95(self) -> float:
        """The smallest value that at least 95 of 100 are within, in seconds."""
        return self._within(95)

    @property
    def p99(self) -> float:
        """The smallest value that at least 99 of 100 are within, in seconds."""
        return self._within(99)

    @property
    def times(self) -> int:
        """How many measurements there are."""
        return len(self.seconds)

    def _within(self, percent: int) -> float:
        ordered = sorted(self.seconds)
        return ordered[-(-percent * len(ordered) // 100) - 1]


def in_turns(times: int, actions: Mapping[str, Action]) -> dict[str, Series]:
    """Each action `times` times, one after another in every turn; what an action returns is dropped."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(times):
        for name, action in actions.items():
            taken[name].append(seconds_of(action, turn))
    return {name: Series(tuple(seconds)) for name, seconds in taken.items()}


def repeated(times: int, action: Action) -> Series:
    """One action, `times` times."""
    return in_turns(times, {"it": action})["it"]


def seconds_of(action: Action, turn: int = 0) -> float:
    """How long the action took."""
    started = time.perf_counter()
    action(turn)
    return time.perf_counter() - started
