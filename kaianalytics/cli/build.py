"""`kai build`: the stores of every open purpose, and the steward's summary of what was kept, left out and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from kaianalytics.cli.terminal import console, for_people, open_home, table
from kaianalytics.custody.contracts import load
from kaianalytics.custody.keys import Keys
from kaianalytics.gateway.rotation import carry_stops
from kaianalytics.warehouse.builder import Progress, build
from kaianalytics.warehouse.manifest import BuildSummary, TableSummary
from kaianalytics.warehouse.ordering import build_order
from kaianalytics.warehouse.published import prune
from kaianalytics.warehouse.workshop import Room

_OUTCOMES = {
    "published": "Published.",
    "unchanged": "Nothing to do: these inputs are built and published already.",
    "made current again": "These inputs were built before: that build is the published one again.",
}


@for_people
def build_command(
    as_of: Annotated[
        str | None, typer.Option(help="The day, as YYYY-MM-DD, that retention and choices are judged by; else today.")
    ] = None,
    memory: Annotated[str, typer.Option(help="How much memory DuckDB may take; the rest goes to disk.")] = "2GB",
    threads: Annotated[int, typer.Option(min=1, help="How many threads DuckDB may take.")] = 2,
    keep: Annotated[int, typer.Option(min=1, help="How many builds to keep, the published one included.")] = 2,
) -> None:
    """Build the stores of every open purpose from the sources, verify them, and publish them at one stroke."""
    now = datetime.now(UTC)
    day = _day(as_of) if as_of else now.astimezone().date()
    home = open_home()
    order = build_order(home, day, now, Room(memory, threads))
    if carried := carry_stops(home, Keys.load(home), load(home.contracts), now):
        console.print(f"Stops taken under an earlier key reach this build too: {carried} more pseudonyms.")
    with _progress() as progress:
        summary = build(order, progress)
    _show(summary)
    removed = prune(order.stores, keep)
    if removed:
        console.print(f"{len(removed)} older build{'s' if len(removed) > 1 else ''} removed.")


def _day(written: str) -> date:
    try:
        return date.fromisoformat(written)
    except ValueError:
        raise typer.BadParameter("write the day as YYYY-MM-DD", param_hint="--as-of") from None


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ProgressBar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("sources")
        yield lambda step, done, total: bar.update(task, description=step, completed=done, total=total)


def _show(summary: BuildSummary) -> None:
    console.print(f"{_OUTCOMES[summary.outcome]} Build [bold]{summary.build_id[:12]}[/], as of {summary.as_of}.")
    console.print(table(("purpose", "store", "product", "rows kept ", "left out, and why"), _rows(summary.tables)))
    console.print(table(("purpose", "product", "columns left out, and why"), _columns(summary.tables)))
    for product, columns in summary.ignored.items():
        console.print(
            f"The source of {product} has columns that are not in the contract: left out: {', '.join(columns)}"
        )


def _rows(tables: Iterable[TableSummary]) -> Iterator[tuple[str, str, str, str, str]]:
    for one in tables:
        why = ", ".join(f"{reason} {rows:,}" for reason, rows in one.left_out.items())
        yield one.purpose, one.access, one.product, f"{one.kept:,}", why or "nothing"


def _columns(tables: Iterable[TableSummary]) -> Iterator[tuple[str, str, str]]:
    """Once for each purpose and product: both stores leave out the same columns."""
    told = {(one.purpose, one.product): one.columns_left_out for one in tables}
    for (purpose, product), columns in told.items():
        by_reason = groupby(sorted(columns, key=lambda name: columns[name]), key=lambda name: columns[name])
        why = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason)
        yield purpose, product, why or "none"
