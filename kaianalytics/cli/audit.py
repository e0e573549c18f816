"""`kai audit`: the record of every decision, checked without trusting who kept it."""

from __future__ import annotations

from typing import Annotated

import typer

from kaianalytics.cli.terminal import console, for_people, open_home, table
from kaianalytics.custody.keys import Keys
from kaianalytics.records import audit
from kaianalytics.records.database import Records

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The record of every decision.")


@app.command()
@for_people
def verify() -> None:
    """Walk the whole chain, and compare ledger and reviews with what its events say."""
    home = open_home()
    found = Records.of(home, Keys.load(home)).verify()
    console.print(f"In order: {found.events} events, each following the one before; {found.charges} charges.")
    for population, loss in found.spent.items():
        console.print(f"Spent of the account of {population}: ρ {loss.rho.normalize():f}.", markup=False)


@app.command()
@for_people
def tail(number: Annotated[int, typer.Option(min=1, help="How many.")] = 20) -> None:
    """The last events: when, by whom, what, of what."""
    home = open_home()
    with Records.of(home, Keys.load(home)).reading() as view:
        last = audit.tip(view)
        after = max(0, (last.sequence if last else 0) - number)
        rows = [(e.sequence, e.at[:19], e.actor, e.kind, e.subject) for e in audit.events(view, after=after)]
    console.print(table(("event ", "at", "by", "what", "of"), rows))
