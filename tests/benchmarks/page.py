"""The pages that `make bench` writes, made of tables: every figure on them was measured by the run that wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from measured import Series

NOT_MEASURED = "not measured in this run"

HEAD = """# Measurements

<!-- Written by `make bench` (tests/benchmarks/run.py). Run it again instead of editing. -->

What it costs to have the privacy policy enforced, beside the plain tool for the same work, measured in the same run on
the same files. Machines are noisy: medians, with the number of measurements; compared things were measured in turns.
Seconds differ from machine to machine; the ratios say more.
"""


@dataclass(frozen=True)
class Table:
    """One part of the page: its title, what to know when reading it, and its rows."""

    title: str
    words: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"a row of {self.title!r} has other columns than the table")

    def text(self) -> str:
        """The part as Markdown."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
        return "\n\n".join(part for part in (f"## {self.title}", self.words, table) if part) + "\n"


def page(facts: Sequence[tuple[str, str]], tables: Iterable[Table], head: str = HEAD) -> str:
    """The whole page: its head, what must be known of the run, its tables."""
    run = Table("The run", "", ("fact", "value"), facts)
    return "\n".join([head, run.text(), *(table.text() for table in tables)])


def duration(seconds: float) -> str:
    """A time as people read it: milliseconds below one second, three digits that count."""
    if seconds >= 100:
        return f"{seconds:.0f} s"
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds >= 0.001 else f"{seconds * 1000:.2f} ms"


def ratio(ours: Series, plain: Series) -> str:
    """How many times the plain tool's median ours is."""
    return f"{ours.median / plain.median:.1f} ×"


def megabytes(count: float) -> str:
    """Bytes in units of a million."""
    return f"{count / 1e6:,.0f} MB"
