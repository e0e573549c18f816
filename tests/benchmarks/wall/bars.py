"""What the wall is held to: a bar, what was measured, whether it is met, and why not where it is missed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from measured import Series
from page import Table, duration

RATIO_OF_AGGREGATES, RATIO_OF_MANY_ROWS = 1.10, 3.0
KERNEL_SECONDS, SESSION_SECONDS = 0.100, 0.100
# of the gateway's memory, beside its caches: the records' pages, up to 2 MB for each of five connections
BYTES_A_SESSION = 1024.0


@dataclass(frozen=True)
class Held:
    """One sentence of what is wanted, and how it stands; `why` is for what is missed."""

    what: str
    bar: str
    measured: str
    met: bool
    why: str = ""

    def row(self) -> tuple[str, ...]:
        """The row of the page."""
        return (self.what, self.bar, self.measured, "met" if self.met else "missed", "" if self.met else self.why)


@dataclass(frozen=True)
class Part:
    """What one benchmark found: what is held against a bar, and the tables that show more."""

    held: Sequence[Held] = ()
    tables: Sequence[Table] = ()
    absent: str = ""  # why it measured nothing


def of_ratio(what: str, ours: Series, plain: Series, bar: float, why: str) -> Held:
    """Our median beside the plain tool's."""
    found = ours.median / plain.median
    return Held(what, f"≤ {bar:.2f} ×", f"{found:.2f} ×", found <= bar, why)


def at_most(what: str, found: float, bar: float, why: str, written: Callable[[float], str] = duration) -> Held:
    """A figure that may be so large."""
    return Held(what, f"≤ {written(bar)}", written(found), found <= bar, why)


def nothing_of(what: str, found: int) -> Held:
    """A count that must be none."""
    return Held(what, "none", str(max(found, 0)), found <= 0, "it is a leak")


def summary(parts: Sequence[Part]) -> Table:
    """The table of all bars."""
    rows = [held.row() for part in parts for held in part.held]
    absent = " ".join(f"Not measured: {part.absent}." for part in parts if part.absent)
    words = "Each sentence that the wall is held to, as this run found it; the tables below show more. "
    return Table("Bars", (words + absent).strip(), ("what", "bar", "measured", "", "why"), rows)
