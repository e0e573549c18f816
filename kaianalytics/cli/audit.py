"""`kai audit`: the record of every decision, checked without trusting who kept it."""

from __future__ import annotations

import typer

from kaianalytics.cli.terminal import console, for_people, open_home, table
from kaianalytics.custody.keys import Keys
from kaianalytics.records import audit
from kaianalytics.records.database import Records
from kaianalytics.records.verification import verify as verify_records

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The record of every decision.")


@app.command()
@for_people
def verify() -> None:
    """Walk the whole chain, and compare ledger and reviews with what its events say."""
    home = open_home()
    keys = Keys.load(home)
    with Records.of(home, keys).reading() as view:
        found = verify_records(view, keys)
    console.print(f"In order: {found}", markup=False)


@app.command()
@for_people
def tail(number: int = 20) -> None:
    """The last events."""
    home = open_home()
    with Records.of(home, Keys.load(home)).reading() as view:
        last = audit.tip(view)
        after = max(0, (last.sequence if last else 0) - number)
        rows = [(e.sequence, e.at[:19], e.actor, e.kind, e.subject) for e in audit.events(view, after=after)]
    console.print(table(("event ", "at", "by", "what", "of"), rows))
