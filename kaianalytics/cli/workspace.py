"""`kai workspace`: the files that kernels wrote, as their owner's identity (KAI_IDENTITY)."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from kaianalytics.cli.lab import workspaces
from kaianalytics.cli.terminal import console, for_people, gateway, table
from kaianalytics.lab import environment, expiry
from kaianalytics.protocol import API

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The files that kernels wrote, by purpose.")


@app.command(name="list")
@for_people
def show() -> None:
    """Each purpose's workspace: how much is in it, since when files may stay, and how large one may leave by Lab."""
    rules = gateway().request_json("GET", f"{API}/workspaces")
    rows = []
    for purpose, rule in rules["purposes"].items():
        sizes = [path.lstat().st_size for path in _folder(rules["user"], purpose).rglob("*") if path.is_file()]
        rows.append((purpose, len(sizes), f"{sum(sizes):,}", rule["files_since"] or "–", f"{rule['download_bytes']:,}"))
    console.print(table(("purpose", "files ", "bytes ", "files stay from", "largest download "), rows))


@app.command()
@for_people
def sweep() -> None:
    """Remove files that are past retention or older than a stop request; a kernel's start does the same for its own."""
    door = gateway()
    rules = door.request_json("GET", f"{API}/workspaces")
    for purpose, rule in rules["purposes"].items():
        removed = expiry.sweep(_folder(rules["user"], purpose), rule["files_since"])
        if removed:
            told = {"purpose": purpose, "files": removed, "since": rule["files_since"]}
            door.request_json("POST", f"{API}/workspaces/removals", told)
        console.print(f"{purpose}: {removed} removed.", markup=False)


def _folder(user: str, purpose: str) -> Path:
    return environment.workspace_of({**os.environ, environment.WORKSPACES: str(workspaces())}, user, purpose)
