"""`kai attack`: every attack that ships with the product, on a copy of the owner's own contracts."""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from kaianalytics.attack import showing, suite
from kaianalytics.attack.suite import Order, Outcome
from kaianalytics.cli.terminal import console, for_people, home_folder, open_home, table
from kaianalytics.custody.home import SETTINGS, Home
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import Refused
from kaianalytics.gateway.tokens import utc_now
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records


@for_people
def attack(
    purpose: Annotated[str, typer.Option(help="The purpose to attack; default: each that is open.")] = "",
    contracts: Annotated[Path | None, typer.Option(help="The folder of contracts; default: the home's.")] = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Take rows of the home's own sources into the copy too.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Of the shipped statements, one in sixteen.")] = False,
    kernels: Annotated[bool, typer.Option(help="Start kernels, and attack from inside.")] = True,
    html: Annotated[Path | None, typer.Option(help="Write a page with every try.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the same as JSON.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the same copy again.")] = None,
) -> None:
    """Attack a copy of your own world: canaries in all that is forbidden, and none may come back.

    Nothing is asked of your home but its contracts, and with --sources rows of its sources; nothing there is changed
    but one event in its audit chain, that this was run and what came of it.
    """
    home = open_home() if (home_folder() / SETTINGS).is_file() else None
    folder = contracts or (home.contracts if home else Path("data_contracts"))
    own = _own_sources(home) if sources else None
    seed = secrets.randbelow(10**9) if seed is None else seed
    order = Order(folder.absolute(), date.today(), own, purpose, quick, kernels, seed)
    with console.status("…") as status:
        outcome = suite.run(order, lambda step: status.update(step))
    facts = _facts(outcome, order)
    _write(html, showing.to_html(outcome, facts))
    _write(json, showing.to_json(outcome, facts))
    _show(outcome, facts)
    if home and Keys.exist(home):
        _record(home, facts)
    if outcome.through or outcome.blind or outcome.locked_out or not outcome.results:
        raise typer.Exit(1)


def _own_sources(home: Home | None) -> Path:
    if home is None:
        raise Refused(
            "NO_SOURCES", "There is no home whose sources could be read.", hint="leave --sources out, or `kai init`"
        )
    return home.sources


def _facts(outcome: Outcome, order: Order) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "purpose": order.purpose or "all",
        "tries": outcome.tries,
        "went_through": len(outcome.through),
        "in_brief": order.quick,
        "own_sources": order.sources is not None,
        "seed": order.seed,
    }


def _show(outcome: Outcome, facts: dict[str, Any]) -> None:
    console.print(table(("door", "attack", "tries ", "stopped by"), showing.rows(outcome)))
    for note in outcome.notes:
        console.print(note, markup=False, soft_wrap=True)
    for result, trial in outcome.through[:20]:
        found = ", ".join(sorted(map(str, trial.found)))
        console.print(
            f"WENT THROUGH: {result.purpose}, {result.attack}: {trial.what}", style="red", markup=False, soft_wrap=True
        )
        console.print(f"  {trial.outcome}. {trial.effect} {found}", markup=False, soft_wrap=True)
    for result, trial in outcome.unforeseen:
        console.print(f"The gateway failed at: {result.attack}: {trial.what}", style="yellow", markup=False)
    for result, trial in outcome.locked_out[:5]:
        console.print(f"Not answered at all: {result.attack}: {trial.what}", style="red", markup=False, soft_wrap=True)
    for blind in outcome.blind:
        console.print(
            f"Of {blind}, not even what may be seen was seen: what was not found there says nothing.", style="red"
        )
    seen = sum(outcome.seen.values())
    console.print(
        f"{facts['tries']:,} tries, {facts['went_through']} went through. Canaries seen where they may be: {seen}. "
        f"The same copy again: --seed {facts['seed']}.",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def _record(home: Home, facts: dict[str, Any]) -> None:
    """That it was run, and its result, in the home's audit chain."""
    told = {name: value for name, value in facts.items() if name != "at"}
    records = Records.of(home, Keys.load(home))
    try:
        records.append(AuditEvent(utc_now(), "custodian", "attack.run", facts["purpose"], told))
    finally:
        records.close()


def _write(file: Path | None, text: str) -> None:
    if file is not None:
        file.write_text(text, encoding="utf-8")
